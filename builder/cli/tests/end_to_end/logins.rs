//! `orlop login` and `logout`, and the files and helpers that keep logins.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use orlop_fixtures::echo::{self, Answer, Manner};
use orlop_fixtures::registry::{self, Options, Registry};
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{output, run, tool};
use orlop_fixtures::user::User;
use serde_json::{Value, json};

use crate::{FROM, base, build, build_as, env, snapshot};

const PASSWORD: &str = "pass:word \u{e4}%/+";

pub(crate) fn login<'a>(env: &'a TestEnv, registry: &str, user: &str, password: &str) -> Invocation<'a> {
    // A file for each, as several may run at once.
    let input = env.file(&format!("password-{}", registry.replace(['/', ':'], "-")), format!("{password}\n"));
    env.orlop(["login", "-u", user, "--password-stdin", registry]).input(input)
}

fn locked() -> Registry {
    let user = Some(("jo".to_owned(), PASSWORD.to_owned()));
    registry::start_with(&Options { user, ..Options::default() })
}

/// An image under this name.
fn image(env: &TestEnv, name: &str) {
    build(env, &format!("{FROM}RUN echo private > /p\n")).args(["-t", name]).run().success();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON")
}

#[test]
fn a_login_is_tried_kept_used_by_all_and_forgotten() {
    let env = env();
    let registry = locked();
    let (host, name) = (registry.host(), registry.name("team/private:1"));
    image(&env, &name);
    let refused = login(&env, &host, "jo", "hunter2").run().code(1).never_says("hunter2");
    snapshot::check(&env, "login-wrong-password", &refused);
    let file = env.path("docker/config.json");
    assert!(!file.exists(), "nothing is kept of a login that does not do");

    fs::write(&file, "{\"psFormat\": 1.50,\n\"auths\": {\"other\": {\"auth\": \"eDp5\"}}}").expect("write");
    let run_ = login(&env, &host, "jo", PASSWORD).run().success();
    snapshot::check(&env, "login", &run_);
    assert_eq!(run_.stdout, "Login Succeeded\n");
    assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("text");
    assert!(text.starts_with("{\n\t\"psFormat\": 1.50,\n"), "{text}");
    assert!(text.contains("\"other\": {\"auth\": \"eDp5\"}"), "{text}");
    assert_eq!(env.orlop(["login", "--get-login", &host]).run().success().stdout, "jo\n");
    // Tried again without a word more.
    env.orlop(["login", &host]).run().success().says("known already");

    env.orlop(["push", &name]).run().success();
    let source = format!("docker://{name}");
    let inspected =
        run(tool("skopeo").args(["inspect", "--tls-verify=false", "--authfile"]).arg(&file).arg(&source));
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("team/private"));
    let who = run(tool("podman").args(["login", "--get-login", "--authfile"]).arg(&file).arg(&host));
    assert_eq!(String::from_utf8_lossy(&who.stdout), "jo\n");

    let out = env.orlop(["logout", &host]).run().success();
    assert_eq!(out.stdout, format!("Removed the login to {host}\n"));
    assert_eq!(json(&file), json!({"psFormat": 1.5, "auths": {"other": {"auth": "eDp5"}}}));
    env.orlop(["logout", &host]).run().success().says("nobody was logged in");
    env.orlop(["push", &name])
        .run()
        .code(1)
        .says(&format!("hint: nobody is logged in to it: log in with `orlop login {host}`"));
    env.orlop(["login", "--get-login", &host]).run().code(1).says("nobody is logged in");
}

