//! Docker's credential helpers: programs `docker-credential-NAME` that are given a server's name on
//! stdin and answer in JSON on stdout.

#![expect(clippy::disallowed_methods, reason = "credential helpers are programs")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Credential, Secrets, TOKEN_USER};
use crate::error::{Error, clean};

/// Bytes of an answer that are read.
const ANSWER_CAP: u64 = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// A helper: its program is `docker-credential-NAME`, looked for in `path`.
#[derive(Clone, Copy)]
pub(crate) struct Helper<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a [PathBuf],
    /// How long it may take.
    pub(crate) limit: Duration,
}

impl Helper<'_> {
    /// What it knows of the server.
    pub(crate) fn get(self, server: &str) -> Result<Option<Credential>, Error> {
        let Some(out) = self.call("get", &format!("{server}\n"), &Secrets::default())? else {
            return Ok(None);
        };
        // The message of serde_json may quote the answer, which holds the secret.
        let answer: Answer =
            serde_json::from_slice(&out).map_err(|_| self.error("did not answer in JSON".into()))?;
        Ok(match (answer.username, answer.secret) {
            (_, secret) if secret.is_empty() => None,
            (user, token) if user == TOKEN_USER => Some(Credential::IdentityToken { user, token }),
            (user, password) => Some(Credential::Basic { user, password }),
        })
    }

    /// Gives it a login to keep.
    pub(crate) fn store(self, server: &str, credential: &Credential) -> Result<(), Error> {
        let (user, secret) = match credential {
            Credential::Basic { user, password } => (user.as_str(), password),
            Credential::IdentityToken { token, .. } => (TOKEN_USER, token),
            Credential::RegistryToken(_) => return Err(self.error("keeps no tokens of registries".into())),
        };
        let what = serde_json::json!({"ServerURL": server, "Username": user, "Secret": secret});
        let secrets = Secrets::default();
        secrets.add_credential(credential);
        self.call("store", &what.to_string(), &secrets).map(|_| ())
    }

    /// Makes it forget a login.
    pub(crate) fn erase(self, server: &str) -> Result<(), Error> {
        self.call("erase", &format!("{server}\n"), &Secrets::default()).map(|_| ())
    }

    /// The servers that it has logins for.
    pub(crate) fn list(self) -> Result<Vec<String>, Error> {
        let Some(out) = self.call("list", "", &Secrets::default())? else { return Ok(Vec::new()) };
        let known: BTreeMap<String, serde::de::IgnoredAny> =
            serde_json::from_slice(&out).map_err(|_| self.error("did not answer in JSON".into()))?;
        Ok(known.into_keys().collect())
    }

    fn error(self, what: String) -> Error {
        Error::Config { name: format!("docker-credential-{}", self.name), what }
    }

    /// Runs the helper; nothing when it says that it knows no such login. What it says of a failure is shown without
    /// the secret that it was given.
    fn call(self, action: &str, input: &str, secrets: &Secrets) -> Result<Option<Vec<u8>>, Error> {
        let program = format!("docker-credential-{}", self.name);
        if self.name.is_empty()
            || !self.name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        {
            return Err(self.error("not the name of a credential helper".into()));
        }
        let found = find(&program, self.path).ok_or_else(|| self.error("not found in PATH".into()))?;
        let mut child = Command::new(&found)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.error(format!("cannot be run: {e}")))?;
        let talk = talk(&mut child, input, self.limit).map_err(|what| self.error(what))?;
        if talk.success {
            return Ok(Some(talk.out));
        }
        // The protocol has reasons on standard output, and scripts have them where scripts have them.
        let text = [talk.out, talk.err].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        // The words of Docker's own helpers for "none known", which is an answer and not a failure.
        let unknown =
            |text: &String| text.contains("credentials not found") || text.contains("no credentials");
        // Of a login that it was to keep they are no answer: it does not have it.
        if action != "store" && text.iter().any(unknown) {
            return Ok(None);
        }
        let text = text.into_iter().find(|text| !text.is_empty());
        let text = text.map_or_else(|| "without a word".to_owned(), |text| clean(&secrets.mask(&text)));
        Err(self.error(format!("failed: {text}")))
    }
}

/// The helper's program in the first directory that has it. On Windows that is an `.exe` and nothing else:
/// a script beside it would be read by `cmd.exe`, which has ideas of its own about arguments, and a name
/// without an ending is no program there.
/// People write the ending too, `wincred.exe`, which elsewhere is a part of the name: `desktop.exe` under WSL.
fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    let name = file_name(program, std::env::consts::EXE_SUFFIX);
    path.iter().filter(|dir| dir.is_absolute()).map(|dir| dir.join(&name)).find(|p| p.is_file())
}

fn file_name(program: &str, suffix: &str) -> String {
    let at = program.len().saturating_sub(suffix.len());
    let ends = program.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix));
    if ends { program.to_owned() } else { format!("{program}{suffix}") }
}

