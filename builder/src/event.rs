//! What happens while we work, pushed to an [`Observer`] as it happens: progress is never polled.
//!
//! Everything visible is a *task*: a step of a build, a pull, a push, an export. A task starts,
//! may report output and transfers, and finishes exactly once. Tasks of independent stages overlap.

use std::time::Duration;

use orlop_runner::{RunReport, Stream, Usage};
use orlop_store::Digest;
use orlop_store::trace::{Span, Trace};
use serde::Serialize;

/// Names a task within one command; counts from 1 in the order of their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TaskId(pub u32);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A task begins.
    Started {
        /// The task.
        task: TaskId,
        /// What it is, ready to be shown: `[build 2/5] RUN make`, `push localhost:5000/app`.
        title: String,
    },
    /// A RUN step wrote something.
    Output {
        /// The task.
        task: TaskId,
        /// Standard output or standard error.
        stream: Stream,
        /// The bytes as they came; may end in the middle of a line or of a character.
        bytes: Vec<u8>,
    },
    /// Bytes move: a layer arrives, is unpacked, is pushed.
    Transfer {
        /// The task.
        task: TaskId,
        /// What moves; one bar each.
        digest: Digest,
        /// What is done with it.
        action: Action,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// Something to know about a task that has not failed: `resource limits are not available`.
    Note {
        /// The task.
        task: TaskId,
        /// One line.
        text: String,
    },
    /// The processes of a RUN step have ended, in whatever way: all that is known of them.
    Job {
        /// The task.
        task: TaskId,
        /// What they used, what they were confined by, and what happened.
        report: Box<RunReport>,
    },
    /// A task ends.
    Finished {
        /// The task.
        task: TaskId,
        /// How it ended.
        outcome: Outcome,
        /// Since its start.
        duration: Duration,
        /// What its processes used, for RUN steps.
        usage: Option<Usage>,
        /// The layer that it made or found: diff ID and size of the uncompressed tar in bytes.
        layer: Option<(Digest, u64)>,
    },
    /// Something about the whole command that the user can act on.
    Warning {
        /// One line, without `warning:`.
        text: String,
        /// Byte range in the Dockerfile, where it is about one.
        span: Option<crate::source::Span>,
        /// What to write instead, where the warning knows.
        hint: Option<String>,
        /// The rule that found it, by its public name.
        rule: Option<&'static str>,
    },
}

/// What is done with bytes that move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Downloaded, verified and unpacked while it arrives.
    Pull,
    /// Uploaded.
    Push,
    /// Found at the target already, nothing was sent.
    Exists,
    /// Written to a file or standard output.
    Export,
}

impl Action {
    /// What the bytes are counted as in a trace.
    fn counter(self) -> Option<&'static str> {
        match self {
            Self::Pull => Some("downloaded"),
            Self::Push => Some("uploaded"),
            Self::Export => Some("written"),
            Self::Exists => None,
        }
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done now.
    Done,
    /// Not done: the result was known.
    Cached,
    /// It failed; the command's error says why.
    Failed,
    /// Stopped because something else failed or the user interrupted.
    Canceled,
}

impl Outcome {
    /// By one word, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Gets every [`Event`]. Called from several threads, so it must not block for long.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// Hands out task ids and passes events on.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    trace: Trace,
    next: std::sync::atomic::AtomicU32,
    /// The warnings that were given already.
    warned: std::sync::Mutex<std::collections::HashSet<String>>,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<'a> Progress<'a> {
    /// Events go to `observer`.
    pub fn new(observer: &'a dyn Observer) -> Self {
        let (trace, warned) = (Trace::none(), std::sync::Mutex::default());
        Self { observer, trace, next: std::sync::atomic::AtomicU32::new(1), warned }
    }

    /// Tells tasks to `trace` as well.
    #[must_use]
    pub fn with_trace(self, trace: &Trace) -> Self {
        Self { trace: trace.clone(), ..self }
    }

    /// Starts a task. It counts as failed unless it is finished otherwise before it is dropped.
    pub fn start(&self, title: impl Into<String>) -> Task<'_> {
        let title = title.into();
        let span = self.trace.task(&title);
        self.start_in(title, span)
    }

