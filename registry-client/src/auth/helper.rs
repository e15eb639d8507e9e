//! Docker's credential helpers: programs `docker-credential-NAME` that are given a server's name on
//! stdin and answer in JSON on stdout.

#![expect(clippy::disallowed_methods, reason = "credential helpers are programs")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credential;
use crate::error::Error;

/// Bytes of an answer that are read.
const ANSWER_CAP: u64 = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks `docker-credential-NAME`, looked for in `path`, for the credentials of `server`.
pub(crate) fn get(
    name: &str,
    server: &str,
    path: &[PathBuf],
    limit: Duration,
) -> Result<Option<Credential>, Error> {
    let Some(out) = call(name, "get", &format!("{server}\n"), path, limit)? else { return Ok(None) };
    // The message of serde_json may quote the answer, which holds the secret.
    let answer: Answer = serde_json::from_slice(&out).map_err(|_| Error::Config {
        name: format!("docker-credential-{name}"),
        what: "did not answer in JSON".into(),
    })?;
    Ok(match (answer.username.as_str(), answer.secret.is_empty()) {
        (_, true) => None,
        ("<token>", _) => Some(Credential::IdentityToken(answer.secret)),
        _ => Some(Credential::Basic { user: answer.username, password: answer.secret }),
    })
}

/// Gives a login to the helper to keep.
pub(crate) fn store(
    name: &str,
    server: &str,
    user: &str,
    password: &str,
    path: &[PathBuf],
    limit: Duration,
) -> Result<(), Error> {
    let what = serde_json::json!({"ServerURL": server, "Username": user, "Secret": password});
    call(name, "store", &what.to_string(), path, limit).map(|_| ())
}

/// Makes the helper forget a login.
pub(crate) fn erase(name: &str, server: &str, path: &[PathBuf], limit: Duration) -> Result<(), Error> {
    call(name, "erase", &format!("{server}\n"), path, limit).map(|_| ())
}

/// Runs the helper; nothing when it says that it knows no such login.
fn call(
    name: &str,
    action: &str,
    input: &str,
    path: &[PathBuf],
    limit: Duration,
) -> Result<Option<Vec<u8>>, Error> {
    let program = format!("docker-credential-{name}");
    let fail = |what: String| Error::Config { name: program.clone(), what };
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
        return Err(fail("not the name of a credential helper".into()));
    }
    let found = find(&program, path).ok_or_else(|| fail("not found in PATH".into()))?;
    let mut child = Command::new(&found)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| fail(format!("cannot be run: {e}")))?;
    let (success, out) = talk(&mut child, input, limit).map_err(fail)?;
    if success {
        return Ok(Some(out));
    }
    let text = String::from_utf8_lossy(&out);
    let text = text.trim();
    // The words of Docker's own helpers for "none known", which is an answer and not a failure.
    if text.contains("credentials not found") || text.contains("no credentials") {
        return Ok(None);
    }
    Err(fail(format!("failed: {}", text.chars().take(200).collect::<String>())))
}

/// The helper's program in the first directory that has it. On Windows that is an `.exe` and nothing else:
/// a script beside it would be read by `cmd.exe`, which has ideas of its own about arguments, and a name
/// without an ending is no program there.
fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    path.iter().filter(|dir| dir.is_absolute()).map(|dir| dir.join(&name)).find(|p| p.is_file())
}

/// Writes the question and reads the answer, both with a limit of time; a helper that asks a person
/// something would otherwise hang a build for ever.
fn talk(child: &mut Child, input: &str, limit: Duration) -> Result<(bool, Vec<u8>), String> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that reads nothing closes its end; what matters is what it says and how it exits.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let stdout = child.stdout.take();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut out = Vec::new();
        let result = stdout.map_or(Ok(0), |s| s.take(ANSWER_CAP).read_to_end(&mut out));
        let _gone = send.send(result.map(|_| out));
    });
    let deadline = Instant::now() + limit;
    let answer = receive.recv_timeout(limit);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if answer.is_ok() => {
                let out = answer.map_err(|e| e.to_string())?.map_err(|e| format!("cannot be read: {e}"))?;
                return Ok((status.success(), out));
            }
            Err(e) => return Err(format!("cannot be waited for: {e}")),
            _ if answer.is_err() || Instant::now() >= deadline => {
                let _dead = child.kill();
                let _reaped = child.wait();
                return Err(format!("gave no answer within {} s", limit.as_secs().max(1)));
            }
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ask(script: &str) -> Result<Option<Credential>, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker-credential-test");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = [PathBuf::from("relative"), dir.path().to_owned()];
        // Another thread's fork may hold the script open for writing for a moment (ETXTBSY).
        for _ in 0..50 {
            match get("test", "r.example:5", &path, Duration::from_millis(1500)) {
                Err(e) if e.to_string().contains("busy") => std::thread::sleep(Duration::from_millis(20)),
                other => return other.map_err(|e| e.to_string()),
            }
        }
        Err("busy".into())
    }

    #[test]
    fn helper_protocol() {
        let basic = ask(
            r#"read s; test "$1" = get || exit 9; echo "{\"ServerURL\":\"$s\",\"Username\":\"u\",\"Secret\":\"$s\"}""#,
        );
        assert_eq!(basic, Ok(Some(Credential::Basic { user: "u".into(), password: "r.example:5".into() })));
        let token = ask(r#"echo '{"Username":"<token>","Secret":"t"}'"#);
        assert_eq!(token, Ok(Some(Credential::IdentityToken("t".into()))));
        assert_eq!(ask("echo credentials not found in native keychain; exit 1"), Ok(None));
        assert!(ask("echo locked; exit 1").unwrap_err().contains("failed: locked"));
        assert!(!ask("echo hunter2").unwrap_err().contains("hunter2"));
    }

    #[test]
    fn helper_keeps_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker-credential-keep");
        std::fs::write(&file, "#!/bin/sh\ncat > \"$0.$1\"\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = [dir.path().to_owned()];
        let limit = Duration::from_secs(10);
        let busy = |r: Result<(), Error>| r.is_err_and(|e| e.to_string().contains("busy"));
        while busy(store("keep", "r", "u", "p\"q", &path, limit)) {}
        while busy(erase("keep", "r", &path, limit)) {}
        let read = |action: &str| {
            std::fs::read_to_string(dir.path().join(format!("docker-credential-keep.{action}")))
        };
        let kept: serde_json::Value = serde_json::from_str(&read("store").unwrap()).unwrap();
        assert_eq!(kept, serde_json::json!({"ServerURL": "r", "Username": "u", "Secret": "p\"q"}));
        assert_eq!(read("erase").unwrap(), "r\n");
    }

    #[test]
    fn helper_that_hangs_is_ended() {
        let start = Instant::now();
        assert!(ask("exec sleep 60").unwrap_err().contains("no answer"));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn helper_names_cannot_climb() {
        for name in ["", "../x", "a/b"] {
            assert!(get(name, "r", &[PathBuf::from("/bin")], Duration::from_secs(1)).is_err(), "{name}");
        }
        let e = get("surely-not-there", "r", &[], Duration::from_secs(1)).err().map(|e| e.to_string());
        assert!(e.unwrap().contains("`docker-credential-surely-not-there`: not found"));
    }
}
