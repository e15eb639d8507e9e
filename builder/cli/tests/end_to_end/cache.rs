//! What a build does not do again.

use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::tool::{run, tool};

use crate::{FROM, build, env, image, image_of};

/// A step whose result tells whether it ran again: no two runs of it are the same.
const ONCE: &str = "RUN cat /proc/sys/kernel/random/uuid";

fn touch(env: &TestEnv, name: &str, content: &str, time: &str) {
    let path = env.file(name, content);
    run(tool("touch").args(["-d", time]).arg(path));
}

#[test]
fn the_same_build_runs_nothing_again() {
    let env = env();
    let dockerfile = format!("{FROM}{ONCE} > /a\nCOPY f /f\n{ONCE} > /b\n");
    touch(&env, "context/f", "f", "@1500000000");
    let first = image(&env, &dockerfile);
    touch(&env, "context/f", "f", "@1600000000");
    let second = image(&env, &dockerfile);
    for path in ["/a", "/b"] {
        assert_eq!(first.text(path), second.text(path), "{path}");
    }
    let third = image_of(&env, build(&env, &dockerfile).arg("--no-cache"));
    assert_ne!(first.text("/a"), third.text("/a"));
    assert_ne!(first.text("/b"), third.text("/b"));
}

#[test]
fn a_changed_file_runs_only_what_comes_after() {
    let env = env();
    let dockerfile = format!("{FROM}{ONCE} > /before\nCOPY f /f\n{ONCE} > /after\n");
    touch(&env, "context/f", "one", "@1500000000");
    touch(&env, "context/other", "one", "@1500000000");
    let first = image(&env, &dockerfile);
    touch(&env, "context/other", "two", "@1500000000");
    let other = image(&env, &dockerfile);
    assert_eq!(first.text("/after"), other.text("/after"), "a file that is not copied has no part in it");
    // Same size, same time: only the content tells.
    touch(&env, "context/f", "two", "@1500000000");
    let second = image(&env, &dockerfile);
    assert_eq!(second.text("/f"), "two");
    assert_eq!(first.text("/before"), second.text("/before"));
    assert_ne!(first.text("/after"), second.text("/after"));
    touch(&env, "context/f", "one", "@1500000000");
    let third = image(&env, &dockerfile);
    assert_eq!(first.text("/after"), third.text("/after"), "the first result is still there");
}

#[test]
fn a_changed_mode_counts_as_a_change() {
    let env = env();
    let dockerfile = format!("{FROM}COPY f /f\n{ONCE} > /id\n");
    let path = env.file("context/f", "f");
    let first = image(&env, &dockerfile);
    run(tool("chmod").arg("0755").arg(path));
    let second = image(&env, &dockerfile);
    assert_eq!(second.at("/f").mode.as_deref(), Some("0755"));
    assert_ne!(first.text("/id"), second.text("/id"));
}

#[test]
fn a_result_that_turns_out_the_same_keeps_what_comes_after() {
    let env = env();
    let dockerfile = format!(
        "{FROM}RUN --mount=type=bind,source=src,target=/src grep -v '^#' /src > /compiled\n{ONCE} > /id\n"
    );
    env.file("context/src", "# comment\ncode\n");
    let first = image(&env, &dockerfile);
    env.file("context/src", "# another comment\ncode\n");
    let second = image(&env, &dockerfile);
    assert_eq!(first.text("/id"), second.text("/id"));
    env.file("context/src", "# another comment\nother code\n");
    let third = image(&env, &dockerfile);
    assert_eq!(third.text("/compiled"), "other code\n");
    assert_ne!(first.text("/id"), third.text("/id"));
}

