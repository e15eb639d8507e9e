//! What users get wrong: a clear message, the right exit code, and a store that goes on working.

use orlop_fixtures::test_env::{Run, TestEnv};
use orlop_fixtures::tool::{run, tool};

use crate::{FROM, build, env, image, snapshot};

/// Builds what is wrong, compares the message, and then builds something good in the same store.
#[track_caller]
pub(crate) fn refused(name: &str, dockerfile: &str, says: &[&str]) {
    let env = env();
    let run = build(&env, dockerfile).run().code(1);
    check(&env, name, run, says);
}

#[track_caller]
fn check(env: &TestEnv, name: &str, run: Run, says: &[&str]) {
    let run = says.iter().fold(run, |run, text| run.says(text));
    assert_eq!(run.stdout, "", "standard output carries results only");
    snapshot::check(env, name, &run);
    still_works(env);
}

/// Nothing half-made can be seen, and the next build just works.
#[track_caller]
pub(crate) fn still_works(env: &TestEnv) {
    let list = env.orlop(["images"]).run().success().stdout;
    assert!(!list.contains("built"), "a failed build left an image: {list}");
    assert_eq!(env.mounts(), Vec::<std::path::PathBuf>::new(), "left mounted");
    let good = image(env, &format!("{FROM}RUN echo good > /good\n"));
    env.orlop(["rmi", "built"]).run().success();
    assert_eq!(good.text("/good"), "good\n");
}

#[test]
fn an_unknown_instruction() {
    refused("unknown-instruction", &format!("{FROM}RUM echo\n"), &["Dockerfile:3", "RUM", "RUN"]);
}

#[test]
fn an_unknown_flag_of_an_instruction() {
    refused("unknown-instruction-flag", &format!("{FROM}COPY --form=x a /b\n"), &["Dockerfile:3", "--form"]);
}

#[test]
fn an_unknown_flag_of_the_program() {
    let env = env();
    let run = build(&env, FROM).arg("--build-args").run().code(2);
    check(&env, "unknown-flag", run, &["--build-args"]);
}

#[test]
fn a_file_that_is_not_in_the_context() {
    let env = env();
    env.file("context/server.py", "x");
    let run = build(&env, &format!("{FROM}COPY sever.py /app/\n")).run().code(1);
    check(&env, "copy-missing", run, &["Dockerfile:3", "sever.py"]);
}

#[test]
fn a_file_that_the_ignore_list_hides() {
    let env = env();
    env.file("context/secret", "x");
    env.file("context/.dockerignore", "secret\n");
    let run = build(&env, &format!("{FROM}COPY secret /\n")).run().code(1);
    check(&env, "copy-ignored", run, &["secret", ".dockerignore"]);
}

#[test]
fn a_pattern_that_matches_nothing() {
    // As BuildKit: `COPY package.json package-lock.json* ./` is how an optional file is copied.
    let env = env();
    env.file("context/f", "f");
    let built = image(&env, &format!("{FROM}COPY f *.none /x/\nCOPY *.none /y/\n"));
    assert!(built.has("/x/f") && !built.has("/y"), "{:?}", built.new_names());
    refused("copy-no-match", &format!("{FROM}COPY none[ /x/\n"), &["Dockerfile:3", "none["]);
}

#[test]
fn a_step_that_fails() {
    let dockerfile = format!(
        "{FROM}RUN echo working && for i in 1 2 3; do echo line $i; done; echo the reason >&2; exit 42\n"
    );
    refused("run-fails", &dockerfile, &["Dockerfile:3", "the reason", "42"]);
}

#[test]
fn a_step_that_dies_of_a_signal() {
    refused("run-killed", &format!("{FROM}RUN echo before; kill -9 $$\n"), &["Dockerfile:3", "before"]);
}

#[test]
fn a_program_that_is_not_there() {
    refused(
        "run-not-found",
        &format!("{FROM}RUN [\"/no/such/program\"]\n"),
        &["Dockerfile:3", "/no/such/program"],
    );
    refused("run-no-shell", "FROM scratch\nRUN echo\n", &["Dockerfile:2", "/bin/sh"]);
}

#[test]
fn a_user_that_is_not_there() {
    refused("user-unknown", &format!("{FROM}USER ghost\nRUN id\n"), &["ghost"]);
    refused("chown-unknown", &format!("{FROM}COPY --chown=ghost . /x\n"), &["Dockerfile:3", "ghost"]);
}

#[test]
fn a_registry_that_cannot_be_reached() {
    refused("registry-unreachable", "FROM 127.0.0.1:1/base:1\nRUN true\n", &["Dockerfile:1", "127.0.0.1:1"]);
}

#[test]
fn a_name_that_is_no_reference() {
    refused("from-no-reference", "FROM Upper/Case:tag\n", &["Dockerfile:1", "Upper/Case"]);
    refused("from-empty", "ARG NONE\nFROM ${NONE}\n", &["Dockerfile:2", "NONE"]);
    let env = env();
    let run = build(&env, FROM).args(["-t", "no spaces"]).run().code(2);
    check(&env, "tag-no-reference", run, &["no spaces"]);
}

