//! `--progress=tty`: live lines. Each running task has one with its time, below it the last lines of
//! output and a bar for each layer on the move; a task that ends becomes one line that stays.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use orlop_builder::event::{Action, Event, Observer, Outcome, TaskId};
use orlop_store::Digest;

use super::lines::{Lines, clean};
use super::{Display, Summary, ending, summary_lines};
use crate::system::console;
use crate::{env, quantity};

/// Lines of output that are kept in sight for each task.
const TAIL: usize = 4;
/// Redraws in a second.
const RATE: u8 = 10;

/// A live display on standard error.
pub(super) struct Tty {
    multi: MultiProgress,
    colour: bool,
    state: Mutex<State>,
}

impl fmt::Debug for Tty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tty").field("colour", &self.colour).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    lines: Lines,
    tasks: HashMap<TaskId, Running>,
}

struct Running {
    title: String,
    head: ProgressBar,
    tail: VecDeque<String>,
    /// One bar a line of output, made when they are needed.
    shown: Vec<ProgressBar>,
    bars: HashMap<Digest, ProgressBar>,
    notes: Vec<String>,
    output: Instant,
}

impl Tty {
    pub(super) fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(RATE));
        let colour = env::NO_COLOR.get().is_none() && env::TERM.text().is_none_or(|term| term != "dumb");
        Self { multi, colour, state: Mutex::default() }
    }

    fn head_style(&self) -> ProgressStyle {
        style(if self.colour {
            " {spinner:.cyan} {wide_msg} {elapsed:.cyan}"
        } else {
            " {spinner} {wide_msg} {elapsed}"
        })
        .tick_strings(&["|", "/", "-", "\\", "="])
    }

    fn bar_style(&self) -> ProgressStyle {
        style("     {prefix} {bar:24} {bytes:>10} / {total_bytes:10} {wide_msg}").progress_chars("=> ")
    }

    fn last_of(running: &Running) -> ProgressBar {
        running.shown.last().unwrap_or(&running.head).clone()
    }

    /// Puts the last lines of output under their task.
    fn show_tail(&self, running: &mut Running, pending: Option<String>) {
        let count = running.tail.len() + usize::from(pending.is_some());
        let lines: Vec<String> =
            running.tail.iter().cloned().chain(pending).skip(count.saturating_sub(TAIL)).collect();
        while running.shown.len() < lines.len() {
            let bar = ProgressBar::new_spinner().with_style(style("     {wide_msg}"));
            let bar = self.multi.insert_after(&Self::last_of(running), bar);
            running.shown.push(bar);
        }
        for (bar, line) in running.shown.iter().zip(lines) {
            bar.set_message(line);
        }
    }

    fn transfer(
        &self,
        running: &mut Running,
        digest: Digest,
        action: Action,
        current: u64,
        total: Option<u64>,
    ) {
        let verb = match action {
            Action::Pull => "pulling",
            Action::Push => "pushing",
            Action::Exists => "there already",
            Action::Export => "writing",
        };
        let after = Self::last_of(running);
        let bar = running.bars.entry(digest).or_insert_with(|| {
            let bar =
                ProgressBar::new(total.unwrap_or(0)).with_style(self.bar_style()).with_prefix(digest.short());
            self.multi.insert_after(&after, bar)
        });
        match total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
        bar.set_position(current);
        bar.set_message(verb);
        if action == Action::Exists || total.is_some_and(|total| current >= total) {
            bar.finish_and_clear();
        }
    }

    fn finish_task(&self, mut running: Running, line: &str, failed: bool) {
        for bar in running.shown.drain(..).chain(running.bars.drain().map(|(_, bar)| bar)) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        running.head.finish_and_clear();
        self.multi.remove(&running.head);
        let line = match (self.colour, failed) {
            (true, true) => format!("\x1b[31m{line}\x1b[0m"),
            (true, false) => format!("\x1b[2m{line}\x1b[0m"),
            _ => line.to_owned(),
        };
        self.print(
            std::iter::once(line).chain(running.notes.into_iter().map(|note| format!("    note: {note}"))),
        );
    }

    /// Writes lines that stay, above the live ones.
    fn print(&self, lines: impl Iterator<Item = String>) {
        self.multi.suspend(|| {
            let mut err = std::io::stderr().lock();
            for line in lines {
                // A terminal that is gone stops nothing.
                let _ = writeln!(err, "{line}");
            }
        });
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates here are literals")
}

