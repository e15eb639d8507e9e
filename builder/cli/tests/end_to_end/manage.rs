//! What is done with images that are there: list, name, look at, remove, run.

use serde_json::Value;

use crate::{FROM, build, env, snapshot};

#[test]
fn images_tag_and_rmi() {
    let env = env();
    assert_eq!(env.orlop(["images", "--quiet"]).run().success().stdout, "");
    let id = build(&env, &format!("{FROM}RUN echo x > /x\n")).run().success().stdout;
    env.orlop(["tag", "built", "example.org/team/app:v2"]).run().success();
    let list = env.orlop(["images"]).run().success().stdout;
    assert!(list.contains("example.org/team/app") && list.contains("v2"), "{list}");
    assert_eq!(
        env.orlop(["images", "--quiet"]).run().success().stdout.lines().count(),
        1,
        "one image, two names"
    );
    env.orlop(["rmi", "built"]).run().success();
    env.orlop(["run", "--rm", "example.org/team/app:v2", "cat", "/x"]).run().success();
    env.orlop(["run", "--rm", id.trim_end(), "cat", "/x"]).run().success();
    env.orlop(["rmi", "example.org/team/app:v2"]).run().success();
    assert_eq!(env.orlop(["images", "--quiet"]).run().success().stdout, "");
    let run = env.orlop(["rmi", "built"]).run().code(1);
    snapshot::check(&env, "rmi-no-such-image", &run);
    let run = env.orlop(["tag", "built", "x"]).run().code(1);
    snapshot::check(&env, "tag-no-such-image", &run);
}

#[test]
fn inspect_and_history() {
    let env = env();
    let id = build(&env, &format!("{FROM}ENV A=1\nRUN echo x > /x\nLABEL l=1\n")).run().success().stdout;
    let shown = env.orlop(["inspect", "built"]).run().success().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
    let text = shown.to_string();
    assert!(text.contains(id.trim_end()) && text.contains("A=1") && text.contains("RootFS"), "{text}");
    let history = env.orlop(["history", "built"]).run().success().stdout;
    let env_line = history.lines().position(|l| l.contains("ENV A=1"));
    let run_line = history.lines().position(|l| l.contains("echo x > /x"));
    assert!(env_line > run_line && run_line.is_some(), "newest first: {history}");
}

#[test]
fn run_gives_code_streams_and_environment() {
    let env = env();
    build(&env, &format!("{FROM}ENV WHO=image\nWORKDIR /home/worker\nUSER worker\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"echo default\"]\n"))
        .run()
        .success();
    assert_eq!(env.orlop(["run", "--rm", "built"]).run().success().stdout, "default\n");
    let run = env
        .orlop(["run", "--rm", "-e", "WHO=me", "built", "echo $WHO $(id -un) $PWD; echo err >&2; exit 7"])
        .run()
        .code(7);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("me worker /home/worker\n", "err\n"));
    let input = env.file("input", "line\n");
    let run = env.orlop(["run", "--rm", "-i", "built", "cat"]).input(input).run().success();
    assert_eq!(run.stdout, "line\n");
    let run = env.orlop(["run", "--rm", "built", "kill -9 $$"]).run();
    assert_eq!(run.status.code(), Some(137), "{run}");
}

#[test]
fn run_with_a_volume_and_another_entrypoint() {
    let env = env();
    build(&env, FROM).run().success();
    let shared = env.dir("shared");
    env.file("shared/in", "in\n");
    let volume = format!("{}:/shared", shared.display());
    let run = env.orlop([
        "run",
        "--rm",
        "-v",
        &volume,
        "built",
        "sh",
        "-c",
        "cat /shared/in; echo out > /shared/out",
    ]);
    assert_eq!(run.run().success().stdout, "in\n");
    assert_eq!(std::fs::read_to_string(shared.join("out")).expect("written"), "out\n");
    let read_only = format!("{}:/shared:ro", shared.display());
    env.orlop(["run", "--rm", "-v", &read_only, "built", "touch", "/shared/no"]).run().code(1);
    assert!(!shared.join("no").exists());
}

#[test]
fn what_run_changes_is_gone_with_it() {
    let env = env();
    build(&env, FROM).run().success();
    env.orlop(["run", "--rm", "built", "sh", "-c", "rm /bin/vi; echo x > /new"]).run().success();
    env.orlop(["run", "--rm", "built", "sh", "-c", "test -e /bin/vi && ! test -e /new"]).run().success();
    assert_eq!(env.mounts(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn run_of_a_program_that_is_not_there() {
    let env = env();
    build(&env, FROM).run().success();
    let run = env.orlop(["run", "--rm", "built", "no-such-program"]).run().code(127);
    snapshot::check(&env, "run-no-such-program", &run);
    let run = env.orlop(["run", "--rm", "built", "/etc/passwd"]).run().code(126);
    snapshot::check(&env, "run-not-executable", &run);
    let run = env.orlop(["run", "--rm", "127.0.0.1:1/no/image:1"]).run();
    assert!(matches!(run.status.code(), Some(1 | 125)), "{run}");
}

#[test]
fn help_and_version() {
    let env = env();
    let help = env.bare(["--help"]).run().success().stdout;
    for command in
        ["build", "images", "tag", "rmi", "inspect", "history", "pull", "push", "load", "save", "run"]
    {
        assert!(help.contains(command), "`{command}` is missing: {help}");
    }
    assert!(env.bare(["--version"]).run().success().stdout.starts_with("orlop "));
    let help = env.bare(["build", "--help"]).run().success().stdout;
    for flag in [
        "--build-arg",
        "--target",
        "--no-cache",
        "--secret",
        "--platform",
        "--output",
        "--iidfile",
        "--progress",
    ] {
        assert!(help.contains(flag), "`{flag}` is missing: {help}");
    }
    let run = env.orlop(["frobnicate"]).run().code(2);
    snapshot::check(&env, "usage-unknown-command", &run);
}
