//! Builds in git repositories.

use std::path::Path;

use orlop_fixtures::git::{self, Node, Options, Server};
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{run, tool};

use crate::git::fill;
use crate::{FROM, base_name, env, image_of};

/// `orlop build -t built CONTEXT` over the busybox base.
fn build<'a>(env: &'a TestEnv, context: &str) -> Invocation<'a> {
    let base = format!("BASE={}", base_name());
    env.orlop(["build", "--progress=plain", "-t", "built", "--build-arg", &base, context])
}

/// A server with the repository `app`, in which there are Dockerfiles.
fn app() -> Server {
    let server = git::start();
    let app = fill(&server);
    app.commit(&[
        ("Dockerfile", Node::File(&format!("{FROM}COPY . /src\n"))),
        ("sub/Dockerfile", Node::File(&format!("{FROM}COPY deep /deep\nRUN ls -a / > /list\n"))),
        ("sub/other.Dockerfile", Node::File(&format!("{FROM}COPY deep/file /other\n"))),
        ("sub/root.Dockerfile", Node::File(&format!("{FROM}COPY sub/deep /deep\n"))),
        (".dockerignore", Node::File("README\n")),
    ]);
    server
}

#[test]
fn a_repository_is_a_context() {
    let server = app();
    let env = env();
    let url = server.url("app");
    let built = image_of(&env, build(&env, &url));
    assert_eq!(built.text("/src/later"), "later\n");
    // The ignore file of a repository leaves nothing out with BuildKit; one that is named does.
    assert!(built.has("/src/README") && !built.has("/src/.git"));
    let ignore = env.file("ignore", "later\n");
    let built = image_of(&env, build(&env, &url).arg("--ignorefile").arg(&ignore));
    assert!(built.has("/src/README") && !built.has("/src/later"));
    let kept = build(&env, &url).args(["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"]);
    let kept = image_of(&env, kept);
    assert!(kept.has("/src/.git/HEAD"));
    // The same commit is the same context, however it was fetched.
    build(&env, &format!("{url}#main")).run().success().says("1 step, 1 cached");
    assert_eq!(std::fs::read_dir(env.store().join("work")).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn the_dockerfile_is_in_the_directory_that_is_named() {
    let server = app();
    let env = env();
    let url = format!("{}#main:sub", server.url("app"));
    let built = image_of(&env, build(&env, &url));
    assert_eq!(built.text("/deep/file"), "deep\n");
    assert!(!built.text("/list").contains("src"));
    let built = image_of(&env, build(&env, &url).args(["-f", "other.Dockerfile"]));
    assert_eq!(built.text("/other"), "deep\n");
    // Of the root: the Dockerfile's directory and the context's are two things.
    let built = image_of(&env, build(&env, &server.url("app")).args(["-f", "sub/root.Dockerfile"]));
    assert!(built.has("/deep/file"));
}

#[test]
fn a_dockerfile_may_come_from_here() {
    let server = app();
    let env = env();
    let own = env.file("own/Own.Dockerfile", format!("{FROM}COPY README /own\n"));
    let url = server.url("app");
    let built = image_of(&env, build(&env, &url).arg("-f").arg(&own));
    assert_eq!(built.text("/own"), "read me\n");
    let built = image_of(&env, build(&env, &url).args(["-f", "-"]).input(&own));
    assert_eq!(built.text("/own"), "read me\n");
    // A relative path is one in the repository.
    build(&env, &url)
        .args(["-f", "own/Own.Dockerfile"])
        .run()
        .code(1)
        .says("there is no `own/Own.Dockerfile` in")
        .says(&format!("the file of this machine is `-f {}`", own.display()));
}

#[test]
fn a_private_context_wants_a_token() {
    // `x-access-token:hunter2`
    let basic = "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==";
    let server = git::start_with(&Options { authorization: Some(basic.to_owned()), ..Options::default() });
    let app = fill(&server);
    app.commit(&[("Dockerfile", Node::File(&format!("{FROM}COPY README /README\n")))]);
    let env = env();
    let url = server.url("app");
    build(&env, &url).run().code(1).says("wants to know who asks").says("--secret id=GIT_AUTH_TOKEN");
    let token = ["--secret", "id=GIT_AUTH_TOKEN"];
    build(&env, &url).args(token).env("GIT_AUTH_TOKEN", "hunter2").run().success().never_says("hunter2");
    let secret = url.replace("http://", "http://x-access-token:hunter2@");
    build(&env, &secret).run().success().never_says("hunter2");
    build(&env, &format!("{secret}#a..b")).run().code(2).never_says("hunter2");
    build(&env, &secret.replace("app.git", "none.git")).run().code(1).never_says("hunter2");
}

#[test]
fn what_is_wrong_with_a_context_is_said() {
    let server = app();
    let env = env();
    let url = server.url("app");
    for (context, code, said) in [
        (format!("{url}#mian"), 1, "did you mean `main`?"),
        (format!("{url}#main:bin"), 1, "there is no `Dockerfile` in"),
        (format!("{url}#main:none"), 1, "has no directory `none`"),
        (format!("{url}?brnach=main"), 2, "did you mean `branch`?"),
        (format!("{url}#main~1"), 2, "can be no branch or tag"),
        ("git@127.0.0.1:x.git".to_owned(), 1, "`--ssh default`"),
        ("ext::sh -c id".to_owned(), 1, "ext::sh -c id"),
    ] {
        build(&env, &context).run().code(code).says(said);
    }
    // A directory of this machine comes before a repository elsewhere.
    env.file("github.com/a/b/Dockerfile", format!("{FROM}LABEL here=yes\n"));
    build(&env, "github.com/a/b").run().success();
}

#[test]
fn links_in_a_repository_lead_to_nothing_of_this_machine() {
    let server = git::start();
    let app = server.repository("app");
    let env = env();
    let secret = env.file("secret", "FROM scratch\nLABEL stolen=yes\n");
    app.commit(&[
        ("Dockerfile", Node::Link(secret.to_str().unwrap())),
        ("inside", Node::Link("/real/Dockerfile")),
        ("real/Dockerfile", Node::File(&format!("{FROM}COPY evil /evil\n"))),
        ("real/evil", Node::Link(secret.to_str().unwrap())),
    ]);
    let url = server.url("app");
    build(&env, &url).run().code(1).says("there is no `Dockerfile` in");
    build(&env, &url).args(["-f", "../../../secret"]).run().code(1).says("there is no `../../../secret` in");
    // A link that stays inside is followed, and what COPY follows stays inside too.
    build(&env, &url).args(["-f", "inside"]).run().code(1).says("COPY evil /evil");
    build(&env, &format!("{url}#:real")).run().code(1).says("`evil`: not found");
}

/// An agent without keys, at this socket; it ends when it is told so.
fn agent(socket: &Path) -> String {
    let agent = run(tool("ssh-agent").arg("-a").arg(socket));
    let text = String::from_utf8_lossy(&agent.stdout).into_owned();
    text.split("SSH_AGENT_PID=").nth(1).and_then(|rest| rest.split(';').next()).expect("a pid").to_owned()
}

#[test]
fn ssh_is_asked_with_the_agent_that_is_named() {
    let env = env();
    let socket = env.path("agent");
    let pid = agent(&socket);
    let url = "ssh://git@127.0.0.1:1/x.git";
    // Nobody listens there: it is the real ssh that says so, whether the agent is named or just runs.
    let unreached = |build: Invocation<'_>| build.run().code(1).says("nobody answers there");
    unreached(build(&env, url).env("SSH_AUTH_SOCK", &socket));
    unreached(build(&env, url).arg("--ssh").arg(format!("default={}", socket.display())));
    // To ADD it has to be named, as to every step.
    let file = env.file("Dockerfile", format!("{FROM}ADD {url} /src\n"));
    let add = || build(&env, ".").arg("-f").arg(&file).env("SSH_AUTH_SOCK", &socket);
    add().run().code(1).says("there is no agent to log in with").says("--ssh default");
    unreached(add().args(["--ssh", "default"]));
    run(tool("kill").arg(pid));
}

/// A `PATH` with an `ssh` that says in `asked` with what agent and what words it was called, and does what a server
/// with these repositories would do.
fn fake_ssh(env: &TestEnv, server: &Server) -> String {
    let fake = env.file(
        "bin/ssh",
        format!(
            "#!/bin/sh\nprintf '%s|' \"$SSH_AUTH_SOCK\" \"$@\" >> {log}\necho >> {log}\n\
             for command; do :; done\ncd {root} && exec sh -c \"$command\"\n",
            log = env.path("asked").display(),
            root = server.root().display()
        ),
    );
    run(tool("chmod").arg("+x").arg(&fake));
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", env.path("bin").display())
}

#[test]
fn a_submodule_over_ssh_gets_nothing_of_the_user() {
    let server = git::start();
    let lib = server.repository("lib");
    lib.commit(&[("lib", Node::File("lib\n"))]);
    let app = fill(&server);
    app.commit(&[("Dockerfile", Node::File(&format!("{FROM}COPY lib/lib /out\n")))]);
    app.git(["submodule", "--quiet", "add", lib.dir().to_str().unwrap(), "lib"]);
    let env = env();
    let path = fake_ssh(&env, &server);
    let socket = env.path("agent");
    let pid = agent(&socket);
    env.file("home/.ssh/config", "Host *\n  ProxyCommand touch mark\n");
    for url in [format!("ssh://git@git.example{}", lib.dir().display()), "git@git.example:lib.git".to_owned()]
    {
        app.git(["config", "--file=.gitmodules", "submodule.lib.url", &url]);
        app.commit(&[]);
        // The agent is for the repository that the user named, and that is none of ssh's.
        let build = build(&env, &server.url("app")).args(["--ssh", "default"]);
        let build = build.env("PATH", &path).env("SSH_AUTH_SOCK", &socket);
        assert_eq!(image_of(&env, build.arg("--no-cache")).text("/out"), "lib\n");
        let asked = std::fs::read_to_string(env.path("asked")).unwrap();
        for line in asked.lines() {
            assert!(line.starts_with("|-F|none|") && !line.contains("agent"), "{line}");
            assert!(line.contains("|BatchMode=yes|") && line.contains("|IdentityFile=none|"), "{line}");
        }
        assert!(!asked.is_empty());
        run(tool("rm").arg(env.path("asked")));
    }
    run(tool("kill").arg(pid));
}

#[test]
fn a_repository_comes_over_ssh() {
    let server = app();
    let env = env();
    let path = fake_ssh(&env, &server);
    let socket = env.path("agent");
    let pid = agent(&socket);
    env.file("home/.ssh/known_hosts", "known.example ssh-ed25519 AAAA\n");
    for (url, host) in [
        ("git@git.example:app.git#main:sub".to_owned(), "git@git.example"),
        (
            format!("ssh://me@git.example:2222{}#main:sub", server.root().join("app.git").display()),
            "me@git.example",
        ),
    ] {
        let run = build(&env, &url).env("PATH", &path).env("SSH_AUTH_SOCK", &socket).run().success();
        assert!(!run.stderr.contains("warning: Permanently"), "{run}");
        let asked = std::fs::read_to_string(env.path("asked")).unwrap();
        let line = asked.lines().last().unwrap();
        assert!(
            line.starts_with(&format!("{}|-F|none|", socket.display()))
                && line.contains(&format!("|{host}|")),
            "{line}"
        );
        for option in
            ["BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=accept-new", "UserKnownHostsFile="]
        {
            assert!(line.contains(option), "{line}");
        }
    }
    assert!(std::fs::read_to_string(env.path("asked")).unwrap().contains("|-p|2222|"));
    run(tool("kill").arg(pid));
}