#[test]
fn early_cutoff_works_across_stages() {
    let env = env();
    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS build\nCOPY src /src\nRUN mkdir /out && grep -v '^#' /src > /out/program\n\
         FROM ${{BASE}}\nCOPY --from=build /out/ /\n{ONCE} > /id\n"
    );
    env.file("context/src", "# comment\ncode\n");
    let first = image(&env, &dockerfile);
    env.file("context/src", "# changed\ncode\n");
    let second = image(&env, &dockerfile);
    assert_eq!(first.text("/id"), second.text("/id"));
}

#[test]
fn of_a_stage_only_the_mounted_files_count() {
    let env = env();
    let dockerfile = format!(
        "{FROM} AS made\nCOPY used other /\n{FROM}RUN --mount=from=made,source=/used,target=/in cp /in /out\n\
         {ONCE} > /id\n"
    )
    .replace("\n AS", " AS");
    env.file("context/used", "one");
    env.file("context/other", "one");
    let first = image(&env, &dockerfile);
    env.file("context/other", "two");
    let second = image(&env, &dockerfile);
    assert_eq!(first.text("/id"), second.text("/id"));
    env.file("context/used", "two");
    let third = image(&env, &dockerfile);
    assert_eq!(third.text("/out"), "two");
    assert_ne!(first.text("/id"), third.text("/id"));
}

#[test]
fn steps_are_kept_when_a_later_one_fails() {
    let env = env();
    let steps = format!("{FROM}{ONCE} > /id\n");
    build(&env, &format!("{steps}RUN exit 3\n")).run().code(1);
    let first = image(&env, &steps);
    build(&env, &format!("{steps}RUN cat /id && exit 4\n")).run().code(1).says(first.text("/id").trim_end());
    let second = image(&env, &format!("{steps}RUN echo fixed > /fixed\n"));
    assert_eq!(first.text("/id"), second.text("/id"));
}

#[test]
fn arguments_count_from_where_they_are_declared() {
    let env = env();
    let dockerfile = format!("{FROM}{ONCE} > /before\nARG VERSION\n{ONCE} > /after\n");
    let with = |version: &str| {
        image_of(&env, build(&env, &dockerfile).args(["--build-arg", &format!("VERSION={version}")]))
    };
    let (one, two, again) = (with("1"), with("2"), with("1"));
    assert_eq!(one.text("/before"), two.text("/before"));
    assert_ne!(one.text("/after"), two.text("/after"));
    assert_eq!(one.text("/after"), again.text("/after"));
}

#[test]
fn a_proxy_counts_only_where_it_is_declared() {
    let env = env();
    let with = |dockerfile: &str, proxy: &str| {
        image_of(&env, build(&env, dockerfile).args(["--build-arg", &format!("http_proxy={proxy}")]))
    };
    // Every RUN gets it, in both spellings, and no result depends on it.
    let given = format!("{FROM}RUN echo $http_proxy $HTTP_PROXY > /given\n{ONCE} > /id\n");
    let (one, two) = (with(&given, "a"), with(&given, "b"));
    assert_eq!(one.text("/given"), "a a\n");
    assert_eq!(one.text("/id"), two.text("/id"));
    let declared = format!("{FROM}ARG http_proxy\n{ONCE} > /id\n");
    assert_ne!(with(&declared, "a").text("/id"), with(&declared, "b").text("/id"));
}

#[test]
fn an_argument_counts_by_the_value_that_it_has_in_the_end() {
    let env = env();
    let id = |lines: &str, args: &[&str]| {
        let args: Vec<_> = args.iter().flat_map(|arg| ["--build-arg", arg]).collect();
        image_of(&env, build(&env, &format!("{FROM}{lines}{ONCE} > /id\n")).args(args)).text("/id").to_owned()
    };
    // A default, and the same value given.
    assert_eq!(id("ARG V=1\n", &[]), id("ARG V=1\n", &["V=1"]));
    assert_ne!(id("ARG V=1\n", &[]), id("ARG V=1\n", &["V=2"]));
    // An ENV after it covers it; one that no line declares is nobody's.
    assert_eq!(id("ARG V\nENV V=x\n", &["V=1"]), id("ARG V\nENV V=x\n", &["V=2"]));
    assert_eq!(id("LABEL a=b\n", &["V=1"]), id("LABEL a=b\n", &["V=2"]));
    // An ENV made of it carries it on.
    assert_ne!(id("ARG V\nENV W=$V\nARG V=\n", &["V=1"]), id("ARG V\nENV W=$V\nARG V=\n", &["V=2"]));
}

