use super::*;

/// The published parsing rules, written anew: what `CommandLineToArgvW` gives.
fn parse(line: &str) -> Vec<String> {
    let mut chars = line.chars().peekable();
    let mut args = Vec::new();
    // The first: up to the closing quote, or to the first blank.
    let mut arg = String::new();
    if chars.peek() == Some(&'"') {
        chars.next();
        arg.extend(chars.by_ref().take_while(|&c| c != '"'));
    } else {
        while let Some(c) = chars.next_if(|&c| c > ' ') {
            arg.push(c);
        }
    }
    args.push(arg);
    loop {
        while chars.next_if(|&c| c == ' ' || c == '\t').is_some() {}
        if chars.peek().is_none() {
            return args;
        }
        let (mut arg, mut inside) = (String::new(), false);
        loop {
            let mut backslashes = 0;
            while chars.next_if_eq(&'\\').is_some() {
                backslashes += 1;
            }
            match chars.peek() {
                Some('"') => {
                    arg.push_str(&"\\".repeat(backslashes / 2));
                    chars.next();
                    let literal = backslashes % 2 == 1 || inside && chars.next_if_eq(&'"').is_some();
                    if literal {
                        arg.push('"');
                    } else {
                        inside = !inside;
                    }
                    continue;
                }
                _ => arg.push_str(&"\\".repeat(backslashes)),
            }
            match chars.peek() {
                None => break,
                Some(' ' | '\t') if !inside => break,
                Some(&c) => {
                    arg.push(c);
                    chars.next();
                }
            }
        }
        args.push(arg);
    }
}

fn line(args: &[&str]) -> String {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    shown(&program(&args, None).expect("a command line"))
}

