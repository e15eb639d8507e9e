//! Git repositories as sources of ADD.

use orlop_fixtures::git::{self, Node, Options, Repository, Server, TIME};
use orlop_fixtures::tool::{run, tool};
use rustix::process::Signal;

use crate::killed::{all_gone, processes};
use crate::{FROM, build, env, image, image_of, snapshot};

/// A server with the repository `app`: on `main` a file, a program, a link and a directory, the tag `v1` with a
/// message on its first commit, and the branch `dev` with one file more.
pub(crate) fn app() -> (Server, Repository) {
    let server = git::start();
    let app = fill(&server);
    (server, app)
}

pub(crate) fn fill(server: &Server) -> Repository {
    let app = server.repository("app");
    app.commit(&[
        ("README", Node::File("read me\n")),
        ("bin/run", Node::Program("#!/bin/sh\necho run\n")),
        ("link", Node::Link("README")),
        ("sub/deep/file", Node::File("deep\n")),
    ]);
    app.git(["tag", "--annotate", "--message=one", "v1"]);
    app.git(["checkout", "--quiet", "-b", "dev"]);
    app.commit(&[("new", Node::File("new\n"))]);
    app.git(["checkout", "--quiet", "main"]);
    app.commit(&[("later", Node::File("later\n"))]);
    app
}

#[test]
fn a_repository_is_added_as_its_files() {
    let (server, _app) = app();
    let env = env();
    let url = server.url("app");
    let built = image(
        &env,
        &format!("{FROM}ADD {url} /src\nADD --chown=7:8 --chmod=0640 --exclude=bin {url} /own/\n"),
    );
    assert_eq!((built.text("/src/README"), built.text("/src/later")), ("read me\n", "later\n"));
    let mode = |path: &str| built.at(path).mode.clone().unwrap();
    assert_eq!(
        (mode("/src/bin/run").as_str(), mode("/src/README").as_str(), mode("/src/bin").as_str()),
        ("0755", "0644", "0755")
    );
    assert_eq!(built.at("/src/link").link.as_deref(), Some("README"));
    assert_eq!((built.at("/src/README").uid, built.at("/src/README").gid), (0, 0));
    assert!(!built.has("/src/.git") && !built.has("/src/new"));
    // The commit's time, so that the same commit is the same layer on any day.
    for path in ["/src/README", "/src/bin", "/src/link"] {
        assert!(built.at(path).mtime.starts_with(&format!("{TIME}.")), "{path}: {}", built.at(path).mtime);
    }
    assert_eq!(
        (built.at("/own/README").uid, built.at("/own/README").gid, mode("/own/README").as_str()),
        (7, 8, "0640")
    );
    assert!(!built.has("/own/bin") && built.has("/own/sub/deep/file"));
}

#[test]
fn names_of_all_kinds_mean_their_commit() {
    let (server, app) = app();
    app.git(["update-ref", "refs/pull/7/head", "dev"]);
    let env = env();
    let url = server.url("app");
    let first = app.id("v1^{commit}");
    let mut dockerfile = FROM.to_owned();
    let cases = [
        ("".to_owned(), "later"),
        ("#dev".into(), "new"),
        ("#refs/heads/dev".into(), "new"),
        ("#v1".into(), ""),
        ("#refs/tags/v1".into(), ""),
        ("#HEAD".into(), "later"),
        ("#pull/7/head".into(), "new"),
        (format!("#{first}"), ""),
        (format!("#{}", app.id("v1")), ""),
        ("?branch=dev".into(), "new"),
        ("?tag=v1".into(), ""),
        (format!("?branch=dev&checksum={}", &app.id("dev")[..9]), "new"),
        // A whole id says which commit where nothing else does.
        (format!("?checksum={}", app.id("dev")), "new"),
        (format!("?tag=v1&commit={first}"), ""),
        (format!("?ref=dev&checksum={first}&fetch-by-commit=true"), ""),
    ];
    for (n, (suffix, _)) in cases.iter().enumerate() {
        dockerfile += &format!("ADD {url}{suffix} /{n}/\n");
    }
    dockerfile += &format!("ADD {url}#dev:sub/deep /x\nADD [\"{url}?subdir=/sub#dev\", \"/y\"]\n");
    let built = image(&env, &dockerfile);
    for (n, (suffix, file)) in cases.iter().enumerate() {
        assert!(built.has(&format!("/{n}/README")), "{suffix}");
        for other in ["later", "new"] {
            assert_eq!(built.has(&format!("/{n}/{other}")), other == *file, "{suffix}: {other}");
        }
    }
    assert_eq!((built.text("/x/file"), built.text("/y/deep/file")), ("deep\n", "deep\n"));
    assert!(!built.has("/x/README") && !built.has("/y/README"));
}