#[test]
fn logins_of_other_programs_are_found() {
    let env = env();
    let registry = locked();
    let (host, name) = (registry.host(), registry.name("private:1"));
    image(&env, &name);
    for (program, variables) in [
        ("podman", [("XDG_RUNTIME_DIR", env.path("run")), ("HOME", env.path("home"))]),
        ("skopeo", [("REGISTRY_AUTH_FILE", env.path("auth.json")), ("HOME", env.path("home"))]),
        ("buildah", [("REGISTRY_AUTH_FILE", env.path("auth.json")), ("HOME", env.path("home"))]),
    ] {
        let mut command = tool(program);
        command.args(["login", "--tls-verify=false", "-u", "jo", "--password-stdin", &host]);
        env.dir("run");
        let input = fs::File::open(env.file("password", PASSWORD)).expect("the password");
        run(command.envs(variables.clone()).stdin(input));
        let push = || env.orlop(["push", &name]).env(variables[0].0, &variables[0].1);
        push().run().success();
        // The file that knows the registry is the one that changes.
        let forget = env.orlop(["logout", &host]).env(variables[0].0, &variables[0].1);
        forget.run().success();
        push().run().code(1);
        login(&env, &host, "jo", PASSWORD).env(variables[0].0, &variables[0].1).run().success();
        push().run().success();
        env.orlop(["logout", &host]).env(variables[0].0, &variables[0].1).run().success();
        push().run().code(1);
    }
}

#[test]
fn an_older_login_before_the_new_one_is_replaced() {
    let env = env();
    let registry = locked();
    let host = registry.host();
    let old = json!({"auths": {&host: {"auth": "am86b2xk"}}}).to_string();
    env.file("run/containers/auth.json", &old);
    login(&env, &host, "jo", PASSWORD).run().success().never_says("comes before");
    assert_ne!(fs::read_to_string(env.path("run/containers/auth.json")).expect("text"), old);
    assert!(!env.path("docker/config.json").exists());
    env.orlop(["login", &host]).run().success();
}

#[test]
fn a_repository_has_a_login_of_its_own() {
    let env = env();
    let registry = locked();
    let (host, name) = (registry.host(), registry.name("team/app:1"));
    image(&env, &name);
    build(&env, FROM).args(["-t", &registry.name("teams:1")]).run().success();
    let target = registry.name("team/app");
    login(&env, &target, "jo", PASSWORD).run().success();
    assert!(!env.path("docker/config.json").exists(), "docker knows no such logins");
    let kept = json(&env.path("home/.config/containers/auth.json"));
    assert!(kept["auths"][&target]["auth"].is_string(), "{kept}");
    env.orlop(["push", &name]).run().success();
    env.orlop(["push", &registry.name("teams:1")]).run().code(1);
    env.orlop(["logout", &host]).run().success().says("nobody was logged in");
    env.orlop(["logout", &target]).run().success();
    env.orlop(["push", &name]).run().code(1);
    env.file("docker/config.json", r#"{"credsStore":"keep"}"#);
    let file = env.path("docker/config.json");
    let refused = login(&env, &target, "jo", PASSWORD).arg("--authfile").arg(file).run().code(1);
    snapshot::check(&env, "login-repository-with-helper", &refused);
    let words = [
        ("login-tag", vec!["login", "r.example/app:1"]),
        ("login-url-of-a-repository", vec!["logout", "https://r.example/app"]),
    ];
    for (name, words) in words {
        snapshot::check(&env, name, &env.orlop(words).run().code(2));
    }
}

#[test]
fn privileged_a_user_has_files_of_their_own() {
    let user = User::with_subordinate_ids();
    let env = TestEnv::rootless(crate::ORLOP, user);
    let registry = locked();
    let (host, name) = (registry.host(), registry.name("private:1"));
    env.file("context/a", "a");
    user.give(&env.path("context"));
    build(&env, "FROM scratch\nCOPY a /a\n").args(["-t", &name]).run().success();
    login(&env, &host, "jo", PASSWORD).run().success();
    let file = env.path("docker/config.json").metadata().expect("the file");
    assert_eq!((file.uid(), file.permissions().mode() & 0o777), (7001, 0o600));
    // In a namespace of its own the program is root, and reads what the user may read.
    env.orlop(["push", &name]).run().success();
    env.orlop(["logout", &host]).run().success();
    env.orlop(["push", &name]).run().code(1).says("nobody is logged in");
    // Root changes a user's file, and it stays the user's.
    let mut root = tool(crate::ORLOP);
    root.args(["login", "-u", "jo", "--password-stdin", &host])
        .env_clear()
        .env("DOCKER_CONFIG", env.path("docker"));
    run(root.stdin(fs::File::open(env.file("password", PASSWORD)).expect("the password")));
    assert_eq!(env.path("docker/config.json").metadata().expect("the file").uid(), 7001);
}

#[test]
fn docker_hub_has_one_login() {
    let env = env();
    for key in ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
        for name in
            ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io", ""]
        {
            env.file("docker/config.json", json!({"auths": {key: {"auth": "am86cA=="}}}).to_string());
            let words = |command: &'static [&'static str]| {
                command.iter().copied().chain((!name.is_empty()).then_some(name))
            };
            let who = env.orlop(words(&["login", "--get-login"])).run().success();
            assert_eq!(who.stdout, "jo\n", "{key} {name}");
            let out = env.orlop(words(&["logout"])).run().success();
            assert_eq!(out.stdout, "Removed the login to docker.io\n");
            assert_eq!(json(&env.path("docker/config.json")), json!({"auths": {}}));
        }
    }
}

