//! `--build-context`: names for `--from` and `FROM`, in the place of stages and images.

use std::fs;

use orlop_fixtures::git::Node;
use orlop_fixtures::layout::{Compression, Image};
use orlop_fixtures::tarball::{Entry, archive};
use orlop_fixtures::test_env::{Invocation, Run, TestEnv};
use orlop_fixtures::web::{self, Page};

use crate::bad_input::still_works;
use crate::{FROM, build, env, image_of, snapshot};

fn with<'a>(build: Invocation<'a>, name: &str, place: impl std::fmt::Display) -> Invocation<'a> {
    build.arg("--build-context").arg(format!("{name}={place}"))
}

/// A layout with the one file `/from` in it, and the label `who`.
fn layout(env: &TestEnv, name: &str, tag: &str) -> String {
    let mut image = Image::new().tar(archive(&[Entry::file("from", name)]), Compression::Gzip);
    image.config["config"]["Labels"]["who"] = name.into();
    image.write(&env.dir(name));
    format!("oci-layout://{}{tag}", env.path(name).display())
}

#[track_caller]
fn refused(env: &TestEnv, name: &str, run: Run, says: &[&str]) {
    let run = says.iter().fold(run, |run, text| run.says(text));
    assert_eq!(run.stdout, "", "standard output carries results only");
    snapshot::check(env, name, &run);
    still_works(env);
}

#[test]
fn a_directory_is_copied_from_with_its_own_rules() {
    let env = env();
    for (path, text) in [
        ("lib/f", "lib"),
        ("lib/secret", "no"),
        ("lib/.dockerignore", "secret\n"),
        ("context/.dockerignore", "f\n"),
    ] {
        env.file(path, text);
    }
    let dockerfile = "FROM scratch\nCOPY --from=lib . /lib/\nCOPY --from=lib f /one\n";
    let built = image_of(&env, with(build(&env, dockerfile), "lib", env.path("lib").display()));
    assert_eq!((built.text("/lib/f"), built.text("/one")), ("lib", "lib"));
    assert!(!built.has("/lib/secret"), "{:?}", built.tree.keys());
    assert_eq!((built.at("/one").uid, built.at("/one").gid), (0, 0));
    // Its content is what counts, and not where it is or what it is called.
    fs::rename(env.path("lib"), env.path("elsewhere")).unwrap();
    let again =
        with(build(&env, &dockerfile.replace("lib ", "other ")), "other", env.path("elsewhere").display());
    again.run().success().says("2 cached");
    env.file("elsewhere/f", "changed");
    let changed = with(build(&env, dockerfile), "lib", env.path("elsewhere").display());
    assert_eq!(image_of(&env, changed).text("/one"), "changed");
}

#[test]
fn a_directory_is_mounted_and_stood_upon() {
    let env = env();
    for (path, text) in [("lib/sub/f", "lib"), ("lib/ignored", "no"), ("lib/.dockerignore", "ignored\n")] {
        env.file(path, text);
    }
    let lib = env.path("lib").display().to_string();
    let dockerfile = format!(
        "{FROM}RUN --mount=from=lib,source=sub,target=/m cat /m/f > /mounted\n\
         RUN --mount=from=lib,target=/m ls -A /m > /names\n\
         RUN --mount=type=cache,from=lib,source=sub,target=/c cat /c/f > /cached\n"
    );
    let built = image_of(&env, with(build(&env, &dockerfile), "lib", &lib));
    assert_eq!((built.text("/mounted"), built.text("/cached")), ("lib", "lib"));
    assert_eq!(built.text("/names"), ".dockerignore\nsub\n");
    // FROM of it is an image with these files.
    let stage = "FROM lib AS files\nLABEL a=b\nFROM files\nCOPY --from=files /sub/f /twice\n";
    let built = image_of(&env, with(build(&env, stage), "lib", &lib));
    assert_eq!((built.text("/sub/f"), built.text("/twice")), ("lib", "lib"));
    assert!(!built.has("/ignored") && built.settings()["Labels"]["a"] == "b");
    assert_eq!(built.settings()["WorkingDir"], "/");
    assert_eq!(built.layers.len(), 2);
    let again = with(build(&env, stage), "lib", &lib).run().success();
    again.says("CACHED").says("0 run");
}

