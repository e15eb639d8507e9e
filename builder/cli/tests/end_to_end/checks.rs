//! What is said of a Dockerfile: the warnings of rules in a build, `--check` and the other methods of `--call`. What each
//! rule finds is in `builder/src/check/corpus/`.

use orlop_fixtures::test_env::{Invocation, TestEnv};

use crate::{FROM, base_name, build, env};

/// A finding on line 2 and one on line 3.
const TWO: &str = "FROM scratch\nMAINTAINER me\nWORKDIR app\nENV A=1\n";

fn call<'a>(env: &'a TestEnv, dockerfile: &str, args: &[&str]) -> Invocation<'a> {
    let file = env.file("Dockerfile", dockerfile);
    let context = env.dir("context");
    env.orlop(["build", "--progress=plain"]).args(args).arg("-f").arg(file).arg(context)
}

#[track_caller]
fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_build_tells_each_finding_once() {
    let env = env();
    let text =
        format!("# check=skip=InvalidDefaultArgInFrom\n{FROM}MAINTAINER me\nENV KEY value\nRUN true\n");
    let run = build(&env, &text).run().success();
    for line in [
        "Dockerfile:4: MaintainerDeprecated: Maintainer instruction is deprecated",
        "Dockerfile:5: LegacyKeyValueFormat: ",
        "hint: write `ENV KEY=value`",
    ] {
        assert_eq!(run.stderr.matches(line).count(), 1, "{line}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("InvalidDefaultArgInFrom"), "{}", run.stderr);
    let file = env.file("Dockerfile", TWO);
    let quiet = env.orlop(["build", "-q", "-f"]).arg(file).arg(env.dir("context")).run().success();
    assert_eq!(quiet.stderr, "");
    let given =
        build(&env, &text).args(["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all"]).run().success();
    assert!(!given.stderr.contains("warning"), "{}", given.stderr);
}

#[test]
fn events_have_the_rule() {
    let env = env();
    let file = env.file("Dockerfile", TWO);
    let run =
        env.orlop(["build", "--progress=rawjson", "-f"]).arg(file).arg(env.dir("context")).run().success();
    let rules: Vec<_> = run
        .stderr
        .lines()
        .map(json)
        .filter(|event| event["event"] == "warning")
        .map(|event| event["rule"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(rules, ["MaintainerDeprecated", "WorkdirRelativePath"]);
}

#[test]
fn findings_can_be_errors() {
    let env = env();
    let text =
        format!("# check=skip=InvalidDefaultArgInFrom;error=true\n{FROM}MAINTAINER me\nRUN echo ran\n");
    let run = build(&env, &text).run().code(1);
    let run =
        run.says("warning: ").says("MaintainerDeprecated").says("error: lint violation found for rules");
    assert!(!run.stderr.contains("echo ran"), "no step ran: {}", run.stderr);
    assert!(run.stderr.find("warning: ") < run.stderr.find("error: "), "{}", run.stderr);
    build(&env, &text).args(["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=false"]).run().success();
}

#[test]
fn a_name_that_no_rule_has_is_told() {
    let env = env();
    call(&env, &format!("# check=skip=WorkdirRelativPath\n{TWO}"), &[])
        .run()
        .success()
        .says("no check is called `WorkdirRelativPath`")
        .says("`WorkdirRelativePath`");
    call(&env, &format!("# check=skpi=all\n{TWO}"), &[]).run().code(1).says("did you mean `skip`?");
}

#[test]
fn check_prints_what_it_finds_and_touches_nothing() {
    let env = env();
    for flag in ["--check", "--call=check", "--call=lint"] {
        let run = call(&env, TWO, &[flag]).run().code(1);
        assert_eq!(
            run.stdout,
            "\
Check complete, 2 warnings have been found!

WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:2
--------------------
   1 |     FROM scratch
   2 | >>> MAINTAINER me
     |     ^^^^^^^^^^
   3 |     WORKDIR app
   4 |     ENV A=1
--------------------
hint: write `LABEL org.opencontainers.image.authors=\"me\"`

WARNING: WorkdirRelativePath - https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/
Relative workdir \"app\" can have unexpected results if the base image changes
Dockerfile:3
--------------------
   1 |     FROM scratch
   2 |     MAINTAINER me
   3 | >>> WORKDIR app
     |             ^^^
   4 |     ENV A=1
--------------------
hint: write it in full: `/app`
"
            .replace("Dockerfile:", &format!("{}:", env.path("Dockerfile").display()))
        );
        assert_eq!(run.stderr, "");
    }
    assert!(!env.store().exists(), "a store was made");
    let clean = call(&env, "FROM scratch\nENV A=1\n", &["--check"]).run().success();
    assert_eq!((&*clean.stdout, &*clean.stderr), ("Check complete, no warnings found.\n", ""));
    let run = call(&env, TWO, &["--call=check,ignorestatus=true"]).run().success();
    assert!(run.stdout.starts_with("Check complete, 2 warnings"), "{}", run.stdout);
    call(&env, TWO, &["--check=false"]).run().success();
    assert!(env.store().exists());
}

#[test]
fn check_runs_no_step_and_needs_no_registry() {
    let env = env();
    let text = "FROM registry.invalid/nobody AS one\nRUN false\nENV A=$PATH$FROM_BASE B=$typo\nFROM scratch\nCOPY --from=one /a /\n";
    let run = call(&env, text, &["--check"]).run().code(1);
    assert!(run.stdout.contains("Usage of undefined variable '$typo'"), "{}", run.stdout);
    assert!(!run.stdout.contains("FROM_BASE'"), "{}", run.stdout);
    run.says("the image `registry.invalid/nobody` cannot be looked at")
        .says("`$FROM_BASE`")
        .says("hint: with `orlop pull registry.invalid/nobody` it can");
    // A base that is in the store is known.
    let base = "FROM scratch\nENV FROM_BASE=1\n";
    call(&env, base, &["-t", "registry.invalid/nobody"]).run().success();
    let run = call(&env, text, &["--check"]).run().code(1);
    assert!(run.stdout.starts_with("Check complete, 1 warning has been found!"), "{}", run.stdout);
    assert_eq!(run.stderr, "");
}

#[test]
fn check_says_what_brings_a_base_that_it_cannot_look_at() {
    let env = env();
    let text =
        "ARG V=1\nFROM --platform=linux/s390x registry.invalid/x:$V AS one\nFROM one\nLABEL a=$NOTHING\n";
    call(&env, text, &["--check"])
        .run()
        .code(1)
        .says("the image `registry.invalid/x:1` cannot be looked at")
        .says("hint: with `orlop pull registry.invalid/x:1 --platform linux/s390x` it can");
    let run = call(&env, "FROM oci-layout:///nowhere\nLABEL a=$NOTHING\n", &["--check"]).run().success();
    let run = run.says("the image `oci-layout:///nowhere` cannot be looked at");
    assert!(!run.stderr.contains("hint:"), "{}", run.stderr);
}

#[test]
fn check_looks_into_layouts() {
    let env = env();
    let text = format!("FROM {}\nLABEL a=$PATH$NOTHING\n", base_name());
    let run = call(&env, &text, &["--check"]).run().code(1);
    assert!(run.stdout.contains("Usage of undefined variable '$NOTHING'"), "{}", run.stdout);
    assert_eq!(run.stderr, "");
    assert!(!env.store().exists(), "a store was made");
}

#[test]
fn check_knows_named_contexts() {
    let env = env();
    let text = "FROM registry.invalid/x AS base\nENV A=$NOTHING\nFROM base\nENV B=$A\n";
    let context = format!("base={}", env.dir("other").display());
    let run = call(&env, text, &["--check", "--target=1", "--build-context", &context]).run().code(1);
    assert!(run.stdout.contains("undefined variable '$A'"), "{}", run.stdout);
    assert!(!run.stdout.contains("'$NOTHING'") && run.stderr.is_empty(), "{} {}", run.stdout, run.stderr);
}

#[test]
fn check_has_stages_that_nobody_needs_unless_a_target_is_named() {
    let env = env();
    let text = "FROM scratch AS one\nWORKDIR a\nFROM scratch AS two\nWORKDIR /b\n";
    call(&env, text, &["--check"]).run().code(1);
    call(&env, text, &["--check", "--target=two"]).run().success();
    call(&env, text, &["--check", "--target=one"]).run().code(1);
    call(&env, text, &["--check", "--target=tow"]).run().code(1).says("did you mean `two`?");
}

#[test]
fn check_ends_with_the_error_of_a_build() {
    let env = env();
    let run = call(&env, "# check=error=true\nFROM scratch\nWORKDIR a\n", &["--check"]).run().code(1);
    assert!(run.stdout.contains("WARNING: WorkdirRelativePath"), "{}", run.stdout);
    run.says("error: lint violation found for rules: WorkdirRelativePath");
    let run = call(&env, "FROM scratch AS A\nRUM x\n", &["--check"]).run().code(1);
    assert!(run.stdout.contains("WARNING: StageNameCasing"), "{}", run.stdout);
    run.says("Dockerfile:2").says("did you mean `RUN`?");
}

#[test]
fn check_in_json() {
    let env = env();
    let run = call(&env, TWO, &["--call=check,format=json"]).run().code(1);
    let found = json(&run.stdout);
    let first = &found["warnings"][0];
    assert_eq!(first["ruleName"], "MaintainerDeprecated");
    assert_eq!(first["url"], "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/");
    assert!(first["description"].is_string() && first["detail"].is_string());
    let lines = serde_json::json!({ "ranges": [{ "start": { "line": 2 }, "end": { "line": 2 } }] });
    assert_eq!(first["location"], lines);
    assert_eq!(found["sources"][0]["language"], "Dockerfile");
    assert!(found["sources"][0]["data"].as_str().unwrap().starts_with("RlJPTSBz"));
    assert!(found.get("buildError").is_none());
    let run = call(&env, "FROM scratch\nRUM x\n", &["--check", "--call=check,format=json"]).run().code(1);
    let found = json(&run.stdout);
    assert!(found["buildError"]["message"].as_str().unwrap().contains("RUM"), "{found}");
    assert_eq!(found["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
    let clean = json(&call(&env, "FROM scratch\n", &["--call=check,format=json"]).run().success().stdout);
    assert_eq!(clean["warnings"], serde_json::json!([]));
}

const MANY: &str = "\
# VERSION of the base
ARG VERSION=12
# base what all stand on
FROM debian:${VERSION} AS base
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
# end what you get
FROM base AS end
# NAME who is greeted
ARG NAME=world
";

#[test]
fn outlines_and_targets_are_tables() {
    let env = env();
    let run = call(&env, MANY, &["--call=outline", "--build-arg", "NAME=you"]).run().success();
    assert_eq!(
        run.stdout,
        "\
TARGET:      end
DESCRIPTION: what you get

BUILD ARG   VALUE   DESCRIPTION
VERSION     12      of the base
NAME        you     who is greeted

SECRET   REQUIRED
token    true

SSH       REQUIRED
default   \u{20}

"
        .replace("default   \u{20}", "default   ")
    );
    let run = call(&env, MANY, &["--call=targets"]).run().success();
    assert_eq!(
        run.stdout,
        "TARGET        DESCRIPTION\nbase          what all stand on\nend (default) what you get\n"
    );
    let run = call(&env, MANY, &["--call=outline", "--target=nd"]).run().code(1).says("did you mean `end`?");
    assert_eq!(run.stdout, "");
    assert!(!env.store().exists(), "a store was made");
}

#[test]
fn a_dockerfile_that_has_to_be_fetched_is_asked_as_well() {
    let env = env();
    let input = |text: &str| env.file("input", text);
    let ask = |what: &str, text: &str| env.orlop(["build", what, "-"]).input(input(text)).run();
    let run = ask("--call=targets", MANY).success();
    assert_eq!(
        run.stdout,
        "TARGET        DESCRIPTION\nbase          what all stand on\nend (default) what you get\n"
    );
    let run = ask("--check", TWO).code(1);
    assert!(run.stdout.starts_with("Check complete, 2 warnings have been found!"), "{}", run.stdout);
    assert!(ask("--call=outline", MANY).success().stdout.contains("NAME        world"));
    assert_eq!(env.orlop(["images", "-q"]).run().success().stdout, "");
}

#[test]
fn outlines_and_targets_in_json() {
    let env = env();
    let outline = json(&call(&env, MANY, &["--call=outline,format=json"]).run().success().stdout);
    assert_eq!(outline["name"], "end");
    assert_eq!(outline["args"][1]["name"], "NAME");
    assert_eq!(outline["args"][1]["location"]["ranges"][0]["start"]["line"], 9);
    let secret = &outline["secrets"][0];
    assert!(secret["name"] == "token" && secret["required"] == true, "{outline}");
    assert!(outline["ssh"][0].get("required").is_none() && outline["sources"][0].is_string());
    let targets = json(&call(&env, MANY, &["--call=targets,format=json"]).run().success().stdout);
    assert_eq!(targets["targets"][0]["base"], "debian:${VERSION}");
    assert!(targets["targets"][1]["default"] == true && targets["targets"][0].get("default").is_none());
    let methods =
        json(&env.orlop(["build", "--call=subrequests.describe,format=json"]).run().success().stdout);
    assert_eq!(methods[0]["name"], "frontend.outline");
}

#[test]
fn an_unknown_method_is_refused() {
    let env = env();
    call(&env, TWO, &["--call=ouline"]).run().code(2).says("did you mean `outline`?");
    call(&env, TWO, &["--call=check,format=xml"]).run().code(2).says("`json`");
    call(&env, TWO, &["--check", "--call=targets"]).run().code(2).says("exclude each other");
    call(&env, TWO, &["--call=build"]).run().success();
}