#[test]
fn quoting_by_example() {
    for (args, expected) in [
        (&["prog"][..], "prog"),
        (&["my prog.exe"], r#""my prog.exe""#),
        (&[r"C:\a b\"], r#""C:\a b\""#),
        (&["p", "a", "b c"], r#"p a "b c""#),
        (&["p", ""], r#"p """#),
        (&["p", r"a\b"], r"p a\b"),
        (&["p", r"a\"], r"p a\"),
        (&["p", r"a b\"], r#"p "a b\\""#),
        (&["p", r#"a"b"#], r#"p a\"b"#),
        (&["p", r#"a\"b"#], r#"p a\\\"b"#),
        (&["p", r#"a\\"b c"#], r#"p "a\\\\\"b c""#),
        (&["p", r#"""#], r#"p \""#),
        (&["p", "a\tb"], "p \"a\tb\""),
        (&["p", "%PATH%", "a&b", "^"], "p %PATH% a&b ^"),
    ] {
        assert_eq!(line(args), expected);
        assert_eq!(parse(expected), args);
    }
    let quoted = program(&[OsString::from("a\"b")], None);
    assert_eq!(quoted, Err(Unquotable::QuoteInProgram));
    let long = program(&["p".into(), "x".repeat(32_764).into()], None).expect("just fits");
    assert_eq!(long.len(), LONGEST);
    assert_eq!(program(&["p".into(), "x".repeat(32_765).into()], None), Err(Unquotable::TooLong));
}

#[test]
fn a_tail_follows_as_it_is() {
    let args = ["cmd", "/S", "/C"].map(OsString::from);
    let tail = OsStr::new(r#""echo "a b" & dir "C:\x\"""#);
    let line = shown(&program(&args, Some(tail)).expect("a command line"));
    assert_eq!(line, r#"cmd /S /C "echo "a b" & dir "C:\x\"""#);
}

/// A small generator of its own: the same lists each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn word(&mut self, alphabet: &[char]) -> String {
        (0..self.below(9)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

#[test]
fn what_is_quoted_is_parsed_back() {
    let alphabet: Vec<char> = "\\\\\\\"\" \tab&^%é\u{1f600}'$".chars().collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50_000 {
        let count = random.below(5);
        let mut args = vec!["p".to_owned()];
        args.extend((0..count).map(|_| random.word(&alphabet)));
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let line = line(&words);
        assert_eq!(parse(&line), words, "{line}");
    }
}

/// Every list of up to two arguments of up to three characters of the five that matter.
#[test]
fn short_arguments_are_parsed_back() {
    let letters = ["\\", "\"", " ", "\t", "a"];
    let mut words = vec![String::new()];
    for length in 0..3 {
        let longer = |word: &String| letters.map(|letter| format!("{word}{letter}"));
        let next: Vec<String> = words.iter().filter(|word| word.len() == length).flat_map(longer).collect();
        words.extend(next);
    }
    for one in &words {
        for two in &words {
            let args = ["p", one.as_str(), two.as_str()];
            assert_eq!(parse(&line(&args)), args);
        }
    }
}

/// The system's own parser, or Wine's: a third opinion.
#[test]
fn the_system_agrees() {
    type Parse = unsafe extern "system" fn(*const u16, *mut i32) -> *mut *mut u16;
    let alphabet: Vec<char> = "\\\\\"\" \tab".chars().collect();
    let mut random = Random(42);
    let lists = (0..300).map(|_| [random.word(&alphabet), random.word(&alphabet)]);
    for [one, two] in lists.collect::<Vec<_>>() {
        let args = ["p".to_owned(), one, two];
        let units = program(&args.clone().map(OsString::from), None).expect("a command line");
        #[expect(unsafe_code, reason = "asks the system's parser")]
        // SAFETY: the function's published type; the array has as many texts as is said, each ends with a zero.
        let parsed = unsafe {
            let parse = crate::windows::library::function::<Parse>("shell32.dll", c"CommandLineToArgvW");
            let mut count = 0;
            let list = parse.expect("every Windows has it")(units.as_ptr(), &mut count);
            (0..count as usize)
                .map(|at| {
                    let text = *list.add(at);
                    let length = (0..).take_while(|&at| *text.add(at) != 0).count();
                    String::from_utf16_lossy(std::slice::from_raw_parts(text, length))
                })
                .collect::<Vec<String>>()
        };
        assert_eq!(parsed, args, "{}", shown(&units));
    }
}

fn batch_line(args: &[&str]) -> Result<String, Unquotable> {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    batch(OsStr::new(r"C:\Windows\System32\cmd.exe"), OsStr::new(r"D:\r\a b.cmd"), &args)
        .map(|line| shown(&line))
}

#[test]
fn batch_files_get_words_and_nothing_else() {
    let prefix = r#"C:\Windows\System32\cmd.exe /e:ON /v:OFF /d /c ""D:\r\a b.cmd""#;
    for (args, expected) in [
        (&[][..], ""),
        (&["plain", r"C:\x"], r" plain C:\x"),
        (&[""], r#" """#),
        (&["a&calc"], r#" "a&calc""#),
        (&["a|b>c<d^e(f)!g"], r#" "a|b>c<d^e(f)!g""#),
        (&[r#""&calc&""#], r#" """&calc&""""#),
        (&[r#"a\"b"#], r#" "a\\""b""#),
        (&[r"x\"], r#" "x\\""#),
        (&["%PATH%"], r#" "%%cd:~,%PATH%%cd:~,%""#),
        (&["a=b,c;d"], r#" "a=b,c;d""#),
    ] {
        assert_eq!(batch_line(args), Ok(format!("{prefix}{expected}\"")));
    }
    for bad in ["a\nb", "a\rb", "a\u{1a}b"] {
        assert_eq!(batch_line(&[bad]), Err(Unquotable::LineBreakInBatch), "{bad:?}");
    }
}

/// Outside of quotes, as cmd counts them, there is never a character that means something to it.
#[test]
fn no_argument_of_a_batch_file_leaves_its_quotes() {
    let alphabet: Vec<char> = "\\\"\"&|<>^%!() ab".chars().collect();
    let mut random = Random(7);
    for _ in 0..20_000 {
        let word = random.word(&alphabet);
        let line = batch_line(&[&word]).expect("no line break in it");
        let inner = line.split_once("/c \"").expect("always there").1;
        let inner = inner.strip_suffix('"').expect("cmd's own");
        let mut inside = false;
        for c in inner.chars() {
            match c {
                '"' => inside = !inside,
                '&' | '|' | '<' | '>' | '^' | '(' | ')' => assert!(inside, "{word:?}: {line}"),
                _ => {}
            }
        }
        assert!(!inside, "{word:?}: {line}");
        let percent = inner.replace("%%cd:~,%", "");
        assert!(!percent.contains('%'), "{word:?}: {line}");
    }
}