/// What a helper had to say.
struct Talk {
    success: bool,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Writes the question and reads the answer, both with a limit of time; a helper that asks a person
/// something would otherwise hang a build for ever.
fn talk(child: &mut Child, input: &str, limit: Duration) -> Result<Talk, String> {
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.as_bytes().to_vec();
        // On a thread, as a helper may read nothing of what fits no pipe. One that closes its end is asked all the
        // same; what matters is what it says and how it exits.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let deadline = Instant::now() + limit;
    let answer = out.recv_timeout(limit);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if answer.is_ok() => {
                let out = answer.map_err(|e| e.to_string())?.map_err(|e| format!("cannot be read: {e}"))?;
                // What it has started may hold this one open.
                let err = err.recv_timeout(Duration::from_millis(200)).ok().and_then(Result::ok);
                return Ok(Talk { success: status.success(), out, err: err.unwrap_or_default() });
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

/// Reads a pipe on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<std::io::Result<Vec<u8>>> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut out = Vec::new();
        let result = pipe.map_or(Ok(0), |pipe| pipe.take(ANSWER_CAP).read_to_end(&mut out));
        let _gone = send.send(result.map(|_| out));
    });
    receive
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
            let helper = Helper { name: "test", path: &path, limit: Duration::from_millis(1500) };
            match helper.get("r.example:5") {
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
        let identity = Credential::IdentityToken { user: "<token>".into(), token: "t".into() };
        assert_eq!(token, Ok(Some(identity)));
        assert_eq!(ask("echo credentials not found in native keychain; exit 1"), Ok(None));
        assert!(ask("echo locked; exit 1").unwrap_err().contains("failed: locked"));
        assert!(ask("echo shut >&2; exit 1").unwrap_err().contains("failed: shut"));
        assert!(ask("exit 1").unwrap_err().contains("failed: without a word"));
        assert!(ask("head -c 3000000 /dev/zero | tr '\\0' x; exit 1").unwrap_err().len() < 400);
        assert!(ask("head -c 3000000 /dev/zero; exit 0").unwrap_err().contains("did not answer in JSON"));
        assert!(!ask("echo hunter2").unwrap_err().contains("hunter2"));
    }

    /// A helper that keeps what it is told in files, and fails where a file `fail` says so.
    const KEEPER: &str = r#"#!/bin/sh
dir=${0%/*}
cat > "$dir/told.$1"
test ! -e "$dir/fail" || { echo "cannot keep $(cat "$dir/told.$1")"; exit 1; }
test "$1" != list || echo '{"https://index.docker.io/v1/":"u","r":"v"}'
"#;

    #[test]
    fn helper_keeps_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker-credential-keep");
        std::fs::write(&file, KEEPER).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = [dir.path().to_owned()];
        let helper = Helper { name: "keep", path: &path, limit: Duration::from_secs(10) };
        let login = Credential::Basic { user: "u".into(), password: "p\"q-hunter2".into() };
        let busy = |r: Result<(), Error>| r.is_err_and(|e| e.to_string().contains("busy"));
        while busy(helper.store("r", &login)) {}
        while busy(helper.erase("r")) {}
        let told = |action: &str| std::fs::read_to_string(dir.path().join(format!("told.{action}"))).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&told("store")).unwrap();
        assert_eq!(kept, serde_json::json!({"ServerURL": "r", "Username": "u", "Secret": "p\"q-hunter2"}));
        assert_eq!(told("erase"), "r\n");
        assert_eq!(helper.list().unwrap(), ["https://index.docker.io/v1/", "r"]);
        let token = Credential::IdentityToken { user: "u".into(), token: "t".into() };
        helper.store("r", &token).unwrap();
        assert!(told("store").contains("<token>"));
        std::fs::write(dir.path().join("fail"), "").unwrap();
        let e = helper.store("r", &login).unwrap_err().to_string();
        assert!(e.contains("cannot keep") && e.contains("[secret]") && !e.contains("hunter2"), "{e}");
        let lost = "#!/bin/sh\ncat >&2\necho no credentials server; exit 1\n";
        std::fs::write(&file, lost).unwrap();
        while busy(helper.erase("r")) {}
        helper.erase("r").unwrap();
        let e = helper.store("r", &login).unwrap_err().to_string();
        assert!(e.contains("no credentials server"), "{e}");
    }

    #[test]
    fn helper_that_reads_nothing_is_asked_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker-credential-deaf");
        std::fs::write(&file, "#!/bin/sh\nsleep 0.3\nexit 0\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = [dir.path().to_owned()];
        let helper = Helper { name: "deaf", path: &path, limit: Duration::from_secs(10) };
        let login = Credential::Basic { user: "u".into(), password: "p".repeat(1 << 20) };
        while helper.store("r", &login).is_err_and(|e| e.to_string().contains("busy")) {}
    }

    #[test]
    fn the_ending_is_there_once() {
        for (program, suffix, name) in [
            ("docker-credential-wincred", ".exe", "docker-credential-wincred.exe"),
            ("docker-credential-wincred.EXE", ".exe", "docker-credential-wincred.EXE"),
            ("docker-credential-desktop.exe", "", "docker-credential-desktop.exe"),
            ("docker-credential-pass", "", "docker-credential-pass"),
        ] {
            assert_eq!(file_name(program, suffix), name);
        }
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
            let helper = Helper { name, path: &[PathBuf::from("/bin")], limit: Duration::from_secs(1) };
            assert!(helper.get("r").is_err(), "{name}");
        }
        let helper = Helper { name: "surely-not-there", path: &[], limit: Duration::from_secs(1) };
        assert!(
            helper
                .get("r")
                .unwrap_err()
                .to_string()
                .contains("`docker-credential-surely-not-there`: not found")
        );
    }
}