#[test]
fn an_image_is_replaced_by_another_one() {
    let env = env();
    let mine = layout(&env, "mine", ":latest");
    let dockerfile =
        "FROM docker.io/library/alpine AS base\nFROM base\nCOPY --from=alpine:latest /from /copied\n";
    let built = image_of(&env, with(build(&env, dockerfile), "alpine", &mine));
    assert_eq!((built.text("/from"), built.text("/copied")), ("mine", "mine"));
    assert_eq!(built.settings()["Labels"]["who"], "mine");
    // An image of the store, by a name that is spelled otherwise.
    env.orlop(["tag", "built", "local/base:1"]).run().success();
    let other = with(
        build(&env, "FROM debian:12\nCOPY --from=x /from /x\n"),
        "docker.io/library/debian:12",
        "docker-image://local/base:1",
    );
    let built = image_of(&env, with(other, "x", "docker-image://local/base:1"));
    assert_eq!((built.text("/from"), built.text("/x")), ("mine", "mine"));
    // A tag is part of the name, and a platform may be.
    let no = with(build(&env, "FROM alpine:3\n").arg("--pull=never"), "alpine", &mine).run().code(1);
    no.says("Dockerfile:1").says("alpine");
    let wrong = with(build(&env, "FROM alpine\n").arg("--pull=never"), "alpine::linux/s390x", &mine);
    wrong.run().code(1).says("alpine");
    let right =
        with(build(&env, "FROM alpine\n").args(["--platform", "linux/amd64"]), "alpine::linux/amd64", &mine);
    assert_eq!(image_of(&env, right).text("/from"), "mine");
}

#[test]
fn one_of_several_images_of_a_layout() {
    let env = env();
    let dir = env.dir("many");
    let many = layout(&env, "many", "");
    let latest = fs::read_to_string(dir.join("index.json")).unwrap();
    layout(&env, "many", "");
    // A second image in the same directory, under another name.
    let mut other = Image::new().tar(archive(&[Entry::file("from", "other")]), Compression::Gzip);
    other.config["config"]["Labels"]["who"] = "other".into();
    let digest = other.write(&dir);
    let index: serde_json::Value = serde_json::from_str(&latest).unwrap();
    let second: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("index.json")).unwrap()).unwrap();
    let mut both = index.clone();
    let mut named = second["manifests"][0].clone();
    named["annotations"]["org.opencontainers.image.ref.name"] = "other".into();
    both["manifests"].as_array_mut().unwrap().push(named);
    env.file("many/index.json", both.to_string());
    let dockerfile = "FROM base\n";
    for (place, who) in [
        (many.clone(), "many"),
        (format!("{many}:latest"), "many"),
        (format!("{many}:other"), "other"),
        (format!("{many}@{digest}"), "other"),
    ] {
        let built = image_of(&env, with(build(&env, dockerfile), "base", &place));
        assert_eq!(built.text("/from"), who, "{place}");
    }
}

#[test]
fn a_stage_is_replaced_and_not_built() {
    let env = env();
    env.file("lib/f", "lib");
    let mine = layout(&env, "mine", ":latest");
    let dockerfile = format!(
        "{FROM}RUN exit 1\nFROM ${{BASE}} AS Tools\nCOPY --from=0 / /\nRUN exit 1\n\
         FROM scratch\nCOPY --from=tools {{}} /x\n"
    );
    for (place, file) in [(env.path("lib").display().to_string(), "f"), (mine.clone(), "from")] {
        let run = with(build(&env, &dockerfile.replace("{}", file)), "tools", &place).run().success();
        run.never_says("exit 1");
    }
    // Also where it is the target, or something stands on it.
    let built = image_of(&env, with(build(&env, &dockerfile).args(["--target", "tools"]), "tools", &mine));
    assert_eq!((built.text("/from"), built.layers.len()), ("mine", 1));
    let upon = format!("{FROM}RUN exit 1\nFROM ${{BASE}} AS tools\nRUN exit 1\nFROM tools\nLABEL a=b\n");
    assert_eq!(image_of(&env, with(build(&env, &upon), "tools", &mine)).text("/from"), "mine");
    let files = with(build(&env, &upon), "tools", env.path("lib").display());
    assert_eq!(image_of(&env, files).text("/f"), "lib");
}