#[test]
fn logins_at_once_all_survive_and_a_link_stays_one() {
    let env = env();
    let registry = locked();
    let real = env.file("elsewhere/config", "{}");
    symlink("../elsewhere/config", env.path("docker/config.json")).expect("a link");
    let file = env.path("docker/config.json");
    let names: Vec<String> = (0..6).map(|n| registry.name(&format!("team/app{n}"))).collect();
    let running: Vec<_> = names
        .iter()
        .map(|name| login(&env, name, "jo", PASSWORD).arg("--authfile").arg(&file).start())
        .collect();
    for one in running {
        one.wait().success();
    }
    assert!(file.is_symlink());
    let kept = json(&real);
    let keys: Vec<&String> = kept["auths"].as_object().expect("entries").keys().collect();
    assert_eq!(keys, names.iter().collect::<Vec<_>>());
    env.orlop(["logout", "--all"]).run().success();
    assert_eq!(json(&real), json!({"auths": {}}));
    // A file that is named need not be there yet, nor its directory; to forget what is in none makes none.
    let new = env.path("new/dir/auth.json");
    for variable in [false, true] {
        let at = |run: Invocation<'_>| match variable {
            true => run.env("REGISTRY_AUTH_FILE", &new).run(),
            false => run.arg("--authfile").arg(&new).run(),
        };
        at(env.orlop(["logout", &registry.host()])).success().says("nobody was logged in");
        assert!(!env.path("new").exists());
        at(login(&env, &registry.host(), "jo", PASSWORD)).success();
        assert_eq!(at(env.orlop(["login", "--get-login", &registry.host()])).success().stdout, "jo\n");
        at(env.orlop(["logout", "--all"])).success();
        fs::remove_dir_all(env.path("new")).expect("remove");
    }
}

