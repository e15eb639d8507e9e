use super::*;

fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "PWD" => "/home",
        "SHELL" => "bash",
        "KOREAN" => "한국어",
        "NULL" => "",
        "FOO" => "xxyy",
        "BAR" => "x",
        "SPACED" => " a  b ",
        "STARS" => "a***yy*",
        "PATHS" => "/tmp/tmp/bar.txt",
        "FILES" => "/foo*/*/*.txt",
        "NEEDLE" => "\\*/",
        "META" => "()[]{}^$.*?|\\x",
        "DOLLAR" => "a$b",
        _ => return None,
    };
    Some(value.to_owned())
}

fn ok(word: &str) -> String {
    expand(word, '\\', &lookup).unwrap_or_else(|error| panic!("{word}: {error}"))
}

#[test]
fn quotes_and_escapes() {
    for (word, text) in [
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("'hello'", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ("abc\\\\tdef", "abc\\tdef"),
        ("'abc\\tdef'", "abc\\tdef"),
        ("\"abc\\tdef\"", "abc\\tdef"),
        ("\"q\\\"q\"", "q\"q"),
        ("'$PWD'", "$PWD"),
        ("\"$PWD\"", "/home"),
        ("\\$PWD", "$PWD"),
        ("\"\\$PWD\"", "$PWD"),
        ("\"\\\\\"", "\\"),
        ("'it''s'", "its"),
        ("end\\", "end"),
        ("\\", ""),
        ("''", ""),
        ("a b\tc", "a b\tc"),
        ("안녕하세요", "안녕하세요"),
        ("안'녕'하세요", "안녕하세요"),
    ] {
        assert_eq!(ok(word), text, "{word}");
    }
    for word in ["'hello", "\"hello", "he'llo", "he\"llo\\\"", "\"a\\", "${PWD:-'}"] {
        assert!(
            matches!(expand(word, '\\', &lookup), Err(ExpandError::UnterminatedQuote(_))),
            "{word}: {:?}",
            expand(word, '\\', &lookup)
        );
    }
}

#[test]
fn the_escape_directive_changes_the_escape_character() {
    assert_eq!(expand("C:\\a`$PWD", '`', &lookup).unwrap(), "C:\\a$PWD");
    assert_eq!(expand("\"C:\\\\$PWD\"", '`', &lookup).unwrap(), "C:\\\\/home");
}

#[test]
fn plain_variables() {
    for (word, text) in [
        ("$", "$"),
        ("he$PWD.", "he/home."),
        ("he$$PWD", "hePWD"),
        ("$1x", "x"),
        ("$12a", "a"),
        ("$?", ""),
        ("$PWD_", ""),
        ("${PWD}x", "/homex"),
        ("$.", "$."),
        ("he${hi}xx", "hexx"),
        ("$KOREAN", "한국어"),
        ("안녕$PWD", "안녕/home"),
        ("a$한글b", "a"),
    ] {
        assert_eq!(ok(word), text, "{word}");
    }
    for word in
        ["${", "${PWD", "${}", "${:}", "${:-x}", "${{x}}", "${PWD:-", "${PWD:", "${PWD/a", "${PWD/a/b"]
    {
        assert!(expand(word, '\\', &lookup).is_err(), "{word}");
    }
}

#[test]
fn operators() {
    for (word, text) in [
        ("${FOO-a} ${NULL-b} ${NO-c}", "xxyy  c"),
        ("${FOO:-a} ${NULL:-b} ${NO:-c}", "xxyy b c"),
        ("${FOO+a} ${NULL+b} ${NO+c}", "a b "),
        ("${FOO:+a} ${NULL:+b} ${NO:+c}", "a  "),
        ("${FOO?a}${NULL?b}${FOO:?c}", "xxyyxxyy"),
        ("${NO:-${NO2:-${PWD}}/x}", "/home/x"),
        ("${NO:-'a}b'}", "a}b"),
        ("${NO:-\"$PWD}\"}", "/home}"),
        ("${NO:-a\\}b}", "a}b"),
        ("${NO:-}", ""),
        ("pre-${A:+-${A}}${BAR:+-${BAR}}.gz", "pre--x.gz"),
        ("${FOO#*x}", "xyy"),
        ("${FOO##*x}", "yy"),
        ("${FOO#$BAR}", "xyy"),
        ("${FOO#}${FOO##}${FOO%}${FOO%%}", "xxyyxxyyxxyyxxyy"),
        ("${FOO#*}", "xxyy"),
        ("${FOO##*}", ""),
        ("${FOO%y}", "xxy"),
        ("${FOO%y*}", "xxy"),
        ("${FOO%%y*}", "xx"),
        ("${FOO%a}", "xxyy"),
        ("${FOO#?x}", "yy"),
        ("${STARS%%\\**\\*}", "a"),
        ("${META#()[]{\\}^$.\\*\\?|\\\\}", "x"),
        ("${FOO/x/ab}", "abxyy"),
        ("${FOO//x/ab}", "ababyy"),
        ("${FOO//x/}", "yy"),
        ("${FOO/x*/z}", "z"),
        ("${FILES/$NEEDLE/.} - ${FILES//$NEEDLE/.}", "/foo.*/*.txt - /foo..*.txt"),
        ("${PATHS//\\/tmp/}", "/bar.txt"),
        ("${PATHS//\\//\\/}", "\\/tmp\\/tmp\\/bar.txt"),
        ("${FOO/$NULL/ww}", "wwxxyy"),
        ("${FOO///}", "xxyy"),
        ("${NO///}", ""),
        ("${FOO//x/$DOLLAR}", "a$ba$byy"),
        ("${KOREAN#?}", "국어"),
        ("${KOREAN%?}", "한국"),
    ] {
        assert_eq!(ok(word), text, "{word}");
    }
    for word in
        ["${FOO=a}", "${FOO:=a}", "${FOO^^}", "${#FOO}", "${FOO//ww}", "${FOO//}", "${FOO#\\}", "${FOO#a\\b}"]
    {
        assert!(expand(word, '\\', &lookup).is_err(), "{word}");
    }
}

#[test]
fn a_required_variable_says_what_the_file_says() {
    let message = |word| expand(word, '\\', &lookup).unwrap_err().to_string();
    assert_eq!(message("${NO:?say $BAR}"), "`NO`: say x");
    assert_eq!(message("${NO?}"), "`NO`: is not allowed to be unset");
    assert_eq!(message("${NULL:?}"), "`NULL`: is not allowed to be empty");
    let hint = expand("${NO?}", '\\', &lookup).unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("give it a value: `--build-arg NO=…`"));
}

