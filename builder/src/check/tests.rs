//! The rules over the cases in `corpus/`, one file for each rule. A case is
//!
//! ```text
//! === what it shows
//! +++ build-arg NAME=VALUE
//! FROM scratch AS Name
//! --- StageNameCasing 1 Name :: Stage name 'Name' should be lowercase
//! ```
//!
//! Lines with `+++` set the build: `build-arg NAME=VALUE`, `target STAGE`, `needed` (the stages that the target needs, as
//! a build checks them, and not all), `ignore PATTERN`, `platform P`, and `base NAME WHAT` for an image that is known:
//! WHAT is `env A=b`, `shell`, `onbuild TRIGGER`, `platform P` or nothing. Any other image is not known. A line with
//! `---` is a finding: rule, line in BuildKit's way of counting, the words that are meant, and perhaps the message;
//! `--- error TEXT` says that the walk ends with an error that begins so. A case without `---` must find nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use orlop_store::{Image, Platform};

use super::*;
use crate::context::Ignore;
use crate::dockerfile::parse_part;
use crate::plan::{self, Base, Plan, PlannedStage};
use crate::source::SourceFile;

#[derive(Default)]
struct Case {
    title: String,
    dockerfile: String,
    build_args: Vec<(String, String)>,
    target: Option<String>,
    needed: bool,
    ignore: String,
    platform: Option<String>,
    bases: BTreeMap<String, Image>,
    expect: Vec<String>,
}

impl Bases for Case {
    fn image(&self, stage: &PlannedStage) -> Option<Image> {
        match &stage.base {
            Base::Image(reference) => self.bases.get(&reference.familiar()).cloned(),
            _ => None,
        }
    }
}