/// Installs a helper that keeps logins in a directory, and notes how it was called.
fn install_helper(env: &TestEnv) -> PathBuf {
    let script = r#"#!/bin/sh
# One login a file; the secret is on standard input alone.
dir=${0%/bin/*}/keychain
tr '\0' ' ' < /proc/$$/cmdline >> "$dir/calls"; env >> "$dir/calls"
case $1 in
list) printf '{'; sep=; for f in "$dir"/*.login; do
    [ -e "$f" ] || continue
    printf '%s"%s":"jo"' "$sep" "$(cat "${f%.login}.server")"; sep=,
done; echo '}' ;;
store) read -r login; server=$(printf '%s' "$login" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
    file=$dir/$(printf '%s' "$server" | tr -c 'a-z0-9.' _); printf '%s' "$login" > "$file.login"
    printf '%s' "$server" > "$file.server" ;;
get|erase) read -r server; file=$dir/$(printf '%s' "$server" | tr -c 'a-z0-9.' _)
    [ -e "$file.login" ] || { echo credentials not found in native keychain; exit 1; }
    if [ "$1" = get ]; then cat "$file.login"; else rm "$file.login"; fi ;;
esac
"#;
    env.dir("keychain");
    let helper = env.file("bin/docker-credential-keep", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("chmod");
    env.path("bin")
}

#[test]
fn a_helper_keeps_the_login() {
    let env = env();
    let registry = locked();
    let (host, name) = (registry.host(), registry.name("private:1"));
    let path = format!("{}:/usr/bin:/bin", install_helper(&env).display());
    image(&env, &name);
    for config in
        [json!({"credsStore": "keep"}), json!({"credHelpers": {&host: "keep"}, "credsStore": "none"})]
    {
        let file = env.file("docker/config.json", config.to_string());
        let run_ =
            login(&env, &host, "jo", PASSWORD).env("PATH", &path).run().success().never_says("unencrypted");
        assert_eq!(run_.stdout, "Login Succeeded\n");
        let mut kept = config.clone();
        kept["auths"] = json!({&host: {}});
        assert_eq!(json(&file), kept, "as Docker notes it");
        env.orlop(["push", &name]).env("PATH", &path).run().success();
        assert_eq!(
            env.orlop(["login", "--get-login", &host]).env("PATH", &path).run().success().stdout,
            "jo\n"
        );
        env.orlop(["logout", &host]).env("PATH", &path).run().success();
        env.orlop(["push", &name]).env("PATH", &path).run().code(1);
    }
    env.file("docker/config.json", json!({"credsStore": "keep"}).to_string());
    login(&env, &host, "jo", PASSWORD).env("PATH", &path).run().success();
    env.orlop(["logout", "--all"]).env("PATH", &path).run().success();
    assert!(
        !fs::read_dir(env.path("keychain"))
            .expect("list")
            .flatten()
            .any(|f| f.path().extension().is_some_and(|e| e == "login"))
    );
    let calls = fs::read_to_string(env.path("keychain/calls")).expect("calls");
    assert!(calls.contains("store") && !calls.contains("pass:word"), "{calls}");
    // Without the helper nothing is kept elsewhere.
    let before = json(&env.path("docker/config.json"));
    let missing = login(&env, &host, "jo", PASSWORD).run().code(1);
    snapshot::check(&env, "login-without-its-helper", &missing);
    assert_eq!(json(&env.path("docker/config.json")), before);
}

#[test]
fn what_is_no_login_is_refused() {
    let env = env();
    let registry = locked();
    let host = registry.host();
    let refused =
        env.orlop(["login", "-u", "jo", "-p", "hunter2", "r.example"]).run().code(2).never_says("hunter2");
    snapshot::check(&env, "login-password-as-argument", &refused);
    env.orlop(["login", "--password=hunter2"]).run().code(2).never_says("hunter2");
    let url = ["login", "-p", "hunter2", "https://jo:hunter2@r.example"];
    env.orlop(url).run().code(2).says("r.example").never_says("hunter2");
    snapshot::check(&env, "login-without-terminal", &env.orlop(["login", "r.example"]).run().code(2));
    env.orlop(["login", "--password-stdin", "r.example"])
        .run()
        .code(2)
        .says("--password-stdin` needs a user");
    env.orlop(["login", "-u", "jo", "--password-stdin", &host]).run().code(2).says("the password is empty");
    login(&env, &host, "a:b", "hunter2").run().code(2).never_says("hunter2");
    login(&env, &host, "jo", "hunter2\0").run().code(2).says("NUL").never_says("hunter2");
    let long = env.file("long", "x".repeat(70_000));
    env.orlop(["login", "-u", "jo", "--password-stdin", &host]).input(long).run().code(1).says("65536 bytes");
    for (name, text) in
        [("damaged", "{\"auths\":"), ("a list", "[]"), ("nothing known", "{\"auths\":{\"x\":1}}")]
    {
        let file = env.file("docker/config.json", text);
        login(&env, &host, "jo", PASSWORD).run().code(1).says("not a credentials file");
        env.orlop(["logout", &host]).run().code(1).says("not a credentials file");
        assert_eq!(fs::read_to_string(&file).expect("text"), text, "{name}");
    }
    fs::remove_file(env.path("docker/config.json")).expect("remove");
    fs::create_dir(env.path("docker/config.json")).expect("a directory");
    login(&env, &host, "jo", PASSWORD).run().code(1);
    fs::remove_dir(env.path("docker/config.json")).expect("remove");
    let open = registry::start();
    login(&env, &open.host(), "jo", "x").run().success().says("asks for no login");
    login(&env, "127.0.0.1:1", "jo", "hunter2").run().code(1).says("refused").never_says("hunter2");
    assert!(!fs::read_to_string(env.path("docker/config.json")).expect("text").contains("127.0.0.1:1\""));
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let env = env();
    let registry = locked();
    let host = registry.host();
    let script = r#"
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execve(sys.argv[1], sys.argv[1:], dict(os.environ))
seen = b""
def until(text):
    global seen
    while text not in seen:
        seen += os.read(fd, 4096)
until(b"Username: ")
os.write(fd, b"jo\n")
until(b"Password: ")
time.sleep(0.2)
os.write(fd, os.environb[b"TYPED"] + b"\n")
try:
    while True:
        piece = os.read(fd, 4096)
        if not piece: break
        seen += piece
except OSError: pass
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status))
"#;
    let type_ = |typed: &str| {
        let mut python = tool("python3");
        python.arg(env.file("type.py", script)).arg(crate::ORLOP).args(["login", &host]);
        python
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DOCKER_CONFIG", env.path("docker"))
            .env("TYPED", typed);
        let output = output(&mut python);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, seen) = type_("hunter2");
    assert!(code == Some(1) && !seen.contains("hunter2"), "{code:?} {seen}");
    // With a slip of the finger: two bytes of UTF-8 taken back at once.
    let (code, seen) = type_(&format!("gone\u{15}{PASSWORD}\u{fc}\u{7f}"));
    assert!(
        code == Some(0) && seen.contains("Login Succeeded") && !seen.contains("pass:"),
        "{code:?} {seen}"
    );
    env.orlop(["logout", &host]).run().success();
    assert_eq!(type_("half\u{3}").0, Some(130));
}

/// Servers that say back what they are told, in all places that we read.
const ECHOES: &[Answer] = &[
    Answer { status: 403, headers: "", body: r#"{"errors":[{"code":"AUTH","message":"no: AUTH PASS"}]}"# },
    Answer { status: 404, headers: "", body: "AUTH PASS" },
    Answer { status: 400, headers: "", body: r#"{"error":"PASS","error_description":"AUTH"}"# },
    Answer {
        status: 401,
        headers: "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/PASS/AUTH?x=PASS\",service=\"AUTH\",scope=\"repository:PASS:pull\"",
        body: "PASS",
    },
    Answer { status: 307, headers: "Location: http://HOST/v2/AUTH/PASS?q=PASS", body: "" },
    Answer { status: 307, headers: "Location: ftp://AUTH/PASS", body: "PASS" },
    Answer {
        status: 200,
        headers: "Content-Type: AUTH\r\nDocker-Content-Digest: PASS\r\nLocation: /PASS",
        body: "PASS AUTH",
    },
    Answer { status: 202, headers: "Location: http://HOST/v2/AUTH/PASS?x=AUTH\r\nRange: PASS", body: "PASS" },
];

#[test]
fn no_command_shows_or_keeps_a_password() {
    let canary = "Canary-4711-wing";
    // base64 of `jo:Canary-4711-wing`, without what padding may change.
    let encoded = "am86Q2FuYXJ5LTQ3MTEtd2lu";
    let env = env();
    build_as(&env, &format!("{FROM}RUN echo x > /x\n"), &crate::base_name(), "local:1").run().success();
    let base = base().display().to_string();
    // Words with one space between them. NAME, REPOSITORY, HOST and LAYOUT are put in.
    let commands: &[(&str, &[&str])] = &[
        (
            "build",
            &[
                "build --progress=plain --build-arg=BASE=NAME -f Dockerfile --pull context",
                "build --progress=rawjson -t NAME --push --build-arg=BASE=oci-layout://LAYOUT:latest context -f Dockerfile",
                "build --progress=plain --cache-from=type=registry,ref=NAME --cache-to=type=registry,ref=NAME,mode=max \
                 --build-arg=BASE=oci-layout://LAYOUT:latest context -f Dockerfile",
            ],
        ),
        ("pull", &["pull --progress=rawjson NAME", "pull NAME"]),
        ("push", &["push --progress=rawjson local:1 NAME", "push -q local:1 NAME"]),
        ("run", &["run --rm NAME true"]),
        ("login", &["login HOST", "login --get-login HOST"]),
        ("logout", &[]),
        ("inspect", &["inspect --raw docker://NAME", "inspect NAME"]),
        ("copy", &["copy docker://NAME oci:out", "copy oci:LAYOUT:latest docker://NAME"]),
        ("tags", &["tags NAME", "tags REPOSITORY"]),
        ("digest", &["digest NAME"]),
        ("referrers", &["referrers NAME", "referrers --format=json NAME"]),
        ("images", &["images"]),
        ("info", &["info"]),
    ];
    // Those that ask no registry.
    let others = ["tag", "rmi", "history", "load", "save", "store", "version"];
    let help = env.orlop(["--help"]).run().success().stdout;
    let all: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let (mut masked, mut repeated) = (false, false);
    for command in &all {
        let known = others.contains(command) || commands.iter().any(|(name, _)| name == command);
        assert!(known, "say here how `orlop {command}` asks a registry, or that it asks none");
    }
    let manners = [(false, true), (true, true), (true, false)];
    for (n, echo) in ECHOES.iter().enumerate() {
        for (m, (tokens, lets_in)) in manners.into_iter().enumerate() {
            let fails_first = n == m;
            let server = echo::start(*echo, Manner { tokens, lets_in, fails_first });
            let config = json!({"auths": {server.host(): {"auth": format!("{encoded}Zw==")}}});
            env.file("docker/config.json", config.to_string());
            // The lines of a command take turns, and so do the commands with each manner.
            let turn = |i: usize, of: usize| i % of == n % of;
            let lines = commands.iter().enumerate().filter(|(_, (name, _))| all.contains(name)).flat_map(
                |(c, (_, lines))| {
                    let mine = fails_first || turn(c + m, manners.len());
                    lines
                        .iter()
                        .enumerate()
                        .filter(move |(i, _)| mine && turn(*i, lines.len()))
                        .map(|(_, line)| line)
                },
            );
            for line in lines {
                let words = line.split_whitespace().map(|word| {
                    word.replace("NAME", &format!("{}/app:1", server.host()))
                        .replace("REPOSITORY", &format!("{}/app", server.host()))
                        .replace("HOST", &server.host())
                        .replace("LAYOUT", &base)
                });
                let run = env.orlop(words).run();
                for text in [&run.stdout, &run.stderr] {
                    assert!(!text.contains(canary) && !text.contains(encoded), "{echo:?}: {run}");
                    masked |= text.contains("[secret]");
                    repeated |= text.contains("trying again");
                }
            }
        }
    }
    assert!(masked && repeated, "nothing was said back, or nothing sent again");
    fs::remove_file(env.path("docker/config.json")).expect("the one place where it belongs");
    let mut grep = tool("grep");
    let left = output(grep.args(["-rlaE", &format!("{canary}|{encoded}")]).arg(env.path("")));
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "files with the password in them");
}