    /// The same of a step, which somebody has told the trace of before.
    pub(crate) fn start_step(&self, title: String) -> Task<'_> {
        self.start_in(title, Span::none())
    }

    fn start_in(&self, title: String, span: Span) -> Task<'_> {
        let id = TaskId(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        self.observer.event(Event::Started { task: id, title });
        let (trace, started) = (self.trace.clone(), std::time::Instant::now());
        Task { id, observer: self.observer, trace, span, started, open: true }
    }

    /// Something about the whole command.
    pub fn warn(&self, text: impl Into<String>, span: Option<crate::source::Span>) {
        let text = text.into();
        if self.is_new(text.clone()) {
            self.observer.event(Event::Warning { text, span, hint: None, rule: None });
        }
    }

    /// Something about the whole command, with what to write instead.
    pub fn advise(&self, text: impl Into<String>, hint: Option<String>) {
        let text = text.into();
        if self.is_new(text.clone()) {
            self.observer.event(Event::Warning { text, span: None, hint, rule: None });
        }
    }

    /// Something about a place in a file, which is named in front: `Dockerfile:7: …`. The same is said once.
    pub fn warn_at(
        &self,
        file: &crate::source::SourceFile,
        span: crate::source::Span,
        text: &str,
        hint: Option<String>,
    ) {
        let text = format!("{}:{}: {text}", file.name(), file.line(span.start));
        if self.is_new(format!("{}:{text}", span.start)) {
            self.observer.event(Event::Warning { text, span: Some(span), hint, rule: None });
        }
    }

    /// What a rule found: `Dockerfile:7: RuleName: …`.
    pub fn warn_rule(&self, file: &crate::source::SourceFile, warning: &crate::check::Warning) {
        let (name, rule) = (file.name(), warning.rule.name());
        let text = format!("{name}:{}: {rule}: {}", file.line(warning.span.start), warning.message);
        let hint = warning.hint.clone();
        if self.is_new(format!("{}:{text}", warning.span.start)) {
            self.observer.event(Event::Warning { text, span: Some(warning.span), hint, rule: Some(rule) });
        }
    }

    /// Whether this was not said before: a stage may be looked at for each platform, and a build may begin anew.
    fn is_new(&self, what: String) -> bool {
        self.warned.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(what)
    }
}

/// A task that has started and not yet finished.
pub struct Task<'a> {
    id: TaskId,
    observer: &'a dyn Observer,
    trace: Trace,
    span: Span,
    started: std::time::Instant,
    open: bool,
}

impl std::fmt::Debug for Task<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Task<'_> {
    /// Passes on what a step wrote.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        self.observer.event(Event::Output { task: self.id, stream, bytes: bytes.to_vec() });
    }

    /// Reports bytes that moved.
    pub fn transfer(&self, digest: Digest, action: Action, current: u64, total: Option<u64>) {
        if let Some(counter) = action.counter() {
            self.trace.moved(counter, &digest, current);
        }
        self.observer.event(Event::Transfer { task: self.id, digest, action, current, total });
    }

    /// Says something about this task.
    pub fn note(&self, text: impl Into<String>) {
        self.observer.event(Event::Note { task: self.id, text: text.into() });
    }

    /// Tells all that is known of the task's job.
    pub fn job(&self, report: &RunReport) {
        self.observer.event(Event::Job { task: self.id, report: Box::new(report.clone()) });
    }

    /// Ends the task.
    pub fn finish(mut self, outcome: Outcome, usage: Option<Usage>, layer: Option<(Digest, u64)>) {
        self.close(outcome, usage, layer);
    }

    fn close(&mut self, outcome: Outcome, usage: Option<Usage>, layer: Option<(Digest, u64)>) {
        if std::mem::replace(&mut self.open, false) {
            let duration = self.started.elapsed();
            self.span.add("outcome", outcome.name());
            drop(std::mem::take(&mut self.span));
            self.observer.event(Event::Finished { task: self.id, outcome, duration, usage, layer });
        }
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.close(Outcome::Failed, None, None);
    }
}
