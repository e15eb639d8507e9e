//! `--progress=plain`: lines for a log, in the manner of BuildKit's.
//!
//! ```text
//! #5 [build 2/4] RUN make
//! #5 0.123 cc -c main.c
//! #5 DONE 1.2s (cpu 0.9s, memory 34 MB, layer 1.2 MB)
//!
//! #6 [build 3/4] COPY . .
//! #6 CACHED
//! ```

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use orlop_builder::event::{Action, Event, Observer, TaskId};
use orlop_store::Digest;

use super::lines::{Lines, clean};
use super::{Display, Summary, ending, summary_lines};
use crate::quantity;

/// Bars become lines, one in so long.
const BAR_INTERVAL: Duration = Duration::from_secs(10);

/// Writes lines to a log.
#[derive(Debug)]
pub(super) struct Plain<W> {
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    lines: Lines,
    started: HashMap<TaskId, Instant>,
    bars: HashMap<(TaskId, Digest), Bar>,
}

#[derive(Debug)]
struct Bar {
    started: Instant,
    shown: Instant,
    done: bool,
}

impl<W: Write + Send> Plain<W> {
    pub(super) fn new(out: W) -> Self {
        let (lines, started, bars) = Default::default();
        Self { state: Mutex::new(State { out, lines, started, bars }) }
    }
}

impl<W: Write> State<W> {
    fn line(&mut self, task: TaskId, text: &str) {
        // A log that is gone stops nothing.
        let _ = writeln!(self.out, "{}", format!("#{} {text}", task.0).trim_end());
    }

    fn output(&mut self, task: TaskId, lines: Vec<String>) {
        let since = self.started.get(&task).map_or(Duration::ZERO, Instant::elapsed);
        for line in lines {
            self.line(task, &format!("{:.3} {line}", since.as_secs_f64()));
        }
    }

    fn transfer(&mut self, task: TaskId, digest: Digest, action: Action, current: u64, total: Option<u64>) {
        let now = Instant::now();
        let fresh = Bar { started: now, shown: now, done: false };
        let bar = self.bars.entry((task, digest)).or_insert(fresh);
        if bar.done {
            return;
        }
        let took = quantity::duration(bar.started.elapsed());
        let done = action == Action::Exists || total.is_some_and(|total| current >= total);
        let text = match (action, done) {
            (Action::Exists, _) => format!("{} is there already", digest.short()),
            (Action::Pull, true) => {
                format!("{} pulled, {} in {took}", digest.short(), quantity::size(current))
            }
            (Action::Push, true) => {
                format!("{} pushed, {} in {took}", digest.short(), quantity::size(current))
            }
            (Action::Export, true) => {
                format!("{} written, {} in {took}", digest.short(), quantity::size(current))
            }
            (_, false) if bar.shown.elapsed() >= BAR_INTERVAL => {
                let of = total.map(|total| format!(" / {}", quantity::size(total))).unwrap_or_default();
                format!("{} {}{of}", digest.short(), quantity::size(current))
            }
            (_, false) => return,
        };
        bar.done = done;
        bar.shown = now;
        self.line(task, &text);
    }
}

impl<W: Write + Send> Observer for Plain<W> {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, title } => {
                state.started.insert(task, Instant::now());
                state.line(task, &clean(&title));
            }
            Event::Output { task, stream, bytes } => {
                let lines = state.lines.push(task, stream, &bytes);
                state.output(task, lines);
            }
            Event::Transfer { task, digest, action, current, total } => {
                state.transfer(task, digest, action, current, total);
            }
            Event::Note { task, text } => state.line(task, &format!("note: {}", clean(&text))),
            // What of it matters to a reader comes as notes and in the task's last line.
            Event::Job { .. } => {}
            Event::Finished { task, outcome, duration, usage, layer } => {
                let rest = state.lines.close(task);
                state.output(task, rest);
                state.started.remove(&task);
                state.bars.retain(|(of, _), _| *of != task);
                state.line(task, &ending(outcome, duration, usage.as_ref(), layer.map(|(_, size)| size)));
                let _ = writeln!(state.out);
            }
            Event::Warning { text, hint, .. } => {
                let _ = writeln!(state.out, "warning: {}", clean(&text));
                if let Some(hint) = hint {
                    let _ = writeln!(state.out, "hint: {}", clean(&hint));
                }
            }
        }
    }
}

impl<W: Write + Send + std::fmt::Debug> Display for Plain<W> {
    fn finish(&self) {}

    fn summary(&self, summary: &Summary) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for line in summary_lines(summary) {
            let _ = writeln!(state.out, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_builder::event::{Outcome, Progress};
    use orlop_runner::Stream;

    #[test]
    fn reads_like_a_log() {
        let plain = Plain::new(Vec::new());
        let progress = Progress::new(&plain);
        let a = progress.start("[build 2/4] RUN make\n  all");
        let b = progress.start("[2/3] COPY . .");
        a.output(Stream::Stdout, b"one\ntw");
        a.output(Stream::Stderr, b"oops\n");
        a.note("limits are not available");
        b.finish(Outcome::Cached, None, None);
        let layer = Digest::of(b"layer");
        a.transfer(layer, Action::Pull, 5, Some(2000));
        a.transfer(layer, Action::Pull, 2000, Some(2000));
        a.transfer(layer, Action::Pull, 2000, Some(2000));
        a.finish(Outcome::Done, None, None);
        progress.warn("careful", None);
        let out = String::from_utf8(plain.state.into_inner().unwrap().out).unwrap();
        let expected = format!(
            "#1 [build 2/4] RUN make   all\n#2 [2/3] COPY . .\n#1 0.000 one\n#1 0.000 oops\n\
             #1 note: limits are not available\n#2 CACHED\n\n#1 {} pulled, 2 kB in 0.0s\n#1 0.000 tw\n\
             #1 DONE 0.0s\n\nwarning: careful\n",
            layer.short()
        );
        // The clock may tick.
        let still = regexless_times(&out);
        assert_eq!(still, expected);
    }

    /// Puts 0.000 where a line of output carries its time.
    fn regexless_times(log: &str) -> String {
        let mut out = String::new();
        for line in log.lines() {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words[..] {
                [task, time, rest] if time.len() == 5 && time.parse::<f64>().is_ok() => {
                    out.push_str(&format!("{task} 0.000 {rest}\n"));
                }
                _ => out.push_str(&format!("{line}\n")),
            }
        }
        out
    }
}
