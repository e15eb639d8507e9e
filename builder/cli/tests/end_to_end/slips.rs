//! Slips of the language that are told by what was meant, and values that would grow without end.

use crate::bad_input::{refused, still_works};
use crate::{FROM, build, env};

#[test]
fn a_command_without_its_run() {
    let text = format!("{FROM}RUN apt-get update\n    apt-get install -y curl\n");
    refused("command-without-run", &text, &["Dockerfile:4", "`apt-get`", "line 3 ends with"]);
}

#[test]
fn a_stage_that_comes_later() {
    let env = env();
    let text = "ARG BASE\nFROM later AS first\nRUN true\nFROM ${BASE} AS later\nFROM first\n";
    let run = build(&env, text).args(["--pull=never"]).run().code(1);
    run.says("Dockerfile:2").says("the stage `later` is defined on line 4");
    still_works(&env);
}

#[test]
fn a_build_argument_with_a_slip_in_its_name() {
    let env = env();
    let run =
        build(&env, &format!("{FROM}ARG VERSION=1\nRUN true\n")).args(["--build-arg", "VERSOIN=2"]).run();
    let run = run.success().says("no ARG takes the build argument `VERSOIN`").says("did you mean `VERSION`?");
    assert!(!run.stderr.contains("`BASE`"), "{run}");
    // A build that fails says it as well: it may be why.
    let text = format!("{FROM}ARG VERSION\nRUN test -n \"$VERSION\"\n");
    let run = build(&env, &text).args(["--build-arg", "VERSOIN=2"]).run().code(1);
    run.says("did you mean `VERSION`?");
}

#[test]
fn a_variable_that_doubles_itself() {
    let doubling = "ENV a=$a$a\n".repeat(60);
    refused(
        "env-doubles",
        &format!("{FROM}ENV a=12345678\n{doubling}"),
        &["Dockerfile:18", "131072", "itself"],
    );
    let many = (0..10_001).map(|n| format!(" v{n}=x")).collect::<String>();
    let env = env();
    let run = build(&env, &format!("{FROM}ENV{many}\n")).run().code(1);
    run.says("Dockerfile:3").says("10000 variables");
    let text = format!("{FROM}ENV a={}\nLABEL{}\n", "x".repeat(100_000), " l=$a$a$a$a$a$a".repeat(8));
    let labels: String = (0..16).map(|n| format!("LABEL l{n}=$a$a$a$a$a$a\n")).collect();
    let run = build(&env, &format!("{text}{labels}")).run().code(1);
    run.says("the image's config would be larger than the 8388608 bytes");
    // Nor do many stages that each take a copy of it.
    let labels: String = (0..5).map(|n| format!("LABEL l{n}=$a$a$a$a$a$a\n")).collect();
    let stages: String = (1..15).map(|n| format!("FROM s{} AS s{n}\nENV n={n}\n", n - 1)).collect();
    let first = format!("{} AS s0\nENV a={}\n{labels}", FROM.trim_end(), "x".repeat(100_000));
    let run = build(&env, &format!("{first}{stages}")).run().code(1);
    run.says("would have configs of more than 67108864 bytes together");
    still_works(&env);
}

#[test]
fn a_number_that_is_no_stage() {
    refused("stage-number", &format!("{FROM}COPY --from=7 /a /b\n"), &["Dockerfile:3", "no stage number 7"]);
}

#[test]
fn substitutions_that_never_end() {
    let deep = format!("{FROM}ENV a={}\n", "${a:-".repeat(100_000));
    refused("expansion-too-deep", &deep, &["Dockerfile:3", "nested more than 100 deep"]);
    let env = env();
    let run =
        build(&env, &format!("{FROM}ENV a={}\nENV b=${{a//{}/x}}\n", "a".repeat(100_000), "*b".repeat(5000)));
    run.run().code(1).says("takes too much work");
    still_works(&env);
}
