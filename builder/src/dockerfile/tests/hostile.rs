//! Input that nobody writes on purpose, and input that somebody does.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// A file that uses everything, as a seed for changes.
const SEED: &str = include_str!("seed.Dockerfile");

/// Parses and uses all that comes out. What is checked: no panic, spans within the text.
fn exercise(text: &str) {
    let source = source(text);
    let inside = |span: crate::source::Span| {
        assert!(
            span.start <= span.end && span.end <= text.len() && text.is_char_boundary(span.start),
            "{span:?}"
        );
        assert!(text.is_char_boundary(span.end), "{span:?}");
    };
    match parse(Arc::clone(&source)) {
        Err(error) => {
            inside(error.span);
            assert!(!error.message.is_empty());
        }
        Ok(file) => {
            for warning in &file.warnings {
                inside(warning.span);
            }
            for stage in &file.stages {
                inside(stage.span);
                inside(stage.from.image.span);
                for instruction in &stage.instructions {
                    inside(instruction.span);
                    use_instruction(instruction);
                }
            }
        }
    }
    if let Ok(instruction) = parse_onbuild(&source, '\\') {
        inside(instruction.span);
    }
}

fn use_instruction(instruction: &Instruction) {
    let lookup = |name: &str| (name.len() < 3).then(|| name.repeat(2));
    match &instruction.kind {
        Kind::Run(run) => {
            run.invocation();
            for mount in &run.mounts {
                // Either answer will do, a panic will not.
                let _ = mount.resolve(|value| variables::expand(value, '\\', &lookup));
            }
        }
        Kind::Copy(Copy { heredocs, .. }) | Kind::Add(Add { heredocs, .. }) => {
            for heredoc in heredocs {
                let _ = heredoc.file(&lookup);
            }
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            for (name, value) in pairs {
                let _ = variables::expand(&name.value, '`', &lookup);
                let _ = variables::expand_words(&value.value, '\\', &lookup);
            }
        }
        _ => {}
    }
}

/// A change to some bytes of the seed.
#[derive(Clone, Debug)]
enum Change {
    Delete(usize, usize),
    Insert(usize, String),
    Duplicate(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = 0..SEED.len();
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "\\", "\n", "\\\n", "\r\n", "\"", "'", "$", "${", "}", "<<", "<<-E", "[", "]", "--", "=", "#",
            " ", "\t", "`", "\u{feff}", "é", "\u{a0}", "\u{85}", "FROM ", "ONBUILD ", "\0", ",", "%", "//",
            ":?",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    let change = prop_oneof![
        (at.clone(), 1..40_usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (at.clone(), piece).prop_map(|(at, text)| Change::Insert(at, text)),
        (at, 1..80_usize).prop_map(|(at, length)| Change::Duplicate(at, length)),
    ];
    proptest::collection::vec(change, 1..6)
}

fn changed(changes: &[Change]) -> String {
    let mut bytes = SEED.as_bytes().to_vec();
    for change in changes {
        let clamp = |at: usize| at.min(bytes.len());
        match change {
            Change::Delete(at, length) => {
                let range = clamp(*at)..clamp(at + length);
                bytes.drain(range);
            }
            Change::Insert(at, text) => {
                let at = clamp(*at);
                bytes.splice(at..at, text.bytes());
            }
            Change::Duplicate(at, length) => {
                let range = clamp(*at)..clamp(at + length);
                let copy = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, copy);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_does_not_panic(text in "(?s).{0,200}") {
        exercise(&text);
        exercise(&format!("FROM a\n{text}"));
    }

    #[test]
    fn changed_files_do_not_panic(changes in changes()) {
        exercise(&changed(&changes));
    }

    #[test]
    fn words_expand_or_fail(word in "[$\\{\\}:\\-+?#%/'\"\\\\a<* é]{0,40}") {
        let lookup = |name: &str| (name == "a").then(|| "a b*é/".to_owned());
        let _ = variables::expand(&word, '\\', &lookup);
        let _ = variables::Expander::heredoc().expand(&word, &lookup);
    }

    /// What has no character with a meaning expands to itself.
    #[test]
    fn plain_words_stay(word in "[a-zA-Z0-9_./:=-]{0,40}") {
        prop_assert_eq!(variables::expand(&word, '\\', &|_| None).unwrap(), word);
    }

    /// Single quotes keep whatever is in them.
    #[test]
    fn quoted_words_stay(word in "[^'\0]{0,40}") {
        let quoted = format!("'{word}'");
        prop_assert_eq!(variables::expand(&quoted, '\\', &|_| None).unwrap(), word);
    }

    /// An exec form gives back the very strings that were put into it.
    #[test]
    fn json_arguments_come_back(arguments in proptest::collection::vec("\\PC{0,20}", 0..5)) {
        let json = serde_json::to_string(&arguments).unwrap();
        let parsed = one(&format!("CMD {json}")).kind;
        prop_assert_eq!(parsed, Kind::Cmd(ShellOrExec::Exec(arguments)));
    }
}

#[test]
fn the_seed_is_a_good_file() {
    let file = file(SEED);
    assert!(file.warnings.is_empty(), "{:?}", file.warnings);
    let mut keywords: Vec<_> =
        file.stages.iter().flat_map(|stage| &stage.instructions).map(|i| i.kind.keyword()).collect();
    keywords.sort_unstable();
    keywords.dedup();
    assert_eq!(keywords.len(), 17, "{keywords:?}");
}

/// Parses in a time that grows with the text alone.
fn quick(text: &str) -> Result<Dockerfile, ParseError> {
    let start = Instant::now();
    let result = parse(source(text));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{} bytes took {took:?}", text.len());
    result
}

#[test]
fn large_files_take_linear_time() {
    let file = quick(&format!("FROM a\n{}", "RUN x \\\n  y\n".repeat(100_000))).unwrap();
    assert_eq!(file.stages[0].instructions.len(), 100_000);
    quick(&format!("FROM a\nRUN x{}", " \\\n y".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nRUN x \\\n{} y", "# c\n\n".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nENV a={}\n", "b".repeat(1 << 20))).unwrap();
    quick(&format!("FROM a\nENV{}\n", " a=b".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nCOPY {} /x\n", "a ".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nCMD [{}\"\"]\n", "\"a\",".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nRUN <<E\n{}E\n", "x\n".repeat(500_000))).unwrap();
    quick(&format!("{}FROM a\n", "# c\n".repeat(200_000))).unwrap();
    quick(&format!("FROM a\nRUN{} x\n", " --mount=target=/x".repeat(20_000))).unwrap();
    let names = " <<E".repeat(100_000);
    quick(&format!("FROM a\nCOPY{names} /x\n{}", "E\n".repeat(100_000))).unwrap();
    let names: String = (0..5_000).map(|n| format!(" <<E{n}")).collect();
    let ends: String = (0..5_000).map(|n| format!("E{n}\n")).collect();
    quick(&format!("FROM a\nCOPY{names} /x\n{ends}")).unwrap();
}

#[test]
fn deep_nesting_is_no_deep_recursion() {
    quick(&format!("FROM a\nCMD {}\n", "[".repeat(1 << 20))).unwrap();
    quick(&format!("FROM a\nRUN {} <<E\n", "${a:-".repeat(1 << 18))).unwrap();
    quick(&format!("FROM a\n{}RUN x\n", "ONBUILD ".repeat(1 << 17))).unwrap_err();
}