#[test]
fn stages_that_are_not_there() {
    let env = env();
    let text = "ARG BASE\nFROM ${BASE} AS build\nFROM ${BASE}\nCOPY --from=biuld /a /b\n";
    // No registry is asked, so that the answer is the same with and without a network.
    let run = build(&env, text).args(["--pull=never"]).run().code(1);
    check(&env, "stage-unknown", run, &["Dockerfile:4", "biuld", "did you mean the stage `build`?"]);
    let run = build(&env, "ARG BASE\nFROM ${BASE} AS good\n").args(["--target", "goood"]).run().code(1);
    check(&env, "target-unknown", run, &["goood", "good"]);
}

#[test]
fn a_dockerfile_that_says_nothing() {
    refused("dockerfile-empty", "# nothing\n", &["Dockerfile"]);
    refused("dockerfile-without-from", "RUN echo\n", &["Dockerfile:1", "FROM"]);
    refused("heredoc-open", &format!("{FROM}RUN <<EOF\necho\n"), &["Dockerfile:3", "EOF"]);
    refused("instruction-without-arguments", &format!("{FROM}COPY one\n"), &["Dockerfile:3", "COPY"]);
}

#[test]
fn a_dockerfile_or_context_that_is_not_there() {
    let env = env();
    let missing = env.path("missing");
    let run = env.orlop(["build", "-f"]).arg(&missing).arg(env.dir("context")).run().code(1);
    check(&env, "dockerfile-missing", run, &["missing"]);
    let file = env.file("Dockerfile", FROM);
    let run = env.orlop(["build", "-f"]).arg(file).arg(&missing).run().code(1);
    check(&env, "context-missing", run, &["missing"]);
    let run = env.orlop(["build"]).run().code(2);
    check(&env, "context-not-given", run, &[]);
}

#[test]
fn bytes_that_are_no_dockerfile() {
    let env = env();
    let file = env.file("Dockerfile", [&b"FROM scratch\nRUN \0\xff\xfe\n"[..], &[0; 4096]].concat());
    let run = env.orlop(["build", "-f"]).arg(file).arg(env.dir("context")).run().code(1);
    check(&env, "dockerfile-binary", run, &["Dockerfile"]);
}

#[test]
fn a_context_path_that_climbs_out() {
    let env = env();
    env.file("outside", "of the host");
    let context = env.dir("context");
    std::os::unix::fs::symlink("..", context.join("up")).expect("link");
    std::os::unix::fs::symlink(env.path("outside"), context.join("absolute")).expect("link");
    for (name, source) in
        [("copy-dots", "../outside"), ("copy-through-link", "up/outside"), ("copy-absolute-link", "absolute")]
    {
        let run = build(&env, &format!("{FROM}COPY {source} /stolen\n")).run().code(1);
        assert!(!run.stderr.contains("of the host"), "{run}");
        check(&env, name, run, &["Dockerfile:3", source]);
    }
}

#[test]
fn a_full_disk() {
    let env = env();
    let store = env.dir("home/store");
    // Room for the base and little else.
    run(tool("mount").args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"]).arg(&store));
    let failed = build(&env, &format!("{FROM}RUN dd if=/dev/urandom of=/big bs=1M count=60\n")).run().code(1);
    let failed = failed.says("space");
    let message =
        failed.stderr.lines().filter(|l| l.starts_with("error") || l.starts_with("hint")).collect::<Vec<_>>();
    let good = image(&env, &format!("{FROM}RUN echo good > /good\n"));
    let list = env.orlop(["images"]).run().success();
    run(tool("umount").args(["-l"]).arg(&store));
    assert_eq!(good.text("/good"), "good\n");
    assert!(!message.is_empty(), "{failed}");
    assert!(list.stdout.contains("built"), "{list}");
}

#[test]
fn a_full_disk_while_the_base_is_pulled() {
    let env = env();
    let store = env.dir("home/store");
    run(tool("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&store));
    let failed = build(&env, &format!("{FROM}RUN true\n")).run();
    run(tool("mount").args(["-o", "remount,size=80m"]).arg(&store));
    let good = build(&env, &format!("{FROM}RUN echo good > /good\n")).run();
    run(tool("umount").args(["-l"]).arg(&store));
    good.success();
    assert!(matches!(failed.status.code(), Some(1 | 125)), "{failed}");
    failed.says("space");
}

#[test]
fn a_store_that_is_none() {
    let env = env();
    env.file("home/store/format", "orlop store 99\nincompatible: from-the-future\n");
    let run = env.orlop(["images"]).run();
    assert!(matches!(run.status.code(), Some(1 | 125)), "{run}");
    snapshot::check(&env, "store-unknown-format", &run);
    let file = env.file("file", "");
    let run = env.bare(["--root"]).arg(file).args(["images"]).run();
    assert!(matches!(run.status.code(), Some(1 | 125)), "{run}");
    snapshot::check(&env, "store-is-a-file", &run);
}
