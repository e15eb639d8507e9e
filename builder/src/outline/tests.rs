//! What BuildKit answers for the same files.

use orlop_store::Platform;

use super::*;
use crate::context::NamedContext;
use crate::context::{ContextName, NamedSource};
use crate::source::SourceFile;

const FILE: &str = "\
# VERSION of the base
ARG VERSION=12
# UNUSED nobody
ARG UNUSED=1
ARG FLAVOUR=${VERSION}-slim
# base the base stage
FROM debian:${VERSION} AS base
# NAME who is greeted
ARG NAME=world
ARG VERSION
ARG TARGETARCH
RUN --mount=type=secret,id=token --mount=type=cache,target=/var/cache --mount=type=ssh true

FROM scratch AS other
ARG IN_OTHER=2

# end what you get
FROM base AS end
ARG NOVALUE
RUN --mount=type=secret,id=token,required=true --mount=type=ssh,id=$NAME,required true
";

fn of(
    text: &str,
    target: Option<&str>,
    args: &[(&str, &str)],
) -> Result<(Arc<Dockerfile>, Outline), BuildError> {
    of_contexts(text, target, args, &[])
}

fn of_contexts(
    text: &str,
    target: Option<&str>,
    args: &[(&str, &str)],
    contexts: &[NamedContext],
) -> Result<(Arc<Dockerfile>, Outline), BuildError> {
    let args: Vec<_> = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let file = Arc::new(dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", text)))?);
    let plan = Plan::new(Arc::clone(&file), &args, target, &Platform::host(), contexts)?;
    Ok((file, of_plan(&plan)?))
}

/// Name, value, description and line of each argument; ID, whether it is required and line of each demand.
fn lines((file, outline): &(Arc<Dockerfile>, Outline)) -> Vec<String> {
    let line = |place: Span| file.source.line(place.start);
    let arguments = outline.arguments.iter().map(|arg| {
        let (value, text) = (arg.value.as_deref().unwrap_or("-"), arg.description.as_deref().unwrap_or("-"));
        format!("arg {} {value} {text} {}", arg.name, line(arg.place))
    });
    let demands = [("secret", &outline.secrets), ("ssh", &outline.agents), ("cache", &outline.caches)];
    let demands = demands.iter().flat_map(|(kind, demands)| {
        demands.iter().map(move |d| format!("{kind} {} {} {}", d.id, d.required, line(d.place)))
    });
    arguments.chain(demands).collect()
}

#[test]
fn what_a_target_takes_with_all_below_it() {
    let found = of(FILE, None, &[]).unwrap();
    assert_eq!(
        (found.1.name.as_deref(), found.1.description.as_deref()),
        (Some("end"), Some("what you get"))
    );
    assert_eq!(
        lines(&found),
        [
            "arg VERSION 12 of the base 2",
            "arg NAME world who is greeted 9",
            "arg NOVALUE - - 19",
            "secret token true 20",
            "ssh default false 12",
            "ssh world true 20",
            "cache /var/cache false 12",
        ]
    );
}

#[test]
fn the_values_of_this_build() {
    let found = of(FILE, Some("base"), &[("NAME", "you"), ("VERSION", "13"), ("NOVALUE", "x")]).unwrap();
    assert_eq!(
        lines(&found),
        [
            "arg VERSION 13 of the base 2",
            "arg NAME you who is greeted 9",
            "secret token false 12",
            "ssh default false 12",
            "cache /var/cache false 12",
        ]
    );
    assert_eq!(lines(&of(FILE, Some("other"), &[]).unwrap()), ["arg IN_OTHER 2 - 15"]);
}

#[test]
fn a_global_argument_counts_where_it_is_used() {
    let text = "ARG A=1\nARG B=${A}-x\nARG C=3\nFROM debian:$B\nARG C=4\nARG D=$C\n";
    assert_eq!(
        lines(&of(text, None, &[]).unwrap()),
        ["arg A 1 - 1", "arg B 1-x - 2", "arg C 4 - 5", "arg D 4 - 6"]
    );
    assert_eq!(lines(&of(text, None, &[("B", "y")]).unwrap())[0], "arg B y - 2");
    // Of two of a name the last; and one that a stage has set is the global one again where that is taken.
    let text = "ARG A=1\nARG A=$A\nFROM debian:$A AS a\nARG A=5\nFROM a\nARG A\n";
    assert_eq!(lines(&of(text, None, &[]).unwrap()), ["arg A 1 - 2"]);
}

#[test]
fn a_global_argument_is_looked_through_once() {
    let mut text = "ARG A0=1\n".to_owned();
    text.extend((1..1000).map(|at| format!("ARG A{at}=$A{}\n", at - 1)));
    text.push_str("FROM scratch\n");
    text.extend((0..1000).map(|_| "ARG A999\n"));
    assert_eq!(lines(&of(&text, None, &[]).unwrap()).len(), 1000);
}

#[test]
fn what_is_wrong_is_an_error_at_its_place() {
    let error = of("FROM scratch\nARG A=${B:?gone}\n", None, &[]).unwrap_err();
    assert_eq!(error.place.map(|place| place.file.line(place.span.start)), Some(2));
    let error = of("FROM scratch\nRUN --mount=type=secret,id=${B:?gone} x\n", None, &[]).unwrap_err();
    assert!(
        std::error::Error::source(&error).is_some_and(|cause| cause.to_string() == "`B`: gone"),
        "{error}"
    );
    assert_eq!(error.hint.as_deref(), Some("give it a value: `--build-arg B=…`"));
    assert!(of("FROM scratch\n", Some("x"), &[]).is_err() && of("RUN x\n", None, &[]).is_err());
}

#[test]
fn of_a_stage_that_a_context_stands_in_for_nothing_is_taken() {
    let context = NamedContext {
        name: ContextName::parse("base").unwrap(),
        source: NamedSource::Url("https://example.com/x.tar".to_owned()),
    };
    assert_eq!(
        lines(&of_contexts(FILE, None, &[], &[context]).unwrap()),
        ["arg NOVALUE - - 19", "secret token true 20", "ssh default true 20"]
    );
}

#[test]
fn many_stages_on_a_large_one_are_few_bytes() {
    let mut text = "FROM scratch AS s\n".to_owned();
    text.extend((0..5000).map(|at| format!("ENV d{at}=1\n")));
    text.extend((0..300).map(|at| format!("FROM s AS s{at}\nRUN true\n")));
    text.push_str("FROM scratch\nENV x=1\n");
    text.extend((0..300).map(|at| format!("COPY --from=s{at} a b\n")));
    assert_eq!(lines(&of(&text, None, &[]).unwrap()), [""; 0]);
    let error = of(&text.replace("RUN true", "ARG d0=2"), None, &[]).unwrap_err();
    assert!(error.message.contains("too much work") && error.place.is_some(), "{error}");
}

#[test]
fn the_stages_of_a_file() {
    let file = dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", FILE))).unwrap();
    let found: Vec<_> = targets(&file)
        .into_iter()
        .map(|t| (t.name.unwrap(), t.description.unwrap_or_default(), t.base, t.default))
        .collect();
    let row =
        |name: &str, text: &str, base: &str, last| (name.to_owned(), text.to_owned(), base.to_owned(), last);
    assert_eq!(
        found,
        [
            row("base", "the base stage", "debian:${VERSION}", false),
            row("other", "", "scratch", false),
            row("end", "what you get", "base", true),
        ]
    );
}