#[test]
fn a_known_commit_is_not_fetched_again() {
    let (server, app) = app();
    let env = env();
    let url = server.url("app");
    let dockerfile = format!("{FROM}ADD {url} /src\nADD {url}#main /again\n");
    build(&env, &dockerfile).run().success().says("refs/heads/main is commit");
    let first = server.requests();
    assert!(first.len() > 2, "{first:?}");
    build(&env, &dockerfile).run().success().says("2 steps, 2 cached");
    let second = server.requests();
    // Each name is asked for once, and that is a look at the service and a list of names.
    assert!(second.len() <= 4 && second.len() < first.len(), "{second:?}");
    // Another commit on the branch is another step.
    app.commit(&[("README", Node::File("other\n"))]);
    let third = image(&env, &dockerfile);
    assert_eq!(third.text("/src/README"), "other\n");
    // Whoever names the commit asks for nothing, not even where the server is gone.
    let dockerfile = format!("{FROM}ADD {url}#{} /src\n", app.id("dev"));
    build(&env, &dockerfile).run().success();
    server.requests();
    build(&env, &dockerfile).run().success().says("CACHED");
    assert_eq!(server.requests(), Vec::<String>::new());
    drop(app);
}

#[test]
fn files_have_the_time_of_their_checkout_for_whom_wants_it() {
    let (server, _app) = app();
    let built = image(&env(), &format!("{FROM}ADD {}?mtime=checkout /src\n", server.url("app")));
    let time: i64 = built.at("/src/README").mtime.split('.').next().unwrap().parse().unwrap();
    assert!(time > TIME + 10_000_000, "{time}");
}

#[test]
fn a_checksum_is_a_commit_or_its_beginning() {
    let (server, app) = app();
    let env = env();
    let url = server.url("app");
    let main = app.id("main");
    for good in [&main[..], &main[..8]] {
        build(&env, &format!("{FROM}ADD --checksum={good} {url} /src\n")).run().success();
    }
    // Of a tag with a message either will do.
    for good in [app.id("v1"), app.id("v1^{commit}")] {
        build(&env, &format!("{FROM}ADD --checksum={good} {url}#v1 /src\n")).run().success();
    }
    build(&env, &format!("{FROM}ADD --checksum={} {url} /src\n", app.id("dev"))).run().success();
    build(&env, &format!("{FROM}ADD --checksum={} {url}#main /src\n", app.id("dev")))
        .run()
        .code(1)
        .says(&format!("is commit {main}, not {}", app.id("dev")))
        .says("correct the checksum");
    for (flags, source, said) in [
        ("--checksum=sha256:00", url.clone(), "`sha256:00` is no commit of git"),
        (
            &format!("--checksum={main}"),
            format!("{url}?checksum={}", app.id("dev")),
            "the URL's query asks for",
        ),
        (&format!("--checksum={main}"), format!("{url}#{}", app.id("dev")), "asks for two commits"),
        (&format!("--checksum={main}"), format!("{url} {url}"), "is for one source"),
        ("--keep-git-dir", format!("{url}?keep-git-dir=false"), "do not agree"),
    ] {
        build(&env, &format!("{FROM}ADD {flags} {source} /src/\n"))
            .run()
            .code(1)
            .says(said)
            .says("Dockerfile:3");
    }
}

