//! Messages compared as a whole with the files in `messages/`: exit code and both streams.

#![expect(clippy::disallowed_methods, reason = "tests are told things by the environment")]

use std::fs;
use std::path::Path;

use orlop_fixtures::test_env::{Run, TestEnv};

/// Compares a run with `messages/NAME.txt`, in which paths of the test, digests, times, ports and
/// sizes are replaced by words. With `ORLOP_UPDATE=1` the file is written instead.
#[track_caller]
pub(crate) fn check(env: &TestEnv, name: &str, run: &Run) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/messages");
    let path = dir.join(format!("{name}.txt"));
    let code = run.status.code().map_or_else(|| "none".to_owned(), |code| code.to_string());
    let have = format!(
        "exit code: {code}\n----- stdout\n{}----- stderr\n{}",
        normalise(env, &run.stdout),
        normalise(env, &run.stderr)
    );
    compare(&path, &have);
}

/// Compares a text with a file. With `ORLOP_UPDATE=1` the file is written instead.
#[track_caller]
pub(crate) fn compare(path: &Path, have: &str) {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    if std::env::var_os("ORLOP_UPDATE").is_some() {
        let dir = path.parent().unwrap_or(path);
        fs::create_dir_all(dir).unwrap_or_else(|e| panic!("cannot make `{}`: {e}", dir.display()));
        fs::write(path, have).unwrap_or_else(|e| panic!("cannot write `{}`: {e}", path.display()));
        return;
    }
    let want = fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("cannot read `{}`: {e}; ORLOP_UPDATE=1 writes it", path.display()));
    assert!(
        have == want,
        "`{name}` has changed (ORLOP_UPDATE=1 accepts it)\n--- expected\n{want}\n--- is\n{have}"
    );
}

fn normalise(env: &TestEnv, text: &str) -> String {
    let dir = env.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let base = crate::base().to_string_lossy().into_owned();
    let text = text.replace(&dir, "[DIR]").replace(&base, "[BASE]");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        out.push_str(&words(&sizes(line)));
    }
    out
}

/// Replaces, word by word, what differs from run to run.
fn words(line: &str) -> String {
    let (mut out, line) = stamp(line);
    let mut word = String::new();
    for c in line.chars() {
        if c.is_ascii_alphanumeric() || ".:_-".contains(c) {
            word.push(c);
        } else {
            out.push_str(&replaced(&word));
            word.clear();
            out.push(c);
        }
    }
    out + &replaced(&word)
}

/// `#2 0.127 text`, a line of a step's output, without its time.
fn stamp(line: &str) -> (String, &str) {
    if let Some((task, rest)) = line.split_once(' ')
        && task.strip_prefix('#').is_some_and(|n| n.parse::<u32>().is_ok())
        && let Some((time, rest)) = rest.split_once(' ')
        && time.contains('.')
        && time.parse::<f64>().is_ok()
    {
        return (format!("{task} [TIME] "), rest);
    }
    (String::new(), line)
}

/// Replaces `4.52 MB` and the like. Memory is of one unit or another, as the system has it.
fn sizes(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let unit = |word: &str| matches!(word.trim_end_matches([',', ')', '\n']), "B" | "kB" | "MB" | "GB");
    let is_size = |at: usize| {
        words[at].parse::<f64>().is_ok() && words.get(at + 1).is_some_and(|following| unit(following))
    };
    let shown = |at: usize| if is_size(at) { "[SIZE]" } else { words[at] };
    let line = (0..words.len()).map(shown).collect::<Vec<_>>().join(" ");
    ["B", "kB", "MB"].iter().fold(line, |line, unit| {
        let with_unit = format!("memory [SIZE] {unit}");
        line.replace(&format!("{with_unit})"), "memory [SIZE])")
            .replace(&format!("{with_unit},"), "memory [SIZE],")
    })
}

fn replaced(word: &str) -> String {
    let bare = word.trim_end_matches(['.', ':']);
    let rest = &word[bare.len()..];
    if let Some(hex) = bare.strip_prefix("sha256:")
        && hex.len() >= 12
        && hex.chars().all(|c| c.is_ascii_hexdigit())
    {
        return format!("[DIGEST]{rest}");
    }
    if (bare.len() == 12 || bare.len() == 64) && bare.chars().all(|c| c.is_ascii_hexdigit()) {
        return format!("[DIGEST]{rest}");
    }
    if bare.len() >= 7 && bare.chars().all(|c| c.is_ascii_digit()) {
        return format!("[SIZE]{rest}");
    }
    let seconds = bare.trim_end_matches(['s', 'm']);
    if seconds.len() < bare.len()
        && !seconds.is_empty()
        && seconds.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return format!("[TIME]{rest}");
    }
    if let Some((host, port)) = bare.split_once(':')
        && (host == "127.0.0.1" || host == "localhost")
        && port.chars().all(|c| c.is_ascii_digit())
    {
        return format!("{host}:[PORT]{rest}");
    }
    word.to_owned()
}