/// `title` and `end` on one line of `width` columns, the title cut where it must be.
fn one_line(title: &str, end: &str, width: usize) -> String {
    let room = width.saturating_sub(5 + end.chars().count()).max(20);
    let count = title.chars().count();
    if count <= room {
        return format!(" => {title}{} {end}", " ".repeat(room - count));
    }
    let cut: String = title.chars().take(room - 3).collect();
    format!(" => {cut}... {end}")
}

fn width() -> usize {
    console::width().unwrap_or(80).clamp(40, 120)
}

impl Observer for Tty {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { lines, tasks } = &mut *state;
        match event {
            Event::Started { task, title } => {
                let title = clean(&title);
                let head = self.multi.add(ProgressBar::new_spinner().with_style(self.head_style()));
                head.set_message(title.clone());
                head.enable_steady_tick(Duration::from_millis(200));
                let (tail, shown, bars, notes) = Default::default();
                let output = Instant::now();
                tasks.insert(task, Running { title, head, tail, shown, bars, notes, output });
            }
            Event::Output { task, stream, bytes } => {
                let Some(running) = tasks.get_mut(&task) else { return };
                for line in lines.push(task, stream, &bytes) {
                    if !line.is_empty() {
                        running.tail.push_back(line);
                    }
                }
                while running.tail.len() > TAIL {
                    running.tail.pop_front();
                }
                // A step that writes megabytes is not slowed down by being watched.
                if running.output.elapsed() >= Duration::from_millis(1000 / u64::from(RATE))
                    || running.shown.is_empty()
                {
                    running.output = Instant::now();
                    self.show_tail(running, lines.pending(task));
                }
            }
            Event::Transfer { task, digest, action, current, total } => {
                if let Some(running) = tasks.get_mut(&task) {
                    self.transfer(running, digest, action, current, total);
                }
            }
            Event::Note { task, text } => {
                if let Some(running) = tasks.get_mut(&task) {
                    running.notes.push(clean(&text));
                }
            }
            // What of it matters to a reader comes as notes and in the task's last line.
            Event::Job { .. } => {}
            Event::Finished { task, outcome, duration, usage, layer } => {
                lines.close(task);
                if let Some(running) = tasks.remove(&task) {
                    let end = match outcome {
                        Outcome::Done if usage.is_none() => quantity::duration(duration),
                        _ => ending(outcome, duration, usage.as_ref(), layer.map(|(_, size)| size)),
                    };
                    let line = one_line(&running.title, &end, width());
                    self.finish_task(running, &line, outcome == Outcome::Failed);
                }
            }
            Event::Warning { text, hint, .. } => {
                let hint = hint.map(|hint| format!("hint: {}", clean(&hint)));
                self.print(std::iter::once(format!("warning: {}", clean(&text))).chain(hint));
            }
        }
    }
}

impl Display for Tty {
    fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, running) in std::mem::take(&mut state.tasks) {
            for bar in running.shown.iter().chain(running.bars.values()).chain([&running.head]) {
                bar.finish_and_clear();
            }
        }
        let _ = self.multi.clear();
    }

    fn summary(&self, summary: &Summary) {
        self.print(summary_lines(summary).into_iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_task_is_one_line_of_the_width() {
        assert_eq!(one_line("RUN x", "CACHED", 40).len(), 40);
        let long = one_line(&"word ".repeat(40), "DONE 1.2s (cpu 0.9s)", 80);
        assert_eq!(long.len(), 80);
        assert!(long.ends_with("... DONE 1.2s (cpu 0.9s)"), "{long}");
    }

    #[test]
    fn the_templates_are_templates() {
        for colour in [false, true] {
            let tty = Tty {
                multi: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
                colour,
                state: Mutex::default(),
            };
            let task = TaskId(1);
            tty.event(Event::Started { task, title: "RUN x".into() });
            let bytes = b"a\nb\nc\nd\ne\nf".to_vec();
            tty.event(Event::Output { task, stream: orlop_runner::Stream::Stdout, bytes });
            assert_eq!(tty.state.lock().unwrap().tasks[&task].shown.len(), TAIL);
            let digest = Digest::of(b"x");
            tty.event(Event::Transfer { task, digest, action: Action::Pull, current: 1, total: Some(2) });
            tty.event(Event::Finished {
                task,
                outcome: Outcome::Done,
                duration: Duration::ZERO,
                usage: None,
                layer: None,
            });
            assert!(tty.state.lock().unwrap().tasks.is_empty());
        }
    }
}