#[test]
fn the_git_directory_is_kept_where_it_is_wanted() {
    let (server, app) = app();
    let env = env();
    let url = server.url("app").replace("http://", "http://user:hunter2@");
    let out = env.path("out");
    let dockerfile =
        format!("FROM scratch\nADD --keep-git-dir=true {url}#v1 /tag/\nADD {url}?keep-git-dir /branch\n");
    build(&env, &dockerfile).arg("-o").arg(&out).run().success().never_says("hunter2");
    let git = |dir: &str, args: &[&str]| {
        let out = run(tool("git").arg("-c").arg("safe.directory=*").args(args).current_dir(out.join(dir)));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(git("tag", &["describe"]), "v1");
    assert_eq!(git("tag", &["rev-parse", "HEAD"]), app.id("v1^{commit}"));
    assert_eq!(git("branch", &["rev-parse", "refs/heads/main"]), app.id("main"));
    for dir in ["tag", "branch"] {
        assert_eq!(git(dir, &["status", "--porcelain"]), "");
        assert_eq!(git(dir, &["rev-list", "--count", "HEAD"]), "1", "no more history than is needed");
        assert_eq!(git(dir, &["config", "remote.origin.url"]), server.url("app"));
        let found = tool("grep").args(["-r", "hunter2"]).arg(out.join(dir)).output().unwrap();
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
        for gone in ["FETCH_HEAD", "logs", "hooks"] {
            assert!(!out.join(dir).join(".git").join(gone).exists(), "{gone}");
        }
    }
    // A part of a repository has none, as in BuildKit.
    let part = image(&env, &format!("{FROM}ADD --keep-git-dir {url}#:sub /sub\n"));
    assert!(part.has("/sub/deep/file") && !part.has("/sub/.git"));
}

#[test]
fn submodules_come_along() {
    let (server, app) = app();
    let inner = server.repository("inner");
    inner.commit(&[("inner", Node::File("inner\n"))]);
    let lib = server.repository("lib");
    lib.git(["submodule", "--quiet", "add", &server.url("inner"), "deep"]);
    lib.commit(&[("lib", Node::File("lib\n"))]);
    // What is wanted is not the newest: no branch leads to it any more.
    let wanted = lib.id("HEAD");
    app.git(["submodule", "--quiet", "add", &server.url("lib"), "lib"]);
    app.git(["config", "--file=.gitmodules", "submodule.lib.url", "../lib.git"]);
    app.commit(&[]);
    lib.commit(&[("lib", Node::File("newer\n"))]);
    let env = env();
    let url = server.url("app");
    let built = image(
        &env,
        &format!(
            "{FROM}ADD {url} /a\nADD {url}?submodules=false /b\nADD {url}#main:lib /c\nADD {url}?keep-git-dir /d\n"
        ),
    );
    assert_eq!((built.text("/a/lib/lib"), built.text("/a/lib/deep/inner")), ("lib\n", "inner\n"));
    assert!(!built.has("/a/.git") && !built.has("/a/lib/.git") && !built.has("/a/lib/deep/.git"));
    assert!(built.has("/b/lib") && !built.has("/b/lib/lib"));
    assert_eq!((built.text("/c/lib"), built.text("/c/deep/inner")), ("lib\n", "inner\n"));
    assert!(built.text("/d/.git/modules/lib/HEAD").contains(&wanted) && built.has("/d/lib/.git"));
    for trace in ["FETCH_HEAD", "logs", "hooks"] {
        assert!(!built.has(&format!("/d/.git/modules/lib/{trace}")), "{trace}");
        assert!(!built.has(&format!("/d/.git/modules/lib/modules/deep/{trace}")), "{trace}");
    }
    // No trace of when and where: the same files when it is fetched again.
    let again = image_of(&env, build(&env, &format!("{FROM}ADD {url}?keep-git-dir /d\n")).arg("--no-cache"));
    for path in ["/d/.git/index", "/d/.git/config", "/d/.git/modules/lib/index", "/d/.git/modules/lib/config"]
    {
        assert_eq!(built.at(path).digest, again.at(path).digest, "{path}");
        assert!(built.at(path).digest.is_some() || built.at(path).content.is_some(), "{path}");
    }
}

#[test]
fn a_private_repository_wants_a_token() {
    // `x-access-token:hunter2`
    let basic = "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==";
    let server = git::start_with(&Options { authorization: Some(basic.to_owned()), ..Options::default() });
    let app = fill(&server);
    let env = env();
    let url = server.url("app");
    let dockerfile = format!("{FROM}ADD {url} /src\n");
    build(&env, &dockerfile)
        .run()
        .code(1)
        .says("wants to know who asks")
        .says("hint: give a token: `--secret id=GIT_AUTH_TOKEN,env=GIT_AUTH_TOKEN`");
    let host = server.host();
    let try_with = |id: &str, value: &str| {
        let file = env.file("secret", value);
        build(&env, &dockerfile)
            .arg("--no-cache")
            .arg("--secret")
            .arg(format!("id={id},src={}", file.display()))
            .run()
    };
    for (id, value) in [
        ("GIT_AUTH_TOKEN".to_owned(), "hunter2\n"),
        (format!("GIT_AUTH_TOKEN.{host}"), "hunter2"),
        ("GIT_AUTH_HEADER".to_owned(), basic),
        (format!("GIT_AUTH_HEADER.{host}"), basic),
    ] {
        try_with(&id, value).success().never_says("hunter2").never_says("eC1hY2Nlc3");
    }
    try_with("GIT_AUTH_TOKEN", "wrong").code(1).says("wants to know who asks").never_says("wrong");
    try_with("GIT_AUTH_TOKEN.other.example", "hunter2").code(1);
    // The same in the URL, which stays out of everything that is kept.
    let secret = url.replace("http://", "http://x-access-token:hunter2@");
    let built =
        image_of(&env, build(&env, &format!("{FROM}ADD {secret} /src\nADD --keep-git-dir {secret} /git\n")));
    assert_eq!(built.text("/src/README"), "read me\n");
    assert!(!built.config.to_string().contains("hunter2"), "{}", built.config);
    assert!(built.config.to_string().contains("xxxxx:xxxxx@"), "{}", built.config);
    let found = tool("grep")
        .args(["-r", "-l", "-e", "hunter2", "-e", "eC1hY2Nlc3"])
        .arg(env.store())
        .output()
        .unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    // Submodules beside it inherit what its URL has; a token is for the one repository, as with BuildKit.
    let lib = server.repository("lib");
    lib.commit(&[("lib", Node::File("lib\n"))]);
    app.git(["submodule", "--quiet", "add", lib.dir().to_str().unwrap(), "lib"]);
    app.git(["config", "--file=.gitmodules", "submodule.lib.url", "../lib.git"]);
    app.commit(&[]);
    let built = image(&env, &format!("{FROM}ADD {secret} /src\n"));
    assert_eq!(built.text("/src/lib/lib"), "lib\n");
    try_with("GIT_AUTH_TOKEN", "hunter2").code(1).says("cannot fetch a submodule").says("?submodules=false");
    // Nor into the lines of the Dockerfile that an error shows.
    build(&env, &format!("{FROM}ADD {secret}#none /src\nRUN true\n"))
        .run()
        .code(1)
        .says("ADD http://xxxxxxxxxxxxxxxxxxxxxx@127")
        .never_says("hunter2");
    drop(app);
}

#[test]
fn a_token_reaches_a_repository_whatever_its_name_is_made_of() {
    // `x-access-token:hunter2`
    let basic = "Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==";
    let server = git::start_with(&Options { authorization: Some(basic.to_owned()), ..Options::default() });
    for name in ["my app", "été", "a+b"] {
        server.repository(name).commit(&[("README", Node::File("read me\n"))]);
    }
    let env = env();
    let token = env.file("token", "hunter2");
    for path in ["my%20app", "my app", "m%79%20app", "%c3%a9t%C3%A9", "été", "a+b", "/a+b"] {
        let built = build(&env, &format!("{FROM}ADD [\"{}\", \"/src\"]\n", server.url(path)));
        let secret = format!("id=GIT_AUTH_TOKEN,src={}", token.display());
        let built = image_of(&env, built.arg("--no-cache").arg("--secret").arg(secret));
        assert_eq!(built.text("/src/README"), "read me\n", "{path}");
    }
}

#[test]
fn a_password_that_is_not_encoded_is_shown_nowhere() {
    let env = env();
    let server = orlop_fixtures::web::start([]);
    let file = server.url("/file").replace("http://", "");
    for password in ["my hunter2", "12 hunter2", "a/hunter2 b", "a'hunter2", "a://hunter2"] {
        for (at, said) in [("h.invalid/x.git", ""), (&file, "127.0.0.1")] {
            let url = format!("http://u:{password}@{at}");
            for dockerfile in [
                format!("{FROM}ADD [\"{url}\", \"/d\"]\n"),
                format!("{FROM}COPY [\"{url}\", \"/d\"]\n"),
                // Outside quotes a blank ends the word, and what follows it is another source.
                format!("{FROM}ADD {} /d\n", url.replace(' ', "+")),
                format!("{FROM}RUN [\"true\", \"{url}\"]\nNONE\n"),
            ] {
                build(&env, &dockerfile).run().code(1).never_says("hunter2").says(said);
            }
        }
    }
    build(&env, &format!("{FROM}ADD [\"https://u:my hunter2@h.invalid/x.git\", \"/d\"]\n"))
        .run()
        .code(1)
        .says("`https://xxxxx:xxxxx@h.invalid/x.git` has a blank in its user or password")
        .says("hint: write `%20` for it");
    let url = "https://u:my hunter2@h.invalid/x.git";
    for args in [&["build", url][..], &["build", "--build-context", &format!("n={url}"), "."]] {
        env.orlop(args).run().code(2).says("write `%20`").never_says("hunter2");
    }
}

#[test]
fn a_password_is_for_the_server_that_it_was_given_for() {
    let there = git::start();
    fill(&there);
    let moved = Some(format!("http://{}", there.host()));
    let here = git::start_with(&Options { moved, ..Options::default() });
    let env = env();
    let url = here.url("app");
    let add = |url: &str, secret: &str| {
        let file = env.file("secret", "bearer hunter2");
        let dockerfile = format!("{FROM}ADD {url} /src\n");
        let build = build(&env, &dockerfile).arg("--no-cache");
        build.arg("--secret").arg(format!("id={secret},src={}", file.display())).run().never_says("hunter2")
    };
    // Who goes elsewhere goes without it, or not at all.
    add(&url, "GIT_AUTH_TOKEN").success();
    add(&url.replace("http://", "http://user:hunter2@"), "none").success();
    assert_eq!(there.authorizations(), Vec::<String>::new());
    add(&url, "GIT_AUTH_HEADER").code(1).says("the repository is elsewhere now");
    assert_eq!(there.authorizations(), Vec::<String>::new());
    assert_eq!(here.authorizations(), ["bearer hunter2"]);
    // Who does not ask gets none.
    add(&there.url("app"), "GIT_AUTH_TOKEN").success();
    assert_eq!(there.authorizations(), Vec::<String>::new());
}

#[test]
fn what_is_missing_is_told_with_what_is_there() {
    let (server, app) = app();
    let env = env();
    let url = server.url("app");
    let short = app.id("dev")[..8].to_owned();
    let cases = [
        (format!("{url}#mian"), "has no branch or tag `mian`", "did you mean `main`?"),
        (format!("{url}?tag=main"), "has no branch or tag `refs/tags/main`", "did you mean"),
        (format!("{url}#elsewhere"), "has no branch or tag `elsewhere`", "it has `dev`, `main`, `v1`"),
        (
            format!("{url}#{short}"),
            "has no branch or tag",
            &format!("a commit is named by its whole id: `{}`", app.id("dev")),
        ),
        (
            format!("{url}#{}", "0".repeat(40)),
            "has no commit 0000",
            "as long as a branch or a tag leads to it",
        ),
        (format!("{url}#main:nowhere"), "has no directory `nowhere`", "below the repository's root"),
        (format!("{url}#main:README"), "has a file and no directory `README`", "below the repository's root"),
        (server.url("none"), "there is no repository", "look at the address"),
        (format!("{url}?rev=main"), "has `rev` in its query", "did you mean `ref`?"),
        (format!("{url}#--upload-pack=touch"), "can be no branch or tag", ""),
        (
            "http://127.0.0.1:1/x.git".to_owned(),
            "cannot fetch `http://127.0.0.1:1/x.git`",
            "nobody answers there",
        ),
        ("ssh://git@127.0.0.1:1/x.git".to_owned(), "is reached over ssh", "--ssh default"),
        ("git@127.0.0.1:x.git".to_owned(), "is reached over ssh", "--ssh default"),
    ];
    for (source, said, hint) in cases {
        build(&env, &format!("{FROM}ADD {source} /src\n"))
            .run()
            .code(1)
            .says(said)
            .says(hint)
            .says("Dockerfile:3");
    }
    server.repository("empty");
    build(&env, &format!("{FROM}ADD {} /src\n", server.url("empty")))
        .run()
        .code(1)
        .says("has no default branch");
    build(&env, &format!("{FROM}COPY {url} /src\n")).run().code(1).says("ADD");
    build(&env, &format!("{FROM}ADD {url} /src\n"))
        .env("PATH", "/nowhere")
        .run()
        .code(1)
        .says("apt-get install git");
}

#[test]
fn the_messages_say_what_to_type() {
    let closed = Options { authorization: Some("nobody's".to_owned()), ..Options::default() };
    let (open, closed) = (app().0, git::start_with(&closed));
    fill(&closed);
    let env = env();
    for (name, flags, url, path) in [
        ("git-no-such-branch", "", format!("{}#mian", open.url("app")), None),
        ("git-unknown-query", "", format!("{}?rev=main", open.url("app")), None),
        (
            "git-other-commit",
            &format!("--checksum={} ", "0".repeat(40)),
            format!("{}#v1", open.url("app")),
            None,
        ),
        ("git-without-login", "", closed.url("app"), None),
        ("git-without-agent", "", "git@git.example:app.git".to_owned(), None),
        ("git-without-program", "", open.url("app"), Some("/nowhere")),
    ] {
        let mut run = build(&env, &format!("{FROM}ADD {flags}{url} /src\n"));
        if let Some(path) = path {
            run = run.env("PATH", path);
        }
        snapshot::check(&env, name, &run.run().code(1));
    }
}

#[test]
fn an_old_server_gives_all_that_leads_to_a_commit() {
    let server = git::start_with(&Options { old: true, ..Options::default() });
    let app = fill(&server);
    let first = app.id("v1^{commit}");
    app.git(["tag", "--delete", "v1"]);
    let env = env();
    let built = image(&env, &format!("{FROM}ADD {}#{first} /src\n", server.url("app")));
    assert!(built.has("/src/README") && !built.has("/src/later"));
}

#[test]
fn repositories_of_other_kinds_are_repositories() {
    let server = git::start();
    // Ids of SHA-256, and git's own protocol.
    let long = server.repository_with("long", &["--object-format=sha256"]);
    let id = long.commit(&[("f", Node::File("long\n"))]);
    assert_eq!(id.len(), 64);
    fill(&server);
    let daemon = server.daemon();
    let env = env();
    let built = image(
        &env,
        &format!(
            "{FROM}ADD {long} /a\nADD --keep-git-dir {long}#{id} /b\nADD {daemon}/app.git#v1 /c\nADD {daemon}/app.git#dev:sub /d\n",
            long = server.url("long"),
            daemon = daemon.url()
        ),
    );
    assert_eq!((built.text("/a/f"), built.text("/b/f")), ("long\n", "long\n"));
    assert_eq!((built.text("/c/README"), built.text("/d/deep/file")), ("read me\n", "deep\n"));
}

#[test]
fn an_old_git_is_refused() {
    let (server, _app) = app();
    let env = env();
    let fake = env.file("bin/git", "#!/bin/sh\necho git version 2.25.1\n");
    run(tool("chmod").arg("+x").arg(fake));
    build(&env, &format!("{FROM}ADD {} /src\n", server.url("app")))
        .env("PATH", format!("{}:/usr/bin:/bin", env.path("bin").display()))
        .run()
        .code(1)
        .says("this git is too old: `git version 2.25.1`")
        .says("install git 2.31 or later");
}

#[test]
fn a_few_trees_that_are_millions_of_files_are_not_checked_out() {
    let server = git::start();
    let app = server.repository("app");
    let env = env();
    let mut object = app.git(["hash-object", "-w", "--stdin"]);
    for level in 0..8 {
        let kind = if level == 0 { "100644 blob" } else { "040000 tree" };
        let list: String = (0..10).map(|n| format!("{kind} {object}\t{n}\n")).collect();
        let list = std::fs::File::open(env.file("list", list)).unwrap();
        let made = run(tool("git").arg("mktree").current_dir(app.dir()).stdin(list));
        object = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    }
    let commit = app.git(["commit-tree", &object, "-m", "a bomb"]);
    app.git(["update-ref", "refs/heads/main", &commit]);
    build(&env, &format!("{FROM}ADD {} /src\n", server.url("app")))
        .run()
        .code(1)
        .says("app.git` has more than 1000000 files and directories")
        .says("hint: a repository is fetched whole");
    assert_eq!(std::fs::read_dir(env.store().join("work")).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn nothing_of_the_host_is_reached_by_a_repository() {
    let server = git::start();
    let app = server.repository("app");
    let env = env();
    env.file("host/secret", "of the host");
    let host = env.path("host");
    app.commit(&[
        ("real/file", Node::File("real\n")),
        ("inside", Node::Link("real")),
        ("absolute", Node::Link("/real")),
        ("host", Node::Link(host.to_str().unwrap())),
        ("up", Node::Link("../../../../../../../../../../../../../../etc")),
    ]);
    let url = server.url("app");
    // Links lead within the repository, as if it were all there is.
    let built = image(
        &env,
        &format!("{FROM}ADD {url}#:inside /a\nADD {url}#:absolute /b\nADD {url}#:../real/.. /c\n"),
    );
    assert_eq!(
        (built.text("/a/file"), built.text("/b/file"), built.text("/c/real/file")),
        ("real\n", "real\n", "real\n")
    );
    for dir in ["host", "up", "../../../../../../../etc"] {
        build(&env, &format!("{FROM}ADD {url}#:{dir} /src\n")).run().code(1).says("has no directory");
    }
    // Submodules by transports that run commands or read the host.
    let mark = env.path("mark");
    let local = server.repository("local");
    local.commit(&[("x", Node::File("x"))]);
    for (n, evil) in [
        format!("ext::sh -c touch% {}", mark.display()),
        format!("file://{}", local.dir().display()),
        format!("{}", local.dir().display()),
        "-u./x".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("evil{n}");
        let bad = server.repository(&name);
        bad.git(["submodule", "--quiet", "add", local.dir().to_str().unwrap(), "sub"]);
        bad.git(["config", "--file=.gitmodules", "submodule.sub.url", evil]);
        bad.git([
            "config",
            "--file=.gitmodules",
            "submodule.sub.update",
            &format!("!touch {}", mark.display()),
        ]);
        bad.commit(&[]);
        build(&env, &format!("{FROM}ADD {} /src\n", server.url(&name))).run().code(1).says("submodule");
        bad.git(["config", "--file=.gitmodules", "--unset", "submodule.sub.update"]);
        bad.commit(&[]);
        build(&env, &format!("{FROM}ADD {} /src\n", server.url(&name)))
            .run()
            .code(1)
            .says("cannot fetch a submodule");
    }
    assert!(!mark.exists());
}

#[test]
fn no_configuration_but_ours_plays_a_part() {
    let (server, _app) = app();
    let env = env();
    let mark = env.path("mark");
    // Where the user has it, and where a repository around the store has it.
    let around = env.dir("home");
    run(tool("git").args(["init", "--quiet"]).arg(&around));
    let hook = env.file("hooks/post-checkout", format!("#!/bin/sh\ntouch {}\n", mark.display()));
    run(tool("chmod").arg("+x").arg(&hook));
    let config = format!(
        "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://127.0.0.1:\n[core]\n\thooksPath = {}\n\tfsmonitor = {}\n",
        env.path("hooks").display(),
        hook.display()
    );
    for path in ["home/.gitconfig", "home/.git/config"] {
        env.file(path, &config);
    }
    let dockerfile = format!("{FROM}ADD --keep-git-dir {} /src\n", server.url("app"));
    build(&env, &dockerfile)
        .env("GIT_CONFIG_GLOBAL", env.path("home/.gitconfig"))
        .env("GIT_DIR", "/nowhere")
        .env("GIT_SSH_COMMAND", "/nowhere")
        .run()
        .success();
    assert!(!mark.exists());
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let server = git::start_with(&Options { silent: true, ..Options::default() });
    let env = env();
    let mut running = build(&env, &format!("{FROM}ADD {} /src\n", server.url("app"))).start();
    let url = server.url("app");
    assert!(running.until(|_| processes(&url).len() > 1), "git, and what speaks http for it");
    running.signal(Signal::INT);
    running.wait().code(130);
    all_gone(&url);
}