#[test]
fn an_argument_that_no_stage_declares_is_pointed_out() {
    let env = env();
    let run = build(&env, FROM).args(["--build-arg", "TYPO=1"]).run().success().says("TYPO");
    crate::snapshot::check(&env, "argument-not-declared", &run);
}

#[test]
fn another_base_is_another_result() {
    let env = env();
    let dockerfile = format!("{FROM}{ONCE} > /id\n");
    let first = image(&env, &dockerfile);
    let other = env.dir("other");
    let layers = orlop_fixtures::layout::layers(crate::base());
    let entry = orlop_fixtures::tarball::Entry::file("new", "new");
    orlop_fixtures::layout::Image::new()
        .tar(layers[0].clone(), orlop_fixtures::layout::Compression::Gzip)
        .layer(&[entry])
        .write(&other);
    let second = image_of(&env, crate::build_over(&env, &dockerfile, &crate::layout_name(&other)));
    assert_ne!(first.text("/id"), second.text("/id"));
    assert_eq!(second.text("/new"), "new");
}

#[test]
fn a_cache_mount_keeps_its_content_and_stays_out_of_the_image() {
    let env = env();
    let dockerfile = |n: u32| {
        format!(
            "{FROM}RUN --mount=type=cache,target=/cache echo {n} >> /cache/log && cat /cache/log > /log\n"
        )
    };
    image(&env, &dockerfile(1));
    let second = image(&env, &dockerfile(2));
    assert_eq!(second.text("/log"), "1\n2\n");
    assert!(!second.has("/cache"));
}

#[test]
fn a_changed_secret_does_not_run_a_step_again() {
    let env = env();
    let dockerfile = format!(
        "{FROM}RUN --mount=type=secret,id=s cat /run/secrets/s > /dev/null; cat /proc/sys/kernel/random/uuid > /id\n"
    );
    let with = |value: &str| {
        let file = env.file("secret", value);
        image_of(&env, build(&env, &dockerfile).arg("--secret").arg(format!("id=s,src={}", file.display())))
    };
    assert_eq!(with("one").text("/id"), with("two").text("/id"));
}

#[test]
fn two_builds_at_once_share_a_store() {
    let env = env();
    let context = env.dir("context");
    let start = |n: usize| {
        let file = env.file(&format!("Dockerfile.{n}"), format!("{FROM}RUN echo {n} > /n; sleep 0.3\n"));
        env.orlop(["build", "--progress=plain", "-t", &format!("image-{n}"), "--build-arg"])
            .arg(format!("BASE={}", crate::base_name()))
            .arg("-f")
            .arg(file)
            .arg(&context)
            .start()
    };
    let running: Vec<_> = (0..4).map(start).collect();
    for one in running {
        one.wait().success();
    }
    for n in 0..4 {
        let run = env.orlop(["run", "--rm", &format!("image-{n}"), "cat", "/n"]).run().success();
        assert_eq!(run.stdout, format!("{n}\n"));
    }
}

#[test]
fn every_step_of_a_long_stage_is_known() {
    let env = env();
    env.file("context/f", "content");
    let steps: String = (0..120).map(|n| format!("COPY f /{n}\n")).collect();
    let dockerfile = format!("{FROM}{steps}");
    let run = build(&env, &dockerfile).run().success();
    assert!(run.stderr.contains("120 steps, 0 cached"), "{run}");
    let run = build(&env, &dockerfile).run().success();
    assert!(run.stderr.contains("120 steps, 120 cached"), "{run}");
}