#[test]
fn a_repository_and_a_file_from_afar() {
    let env = env();
    let git = orlop_fixtures::git::start();
    let app = crate::git::fill(&git);
    app.commit(&[(".dockerignore", Node::File("README\n"))]);
    let server = web::start([("/tool.bin", Page::Bytes(b"a tool".to_vec()))]);
    let dockerfile =
        "FROM scratch\nCOPY --from=src README /\nCOPY --from=src sub /sub\nCOPY --from=tool / /tool\n";
    let build = with(build(&env, dockerfile), "src", git.url("app"));
    let url = server.url_for("someone", "hush", "/tool.bin?key=hush");
    let build = with(build, "tool", &url);
    let built = image_of(&env, build);
    // As with BuildKit: what is not from this machine has no rules, and a file is called `context`.
    assert_eq!((built.text("/README"), built.text("/sub/deep/file")), ("read me\n", "deep\n"));
    assert_eq!(
        (built.text("/tool/context"), built.at("/tool/context").mode.as_deref()),
        ("a tool", Some("0600"))
    );
    assert!(built.at("/tool/context").mtime.starts_with("1420070400."));
    // Nobody asks for what nobody takes.
    let before = server.requests().len();
    let run = with(crate::build(&env, "FROM scratch\nLABEL a=b\n"), "tool", &url).run().success();
    run.never_says("hush").says("nothing is taken from the context `tool`");
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_build_asks_once_what_a_repository_is_today() {
    let server = orlop_fixtures::git::start();
    let _app = crate::git::fill(&server);
    let env = env();
    let url = server.url("app");
    let dockerfile = format!(
        "FROM scratch AS one\nADD {url}#main /one\nFROM scratch AS two\nADD {url}#main /two\n\
         FROM scratch\nCOPY --from=one / /\nCOPY --from=two / /\nCOPY --from=src later /three\n"
    );
    let built = image_of(&env, with(build(&env, &dockerfile), "src", format!("{url}#main")));
    assert_eq!((built.text("/one/later"), built.text("/three")), ("later\n", "later\n"));
    let asked: Vec<_> = server.requests().into_iter().filter(|line| line.starts_with("POST ")).collect();
    // The list of names once, and the commit for each of three.
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[test]
fn names_that_mean_nothing() {
    let env = env();
    env.file("lib/f", "lib");
    let lib = env.path("lib").display().to_string();
    let slip = "FROM scratch\nCOPY --from=helperz /f /f\n";
    let run = with(build(&env, slip).arg("--pull=never"), "helpers", &lib).run().code(1);
    refused(&env, "context-slip", run, &["Dockerfile:2", "did you mean the context `helpers`?"]);
    let gone = with(build(&env, slip), "helpers", "/no/such/dir").run().code(1);
    refused(&env, "context-gone", gone, &["/no/such/dir"]);
    let file = with(build(&env, slip), "helpers", env.path("lib/f").display()).run().code(1);
    refused(&env, "context-file", file, &["not a directory"]);
    for (name, place, says) in [
        ("context-scratch", "scratch=.", "`scratch`"),
        ("context-no-place", "lib", "no place"),
        ("context-bake", "lib=target:x", "bake"),
    ] {
        let run = build(&env, slip).args(["--build-context", place]).run().code(2);
        refused(&env, name, run, &[says]);
    }
    env.file("lib/.dockerignore", "ok\n[a\n");
    let run = with(build(&env, "FROM scratch\nCOPY --from=lib /f /f\n"), "lib", &lib).run().code(1);
    refused(&env, "context-bad-rules", run, &["line 2 of the ignore file", "lib/.dockerignore"]);
}

#[test]
fn a_slip_in_the_name_of_a_context_is_warned_of() {
    let env = env();
    env.file("context/f", "f");
    let lib = env.dir("lib").display().to_string();
    let run =
        with(build(&env, "FROM scratch AS tools\nCOPY f /\nFROM tools\n"), "tolls", &lib).run().success();
    run.says("nothing is taken from the context `tolls`").says("hint: did you mean `tools`?");
}

/// Nothing of a stage is asked for in whose place something else stands.
#[test]
fn what_a_replaced_stage_would_ask_for_needs_no_leave() {
    let env = env();
    env.file("lib/f", "lib");
    let dockerfile = format!(
        "{FROM} AS base\nRUN --security=insecure false\nRUN --device=vendor.example/none,required false\n\
         FROM scratch\nCOPY --from=base f /f\n",
        FROM = FROM.trim_end()
    );
    let on = "FROM base\nCOPY --from=base f /g\n";
    for dockerfile in [dockerfile.clone(), format!("{dockerfile}{on}")] {
        let built = image_of(&env, with(build(&env, &dockerfile), "base", env.path("lib").display()));
        assert_eq!(built.text("/f"), "lib");
        build(&env, &dockerfile).run().code(1).says("security=insecure");
    }
}
