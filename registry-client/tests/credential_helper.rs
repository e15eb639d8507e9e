//! Credential helpers as programs, on every system: this test is the helper as well, under names of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use orlop_registry_client::fake::{FakeAuth, FakeConfig, FakeRegistry};
use orlop_registry_client::{Client, ClientConfig, Credentials};

const PREFIX: &str = "docker-credential-";

fn main() -> ExitCode {
    let me = std::env::current_exe().expect("a test knows its own program");
    let stem = me.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(kind) = stem.strip_prefix(PREFIX) {
        return helper(kind);
    }
    for (name, check) in [
        ("a login comes from a helper", a_login as fn(&Path)),
        ("a helper that knows nothing is no error", nothing_known),
        ("registries.conf says who is asked", ordered),
        ("a helper that fails is named", failure),
        ("a helper that fails keeps no other from forgetting", forgetting),
        ("a helper that hangs is ended", hanging),
        ("scripts and other directories are not looked at", strangers),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        check(dir.path());
        let _ = writeln!(std::io::stdout(), "credential helper: {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// What this program does where it is called as a helper.
fn helper(kind: &str) -> ExitCode {
    let mut server = String::new();
    let read = std::io::stdin().read_to_string(&mut server);
    let action = std::env::args().nth(1).unwrap_or_default();
    if kind == "good" && action == "erase" {
        let me = std::env::current_exe().expect("a helper knows its own program");
        std::fs::write(me.with_file_name("erased"), &server).expect("a file");
    }
    let said = match (kind, read) {
        ("good", Ok(_)) if action == "get" && server.trim().starts_with("127.0.0.1:") => {
            r#"{"Username":"u","Secret":"hunter2"}"#
        }
        ("empty", Ok(_)) => "credentials not found in native keychain",
        ("hangs", _) => {
            std::thread::sleep(Duration::from_secs(60));
            return ExitCode::SUCCESS;
        }
        _ => "the keychain is locked",
    };
    let _ = writeln!(std::io::stdout(), "{said}");
    if kind == "good" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Installs this program as the helper of that name.
fn install(dir: &Path, kind: &str) {
    let me = std::env::current_exe().expect("a test knows its own program");
    let name = format!("{PREFIX}{kind}{}", std::env::consts::EXE_SUFFIX);
    std::fs::copy(me, dir.join(name)).expect("this program can be copied");
}

fn registry() -> FakeRegistry {
    let auth = FakeAuth::Basic("u".into(), "hunter2".into());
    FakeRegistry::start(FakeConfig { auth, ..FakeConfig::default() }).expect("a registry on the loopback")
}

/// What the registry says to a client whose logins come from the helper `kind`.
fn ping(kind: &str, path: Vec<PathBuf>) -> Result<(), orlop_registry_client::Error> {
    let registry = registry();
    let mut credentials = Credentials::none();
    credentials.set_helper_path(path);
    // Wine needs seconds to start a program on a busy machine.
    credentials.set_helper_limit(Duration::from_secs(if kind == "hangs" { 2 } else { 50 }));
    let file = format!(r#"{{"credsStore":"{kind}"}}"#);
    credentials.add_file("config.json", file.as_bytes())?;
    Client::new(ClientConfig { credentials, ..ClientConfig::default() }).ping(&registry.host())
}

fn a_login(dir: &Path) {
    install(dir, "good");
    ping("good", vec!["relative".into(), dir.to_owned()]).expect("the helper knows the login");
    if cfg!(windows) {
        // As people write it who saw the file.
        ping("good.exe", vec![dir.to_owned()]).expect("the ending is there once");
    }
}

fn nothing_known(dir: &Path) {
    install(dir, "empty");
    let error = ping("empty", vec![dir.to_owned()]).expect_err("nobody has a login");
    assert_eq!(error.status(), Some(401), "{error}");
}

fn ordered(dir: &Path) {
    for kind in ["good", "empty", "locked"] {
        install(dir, kind);
    }
    let ping = |order: &[&str], user: Option<&str>| {
        let registry = registry();
        let mut credentials = Credentials::none();
        credentials.set_helper_path(vec![dir.to_owned()]);
        credentials.set_order(order.iter().map(ToString::to_string).collect());
        if let Some(auth) = user {
            let file = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.host());
            credentials.add_file("auth.json", file.as_bytes()).expect("a file");
        }
        Client::new(ClientConfig { credentials, ..ClientConfig::default() }).ping(&registry.host())
    };
    ping(&["empty", "good"], None).expect("the second helper knows the login");
    // u:wrong
    let wrong = Some("dTp3cm9uZw==");
    ping(&["good", "containers-auth.json"], wrong).expect("the helper comes before the files");
    ping(&["good"], wrong).expect("the files are not asked");
    let error = ping(&["containers-auth.json", "locked"], wrong).expect_err("the files come first");
    assert_eq!(error.status(), Some(401), "{error}");
    let error = ping(&["containers-auth.json", "locked"], None).expect_err("the helper fails");
    assert!(error.to_string().contains("docker-credential-locked"), "{error}");
}

fn failure(dir: &Path) {
    install(dir, "locked");
    let error = ping("locked", vec![dir.to_owned()]).expect_err("the helper fails").to_string();
    assert!(error.contains("`docker-credential-locked`: failed: the keychain is locked"), "{error}");
}

fn forgetting(dir: &Path) {
    install(dir, "locked");
    install(dir, "good");
    let mut credentials = Credentials::none();
    credentials.set_helper_path(vec![dir.to_owned()]);
    credentials.set_helper_limit(Duration::from_secs(50));
    let file = br#"{"credHelpers":{"127.0.0.1:1":"locked","127.0.0.1:2":"good"}}"#;
    let error = credentials.erase_all("config.json", file).expect_err("one of them fails").to_string();
    assert!(error.contains("docker-credential-locked"), "{error}");
    let told = std::fs::read_to_string(dir.join("erased")).expect("the other one was told");
    assert_eq!(told.trim(), "127.0.0.1:2");
}

fn hanging(dir: &Path) {
    install(dir, "hangs");
    let start = Instant::now();
    let error = ping("hangs", vec![dir.to_owned()]).expect_err("the helper hangs").to_string();
    assert!(error.contains("gave no answer"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

fn strangers(dir: &Path) {
    install(dir, "good");
    let elsewhere = dir.join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    if cfg!(windows) {
        // What `cmd.exe` would run, and what nobody would.
        for name in ["docker-credential-good.cmd", "docker-credential-good.bat", "docker-credential-good"] {
            std::fs::write(elsewhere.join(name), "@echo {\"Username\":\"u\",\"Secret\":\"hunter2\"}")
                .expect("a file");
        }
    }
    for path in [vec![elsewhere], vec![".".into()], Vec::new()] {
        let error = ping("good", path).expect_err("no such helper there").to_string();
        assert!(error.contains("not found in PATH"), "{error}");
    }
    let error = ping("../good", vec![dir.join("elsewhere")]).expect_err("names do not climb").to_string();
    assert!(error.contains("not the name of a credential helper"), "{error}");
}