#[test]
fn words_split_where_nothing_quotes() {
    for (word, words) in [
        ("", vec![]),
        ("  ", vec![]),
        ("80 443", vec!["80", "443"]),
        ("$SPACED", vec!["a", "b"]),
        ("x${SPACED}y", vec!["x", "a", "b", "y"]),
        ("\"$SPACED\"", vec![" a  b "]),
        ("'a b' c\\ d", vec!["a b", "c d"]),
        ("a'b c'd e", vec!["ab cd", "e"]),
        ("$NULL", vec![]),
        ("''", vec![]),
        ("안녕 $KOREAN", vec!["안녕", "한국어"]),
    ] {
        assert_eq!(expand_words(word, '\\', &lookup).unwrap(), words, "{word}");
    }
}

#[test]
fn it_says_which_variables_it_asked_for() {
    let expanded = Expander::new('\\').expand("$FOO ${NO:-$BAR} '$PWD' $NO", &lookup).unwrap();
    assert_eq!(expanded.text, "xxyy x $PWD ");
    assert_eq!(expanded.used.into_iter().collect::<Vec<_>>(), ["BAR", "FOO"]);
    assert_eq!(expanded.unset.into_iter().collect::<Vec<_>>(), ["NO"]);
}

#[test]
fn quotes_in_a_heredoc_are_text() {
    let expanded = Expander::heredoc().expand("a \"q\" 'it's' $PWD \\$PWD \\\\ a\\b\n", &lookup).unwrap();
    assert_eq!(expanded.text, "a \"q\" 'it's' /home $PWD \\ ab\n");
}

#[test]
fn hostile_words_end_in_an_error() {
    let deep = "${A:-".repeat(100_000) + &"}".repeat(100_000);
    assert_eq!(expand(&deep, '\\', &lookup), Err(ExpandError::TooDeep));
    let big = |_: &str| Some("x".repeat(1 << 20));
    let too_long = Err(ExpandError::TooLong(MAX_WORD));
    assert_eq!(expand(&"$A".repeat(1000), '\\', &big), too_long);
    assert_eq!(expand(&format!("\"{}\"", "$A".repeat(1000)), '\\', &big), too_long);
    assert_eq!(expand("${A//x/$B}", '\\', &big), too_long);
    assert_eq!(expand("${A:-${B}$C}", '\\', &|name| (name != "A").then(|| "x".repeat(MAX_WORD))), too_long);
    // Nothing comes out of these, and each reads a megabyte.
    assert_eq!(expand(&"${A:+}".repeat(1000), '\\', &big), Err(ExpandError::TooMuchWork));
    assert_eq!(expand(&"${A##*}".repeat(1000), '\\', &big), Err(ExpandError::TooMuchWork));
    // A pattern with many ways to fail, on a value that nearly matches.
    let stars = format!("${{A#{}b}}", "*x".repeat(1000));
    assert_eq!(expand(&stars, '\\', &big), Err(ExpandError::TooMuchWork));
    // Written out, a word may be longer than what variables may make of it.
    let long = "x".repeat(2 * MAX_WORD);
    assert_eq!(expand(&long, '\\', &lookup).as_deref(), Ok(long.as_str()));
    let long = format!("${{FOO#{}}}", "*a".repeat(1 << 20));
    assert!(matches!(expand(&long, '\\', &lookup), Err(ExpandError::Pattern { .. })));
}
