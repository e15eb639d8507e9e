//! `orlop info`: what this machine offers to builds, and what it would take where it is less than it could be.

use clap::Args;
use orlop_runner::{Confinement, Runner};
use orlop_store::Store;
use serde::Serialize;

use super::images::ListFormat;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::system::{HostRunner, machine, places};
use crate::table;

/// Show what this machine offers, found out by trying, and what is missing
#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: ListFormat,

    /// Run each confinement's check as a step on this machine, and show a table that can be sent to us [Windows]
    #[arg(long)]
    self_test: bool,
}

/// One thing that the machine has, or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fact {
    /// What, in a word or two.
    pub(crate) what: &'static str,
    /// How it is.
    pub(crate) value: String,
    /// What it would take to have more.
    pub(crate) hint: Option<String>,
}

impl Fact {
    pub(crate) fn new(what: &'static str, value: impl Into<String>) -> Self {
        Self { what, value: value.into(), hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    facts: &'a [Fact],
    findings: &'a [Confinement],
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &InfoArgs) -> Result<(), Failure> {
    if args.self_test {
        return machine::self_test(app, args.format == ListFormat::Json);
    }
    let mut facts =
        vec![Fact::new("orlop", env!("CARGO_PKG_VERSION")), Fact::new("system", machine::system())];
    facts.push(machine::user(&app.host));
    facts.extend(machine::view());
    facts.extend(store_facts(&app.store()?)?);
    let findings = HostRunner::new().probe().findings;
    if args.format == ListFormat::Json {
        let document = Document { version: env!("CARGO_PKG_VERSION"), facts: &facts, findings: &findings };
        let text = serde_json::to_string_pretty(&document).expect("text and lists are JSON");
        return table::lines([text]);
    }
    table::lines(lines(&facts, &findings))
}

fn store_facts(store: &Store) -> Result<Vec<Fact>, Failure> {
    let snapshots = store.snapshots()?;
    let driver = Fact::new("snapshots", snapshots.name());
    let driver = match store.driver_note() {
        Some(note) => driver.with_hint(note),
        None => driver,
    };
    let layers = machine::layers(store);
    let root = Fact::new("store", places::shown(store.root()));
    Ok([root, machine::volume(store.root()), driver].into_iter().chain(layers).collect())
}

/// For people: each with what it would take below it.
fn lines(facts: &[Fact], findings: &[Confinement]) -> Vec<String> {
    let names =
        facts.iter().map(|fact| fact.what).chain(findings.iter().map(|finding| finding.what.as_str()));
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = Vec::new();
    let mut line = |what: &str, value: &str| out.push(format!("{what:width$}  {value}"));
    for fact in facts {
        line(fact.what, &fact.value);
        fact.hint.iter().for_each(|hint| line("", &format!("hint: {hint}")));
    }
    line("", "");
    for finding in findings {
        match &finding.why {
            None => line(&finding.what, &finding.got),
            Some(why) => {
                line(&finding.what, &format!("{} (asked for: {})", finding.got, finding.asked));
                line("", &format!("because {why}"));
            }
        }
    }
    out.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_it_would_take() {
        let facts = [Fact::new("clone", "no").with_hint("put the store on another volume")];
        let findings = [
            Confinement::full("job", "a job object"),
            Confinement::lesser("filters", "all", "none", "not here"),
        ];
        let shown = lines(&facts, &findings);
        assert_eq!(
            shown,
            [
                "clone    no",
                "         hint: put the store on another volume",
                "",
                "job      a job object",
                "filters  none (asked for: all)",
                "         because not here",
            ]
        );
    }
}
