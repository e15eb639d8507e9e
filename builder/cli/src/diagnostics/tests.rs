use std::sync::Arc;

use orlop_builder::source::{SourceFile, Span};

use super::*;

fn dockerfile(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile::new("Dockerfile", text))
}

#[test]
fn a_failed_step_shows_its_output_its_place_and_what_to_do() {
    let file = dockerfile("FROM debian\nWORKDIR /src\nRUN make\nCMD x\n");
    let start = file.text().find("RUN").unwrap();
    let mut error = BuildError::user("process `/bin/sh -c make` exited with code 3")
        .at(&file, Span::new(start, start + 8))
        .with_hint("look at the output".to_owned());
    let tail = b"cc -c x.c\nx.c:1: \x1b[31merror\x1b[0m\n".to_vec();
    error.step = Some(Box::new(orlop_builder::FailedStep { tail, usage: Default::default() }));
    let failure = Failure::from(error);
    assert_eq!(failure.code(), 1);
    let expected = "\
last output of the step:
  | cc -c x.c
  | x.c:1: error
error: process `/bin/sh -c make` exited with code 3
Dockerfile:3
--------------------
   1 |     FROM debian
   2 |     WORKDIR /src
   3 | >>> RUN make
   4 |     CMD x
--------------------
hint: look at the output
";
    let shown: String = failure.render(false).lines().map(|l| format!("{}\n", l.trim_end())).collect();
    assert_eq!(shown, expected);
}

#[test]
fn spans_at_the_edges_do_not_panic() {
    for text in ["", "F", "FROM a", "FROM é\r\n", "RUN a \\\n b \\\n c\n"] {
        let file = dockerfile(text);
        for start in 0..=text.len() + 2 {
            for end in start..=text.len() + 2 {
                let failure = Failure::from(BuildError::user("x").at(&file, Span::new(start, end)));
                assert!(failure.render(false).contains("error: x"));
                failure.render(true);
            }
        }
    }
}

#[test]
fn a_long_instruction_is_not_marked_to_its_end() {
    let text = format!("FROM a\nRUN a{}\nCMD x\n", " \\\n  b".repeat(100));
    let file = dockerfile(&text);
    let failure = Failure::from(BuildError::user("x").at(&file, Span::new(7, text.len() - 7)));
    assert!(failure.render(false).lines().count() < 20, "{}", failure.render(false));
}

#[test]
fn causes_come_in_order_and_only_once() {
    let inner = io::Error::other("the disk is tired");
    let error = orlop_store::Error::io("write", "/x")(inner);
    let failure = Failure::from(error);
    assert_eq!(failure.code(), 125);
    assert_eq!(failure.render(false), "error: cannot write `/x`\nCaused by: the disk is tired\n");
    let wrapped = Failure::from(BuildError::user("the build failed").because(io::Error::other("inside")));
    assert_eq!(wrapped.render(false), "error: the build failed\nCaused by: inside\n");
}

#[test]
fn what_a_host_lacks_is_one_cause_each() {
    let line =
        |name: &str| orlop_runner::Confinement::lesser(name, "all", "none", format!("{name} is too new"));
    let missing = orlop_runner::Missing(vec![line("step-sid"), line("registry")]);
    let isolation = orlop_runner::Isolation::default();
    let error = orlop_runner::RunError::Unconfined { missing, isolation };
    let said = "\
error: this host cannot confine the job as asked for
Caused by: step-sid: none (asked for: all), because step-sid is too new
Caused by: registry: none (asked for: all), because registry is too new
hint: accept less with `--isolation=job,allow=registry,allow=step-sid`
";
    let failure = Failure::from(error);
    assert_eq!((failure.code(), failure.render(false).as_str()), (1, said));
}

#[test]
fn each_kind_has_its_code() {
    assert_eq!(Failure::usage("x").code(), 2);
    assert_eq!(Failure::from(BuildError::interrupted()).code(), 130);
    assert_eq!(Failure::from(BuildError::internal("x")).code(), 125);
    assert_eq!((Failure::exit(42).code(), Failure::exit(42).render(false)), (42, String::new()));
    let missing = orlop_store::Error::NotFound { what: "image", name: "x".into() };
    assert_eq!(Failure::from(missing).code(), 1);
    assert_eq!(Failure::from(orlop_runner::RunError::Cancelled).code(), 130);
}

#[test]
fn a_broken_pipe_is_quiet() {
    let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
    assert_eq!(Failure::stdout(&pipe()).render(true), "");
    let error = orlop_store::Error::stream("the archive")(pipe());
    assert_eq!(Failure::from(error).render(false), "");
}

#[test]
fn nothing_in_a_message_moves_the_cursor() {
    let failure = Failure::user("bad \x1b]0;title\x07name\x1b[2J").with_hint("say\x08 so".to_owned());
    assert_eq!(failure.render(false), "error: bad name\nhint: say so\n");
}