impl Case {
    fn set(&mut self, text: &str) {
        let (key, value) = text.split_once(' ').unwrap_or((text, ""));
        match key {
            "build-arg" => {
                let (name, value) = value.split_once('=').expect("NAME=VALUE");
                self.build_args.push((name.to_owned(), value.to_owned()));
            }
            "target" => self.target = Some(value.to_owned()),
            "needed" => self.needed = true,
            "ignore" => self.ignore.push_str(&format!("{value}\n")),
            "platform" => self.platform = Some(value.to_owned()),
            "base" => {
                let mut words = value.splitn(3, ' ');
                let name = words.next().unwrap_or_default();
                let name = name.parse::<orlop_store::Reference>().expect("a name").familiar();
                let platform: Platform = "linux/amd64".parse().unwrap();
                let image = self.bases.entry(name).or_insert_with(|| Image::scratch(&platform));
                let (what, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                *image = image.with_config(|config| match what {
                    "" => {}
                    "env" => {
                        let (name, value) = rest.split_once('=').expect("A=b");
                        config.set_env(name, value);
                    }
                    "shell" => config.set_shell(Some(vec!["/bin/bash".to_owned()])),
                    "onbuild" => config.set_on_build(vec![rest.to_owned()]),
                    "platform" => config.set_platform(&rest.parse().expect("a platform")),
                    other => panic!("no base has `{other}`"),
                });
            }
            other => panic!("no setting is called `{other}`"),
        }
    }

    /// What is found, as `---` lines have it.
    fn found(&self) -> Vec<(String, String)> {
        let source = Arc::new(SourceFile::new("Dockerfile", self.dockerfile.as_str()));
        let (dockerfile, error) = parse_part(Arc::clone(&source));
        let options = Options::of(&dockerfile, &self.build_args).expect("options");
        let mut checker = Checker::new(&dockerfile, options);
        checker.text(error.is_none());
        let platform = self.platform.as_deref().unwrap_or("linux/amd64").parse().expect("a platform");
        let ignore = Ignore::parse(&self.ignore).expect("patterns");
        let mut stages = || {
            checker.froms(&plan::global_scope(&dockerfile, &self.build_args, None, &platform)?);
            let plan = Plan::new(
                Arc::new(dockerfile.clone()),
                &self.build_args,
                self.target.as_deref(),
                &platform,
                &[],
            )?;
            let all = !self.needed && self.target.is_none();
            checker.stages(&plan, all, self, Some(&ignore))
        };
        let error = match error {
            Some(error) => Some(error.message),
            None => stages().err().map(|error| error.message),
        };
        let error = error.or(checker.verdict().err().map(|error| error.message));
        let mut out: Vec<_> = checker
            .warnings()
            .into_iter()
            .map(|warning| {
                assert!(warning.hint.is_some_and(|hint| !hint.is_empty() && !hint.ends_with('.')));
                let line = source.line(warning.place.start);
                let words: Vec<_> = source.slice(warning.span).split_whitespace().collect();
                (
                    format!("{} {line} {}", warning.rule, words.join(" ")).trim_end().to_owned(),
                    warning.message,
                )
            })
            .collect();
        out.extend(checker.unsure().iter().map(|unsure| (format!("unsure {}", unsure.name), String::new())));
        out.extend(error.map(|error| (format!("error {error}"), String::new())));
        out
    }

    /// What is wrong with the findings.
    fn fault(&self, file: &str) -> Option<String> {
        let found = self.found();
        let expect: Vec<_> = self
            .expect
            .iter()
            .zip(found.iter().map(Some).chain(std::iter::repeat(None)))
            .map(|(line, found)| match line.split_once(" :: ") {
                Some((line, message)) => (line.to_owned(), message.to_owned()),
                // Of an error the beginning is enough.
                None if line.starts_with("error ")
                    && found.is_some_and(|(text, _)| text.starts_with(line)) =>
                {
                    found.cloned().unwrap_or_default()
                }
                None => (line.clone(), found.map(|(_, message)| message.clone()).unwrap_or_default()),
            })
            .collect();
        (found != expect).then(|| {
            format!("{file}: {}\n{}found    {found:#?}\nexpected {expect:#?}", self.title, self.dockerfile)
        })
    }
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.split_inclusive('\n') {
        let (bare, case) = (line.trim_end_matches('\n'), cases.last_mut());
        match (bare.split_at_checked(4), case) {
            (Some(("=== ", title)), _) => cases.push(Case { title: title.to_owned(), ..Case::default() }),
            (_, None) => assert!(bare.is_empty() || bare.starts_with('#'), "before the first case: {bare}"),
            (Some(("+++ ", setting)), Some(case)) => case.set(setting),
            (Some(("--- ", finding)), Some(case)) => case.expect.push(finding.trim_end().to_owned()),
            (_, Some(case)) => case.dockerfile.push_str(line),
        }
    }
    cases
}

#[test]
fn the_corpus_is_judged_as_it_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/check/corpus");
    let (mut shown, mut silent, mut faults) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for entry in std::fs::read_dir(dir).expect("the corpus") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        for case in cases(&std::fs::read_to_string(&path).expect("text")) {
            faults.extend(case.fault(&name));
            if case.expect.iter().any(|line| line.starts_with(&format!("{name} "))) {
                shown.insert(name.clone());
            } else {
                silent.insert(name.clone());
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    for rule in Rule::ALL {
        assert!(shown.contains(rule.name()), "`corpus/{rule}.txt` has no case that finds something");
        assert!(silent.contains(rule.name()), "`corpus/{rule}.txt` has no case that finds nothing");
    }
}

#[test]
fn any_text_is_looked_through() {
    for text in [
        "FROM scratch\nENV \u{e9} \u{3000}x\nCMD \u{e9}\nWORKDIR \u{e9}\nEXPOSE 1/tCP\n",
        "FROM scratch\nRUN a \\\n\n \\\n\n",
        "FROM scratch\nCOPY <<a <<b /\n$\u{e9}\na\n${x}\nb\n",
        "FROM $ AS A\nFROM ${x:-$y}\nLABEL a b\\\n=c\n",
        "\n\n# check=skip\nARG a=$a$b\nFROM \\\n x AS \\\n Y\nCMD\nCMD\n",
    ] {
        let case = Case { dockerfile: text.to_owned(), ..Case::default() };
        let _ = case.found();
    }
}

/// What a stage has set is not copied for each that stands on it; and where each sets more, there is an end.
#[test]
fn many_stages_on_a_large_one_are_few_bytes() {
    let mut text = "FROM scratch AS s\n".to_owned();
    text.extend((0..5000).map(|at| format!("ENV d{at}=1\n")));
    text.extend((0..300).map(|_| "FROM s\nCOPY --from=s a b\n"));
    let found = |text: &str| Case { dockerfile: text.to_owned(), ..Case::default() }.found();
    assert_eq!(found(&text), []);
    let found = found(&text.replace("COPY --from=s a b", "ENV d0=2"));
    assert!(found.last().is_some_and(|(line, _)| line.contains("too much work")), "{found:?}");
}

/// Each unknown name is compared with each known one: of long names and of very many that would take minutes.
#[test]
fn names_that_are_unlike_all_others_take_no_time() {
    let long = |at: usize| format!("{at}{}", "x".repeat(240));
    let mut text: String = (0..1000).map(|at| format!("ARG A{}=1\nARG B{at}=1\n", long(at))).collect();
    text.extend((0..500).map(|at| format!("FROM scratch$C{} AS s{at}\nLABEL $d{at} $D{at}\n", long(at))));
    let found = Case { dockerfile: text, ..Case::default() }.found();
    assert!(found.len() > 1500, "{}", found.len());
}

#[test]
fn no_finding_says_a_password_again() {
    for text in [
        "FROM scratch\nENV URL https://user:hunter2@host/x\n",
        "FROM scratch\nENV URL https://user:hunter2@host/x y\n",
        "FROM scratch\nLABEL url https://user:hunter2@host/x\n",
        "FROM scratch\nWORKDIR https://user:hunter2@host/x\n",
        "ARG A\nFROM ${A}https://user:hunter2@host/x\n",
    ] {
        let dockerfile = crate::dockerfile::parse(Arc::new(SourceFile::new("Dockerfile", text))).unwrap();
        let mut checker = Checker::new(&dockerfile, Options::default());
        checker.text(true);
        checker.froms(&plan::global_scope(&dockerfile, &[], None, &Platform::host()).unwrap());
        if let Ok(plan) = Plan::new(Arc::new(dockerfile.clone()), &[], None, &Platform::host(), &[]) {
            let _ = checker.stages(&plan, true, &Case::default(), None);
        }
        let found = checker.warnings();
        assert!(!found.is_empty(), "{text}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
}
