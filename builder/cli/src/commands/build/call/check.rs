//! `--check`.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_builder::check::{self, Bases, Report, Warning};
use orlop_builder::event::Progress;
use orlop_builder::plan::{Base, PlannedStage};
use orlop_builder::request::{BuildRequest, PullPolicy};
use orlop_builder::{BuildError, Place, transfer};
use orlop_registry_client::{Client, RetryObserver};
use orlop_store::{Image, Platform, Reference};
use serde_json::{Value, json};

use super::json::{location, object};
use super::print;
use crate::config;
use crate::diagnostics::{Failure, excerpt};
use crate::progress::{Mode, clean};
use crate::session::App;

/// How long a registry may take to answer: the check can do without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks, prints what was found, and fails where something was.
pub(super) fn run(
    app: &App,
    request: &BuildRequest,
    mode: Mode,
    (as_json, ignore_status): (bool, bool),
) -> Result<(), Failure> {
    let report = check::report(request, &Found::new(app, request));
    let file = &report.dockerfile.source;
    let display = mode.display();
    let progress = Progress::new(&*display);
    for note in &report.notes {
        match note.span {
            Some(span) => progress.warn_at(file, span, &note.text, note.hint.clone()),
            None => progress.advise(&note.text, note.hint.clone()),
        }
    }
    display.finish();
    if as_json {
        print(&super::json::text(&to_json(&report)))?;
    } else {
        print(&to_text(&report))?;
    }
    match report.error {
        // What is in the JSON is not said twice.
        Some(_) if as_json => Err(Failure::exit(1)),
        Some(error) => Err(error.into()),
        None if report.warnings.is_empty() || ignore_status => Ok(()),
        None => Err(Failure::exit(1)),
    }
}

/// As `docker build --check` prints it, and the hint below each.
fn to_text(report: &Report) -> String {
    let mut out = match report.warnings.len() {
        // Then the error is the answer.
        0 if report.error.is_some() => return String::new(),
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in &report.warnings {
        let url = warning.rule.url().map(|url| format!(" - {url}")).unwrap_or_default();
        let _ = writeln!(out, "\nWARNING: {}{url}\n{}", warning.rule, clean(&warning.message));
        out.push_str(&excerpt(&shown(report, warning), false));
        if let Some(hint) = &warning.hint {
            let _ = writeln!(out, "hint: {}", clean(hint));
        }
    }
    if report.error.is_some() {
        out.push('\n');
    }
    out
}

/// The word that is meant, where it is in the line that BuildKit names; else that line.
fn shown(report: &Report, warning: &Warning) -> Place {
    let file = &report.dockerfile.source;
    let (lines, word) = (file.lines_of(warning.place), file.lines_of(warning.span));
    let span = if lines.0 == lines.1 && lines == word { warning.span } else { warning.place };
    Place { file: Arc::clone(file), span }
}

/// As `docker build --call=check,format=json` prints it.
fn to_json(report: &Report) -> Value {
    let file = &report.dockerfile.source;
    let warnings = report.warnings.iter().map(|warning| {
        object([
            ("ruleName", json!(warning.rule.name())),
            ("description", json!(warning.rule.description())),
            ("url", json!(warning.rule.url())),
            ("detail", json!(warning.message)),
            ("location", location(file, warning.place)),
        ])
    });
    let source =
        json!({ "filename": file.name(), "language": "Dockerfile", "data": STANDARD.encode(file.text()) });
    let mut out = json!({ "warnings": warnings.collect::<Vec<_>>(), "sources": [source] });
    if let (Some(error), Some(members)) = (&report.error, out.as_object_mut()) {
        members.insert("buildError".to_owned(), error_to_json(error));
    }
    out
}

fn error_to_json(error: &BuildError) -> Value {
    let place = error.place.as_ref().map(|place| location(&place.file, place.span));
    object([("message", json!(error.to_string())), ("location", json!(place))])
}

/// The images that stages stand on, as far as they are here, in a layout, or a registry answers soon.
struct Found<'a> {
    app: &'a App,
    store: Option<PathBuf>,
    pull: PullPolicy,
    registry: OnceCell<Option<Client>>,
    known: RefCell<HashMap<(Reference, Platform), Option<Image>>>,
    /// Registries that did not answer: the next image is not waited for.
    silent: RefCell<HashSet<String>>,
}

impl<'a> Found<'a> {
    fn new(app: &'a App, request: &BuildRequest) -> Self {
        let store = config::store_root(&app.global, app.host.root).ok();
        let (registry, known, silent) = Default::default();
        Self { app, store, pull: request.pull, registry, known, silent }
    }

    fn here(&self, name: &Reference, platform: &Platform) -> Option<Image> {
        let meant = config::registries().ok().and_then(|conf| conf.short_name(name).ok()?);
        let names = meant.iter().flat_map(|meant| &meant.names).chain([name]);
        let image = names.into_iter().find_map(|name| orlop_store::peek(self.store.as_ref()?, name))?;
        platform.matches(&image.platform()).then_some(image)
    }

    fn there(&self, name: &Reference, platform: &Platform) -> Option<Image> {
        if self.pull == PullPolicy::Never || self.silent.borrow().contains(name.domain()) {
            return None;
        }
        let registry = self.registry.get_or_init(|| {
            let mut config = config::client(&self.app.global, RetryObserver::default()).ok()?;
            config.retries.count = 0;
            config.timeouts.connect = PATIENCE;
            config.timeouts.first_byte = PATIENCE;
            Some(Client::new(config))
        });
        transfer::look(registry.as_ref()?, name, platform).unwrap_or_else(|_| {
            self.silent.borrow_mut().insert(name.domain().to_owned());
            None
        })
    }
}

impl Bases for Found<'_> {
    fn image(&self, stage: &PlannedStage) -> Option<Image> {
        let platform = &stage.platform;
        let name = match &stage.base {
            Base::Image(name) => name,
            Base::Layout(layout) => return transfer::look_into_layout(layout, platform),
            Base::Scratch | Base::Stage(_) | Base::Unknown(_) | Base::Context(_) => return None,
        };
        let key = (name.clone(), platform.clone());
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let image = match self.pull {
            PullPolicy::Always => self.there(name, platform).or_else(|| self.here(name, platform)),
            _ => self.here(name, platform).or_else(|| self.there(name, platform)),
        };
        self.known.borrow_mut().insert(key, image.clone());
        image
    }
}
