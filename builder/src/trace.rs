//! What a build spends its time with: `--trace FILE`, and the line `time` of its summary. Both are made of the same
//! spans ([`orlop_store::trace`]).
//!
//! A task (a step, the FROM of a stage, a push) is a span with its title; in it are its phases:
//!
//! | phase | |
//! |---|---|
//! | `open` | the store is opened, and what dead processes left there removed |
//! | `plan` | the Dockerfile is read, checked and planned |
//! | `resolve` | manifest and config of an image are looked up, at a registry most often |
//! | `scan` | the files that a COPY or a bind mount takes are listed, and those read whose content is not known |
//! | `key` | the step's key is made and looked up |
//! | `cache import`, `cache export` | the same in the caches of `--cache-from`, and what goes to those of `--cache-to` |
//! | `fetch` | a git repository, an archive or a file of a URL is fetched |
//! | `pull` | somebody waits until the layers of an image are here |
//! | `download`, `read` | a layer's blob comes from elsewhere, or from the disk; its digest is made on the way |
//! | `unpack` | a layer is inflated, hashed and put into the form that is mounted |
//! | `index` | what lets a layer's tar be mounted is written |
//! | `verify` | the digest of what came is compared, and it is put into its place |
//! | `prepare` | the snapshot of a step, and what its job needs, are made |
//! | `join` | many small layers are copied into one directory, so that steps need not stack each |
//! | `run` | the job, from its start until its last process is gone |
//! | `copy` | files are written into the snapshot |
//! | `diff` | what the step changed is found |
//! | `hash` | the layer's tar is written and its digest made |
//! | `commit` | the layer is put into its place, and its record written |
//! | `sync` | the disk is waited for |
//! | `compress` | a layer becomes a blob: read, compressed, hashed and written |
//! | `upload` | a blob or a manifest goes to a registry, which is asked first whether it has it |
//! | `output` | what was built is written to the store, to a file or a directory |
//! | `unmount`, `cleanup` | a snapshot is taken down, directories of half-made things are removed |
//! | `wait` | for another thread or another process |
//!
//! No value of a secret, a build argument or a variable is among what is told: titles are the words of the Dockerfile
//! as they stand there, without passwords in URLs; everything else is a number, a digest or a word of ours.

mod file;
mod totals;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

use orlop_store::Digest;
use orlop_store::trace::{Field, TraceObserver, Value, What};

use crate::redact::redact;
use file::{Event, TraceFile};
pub use totals::PhaseTime;
use totals::Totals;

/// The longest title that a trace has, in characters.
const TITLE: usize = 300;

/// Takes spans, adds up what they took, and writes them to a file where there is one.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Spans begun so far.
    spans: u32,
    numbers: HashMap<ThreadId, usize>,
    threads: Vec<Thread>,
    totals: Totals,
    moved: HashMap<(&'static str, Digest), u64>,
    counters: BTreeMap<&'static str, u64>,
    file: Option<TraceFile>,
}

/// A thread that did something.
#[derive(Debug, Default)]
struct Thread {
    name: Option<&'static str>,
    /// Its name is in the file.
    told: bool,
    /// What it is at, the innermost last.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    /// What the thread's time counts as meanwhile: a task lies in the phase around it.
    phase: Option<usize>,
}

impl Recorder {
    /// Begins now. `file` is written to as things happen, one whole event at a time: where the program is killed, all
    /// before is there, and readers of traces do without the `]` at its end.
    pub fn new(file: Option<File>) -> Self {
        let file = file.map(|file| TraceFile::begin(file, "orlop build"));
        let recorder = Self { begun: Instant::now(), state: Mutex::new(State { file, ..State::default() }) };
        // Whoever makes it is first.
        recorder.thread("main");
        recorder
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been spent, the most first; see [`PhaseTime`].
    pub fn times(&self) -> Vec<PhaseTime> {
        self.state().totals.times(self.begun.elapsed())
    }

    /// Ends the file. What happens later is not in it.
    ///
    /// # Errors
    /// When something could not be written, now or before. What is there then is a trace up to that point.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        let now = self.begun.elapsed();
        let Some(mut file) = state.file.take() else { return Ok(()) };
        for (number, thread) in state.threads.iter().enumerate() {
            for _ in &thread.open {
                file.write(now, number, Event::End, &[]);
            }
        }
        file.finish()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Nobody to tell: who wants to know has asked before.
        let _ = self.finish();
    }
}

impl State {
    /// The calling thread.
    fn thread(&mut self) -> usize {
        let next = self.threads.len();
        let number = *self.numbers.entry(std::thread::current().id()).or_insert(next);
        if number == next {
            self.threads.push(Thread::default());
        }
        number
    }
}

impl TraceObserver for Recorder {
    fn begin(&self, what: What<'_>, values: &[Field<'_>]) -> u64 {
        let mut state = self.state();
        let state = &mut *state;
        // Taken here, so that the file is in order.
        let now = self.begun.elapsed();
        let number = state.thread();
        state.spans = state.spans.wrapping_add(1);
        let span = ((number as u64) << 32) | u64::from(state.spans);
        let thread = &mut state.threads[number];
        let around = thread.open.last().and_then(|open| open.phase);
        let phase = match what {
            What::Phase(name) => Some(state.totals.number(name)),
            What::Task(_) => around,
        };
        state.totals.change(around, phase, now);
        thread.open.push(Open { number: span, phase });
        if let Some(file) = &mut state.file {
            if !std::mem::replace(&mut thread.told, true) {
                file.write(now, number, Event::Thread(thread.name.unwrap_or("worker")), &[]);
            }
            match what {
                What::Phase(name) => file.write(now, number, Event::Begin(name, "phase"), values),
                What::Task(title) => file.write(now, number, Event::Begin(&shown(title), "task"), values),
            }
        }
        span
    }

    fn end(&self, span: u64, values: &[Field<'_>]) {
        let mut state = self.state();
        let state = &mut *state;
        let now = self.begun.elapsed();
        let number = usize::try_from(span >> 32).unwrap_or(usize::MAX);
        let Some(thread) = state.threads.get_mut(number) else { return };
        // What lies in it ends with it: spans of a thread never overlap in a trace.
        let Some(at) = thread.open.iter().rposition(|open| open.number == span) else { return };
        while thread.open.len() > at {
            let phase = thread.open.pop().and_then(|open| open.phase);
            state.totals.change(phase, thread.open.last().and_then(|open| open.phase), now);
            if let Some(file) = &mut state.file {
                let values = if thread.open.len() == at { values } else { &[] };
                file.write(now, number, Event::End, values);
            }
        }
    }

    fn moved(&self, counter: &'static str, of: &Digest, bytes: u64) {
        let mut state = self.state();
        let state = &mut *state;
        let now = self.begun.elapsed();
        if state.file.is_none() {
            return;
        }
        let number = state.thread();
        let before = std::mem::replace(state.moved.entry((counter, *of)).or_default(), bytes);
        // What began anew comes a second time.
        let more = bytes.checked_sub(before).unwrap_or(bytes);
        let sum = state.counters.entry(counter).or_default();
        *sum = sum.saturating_add(more);
        if let (Some(file), true) = (&mut state.file, more > 0) {
            file.write(now, number, Event::Counter(counter), &[("bytes", Value::Number(*sum))]);
        }
    }

    fn thread(&self, name: &'static str) {
        let mut state = self.state();
        let number = state.thread();
        state.threads[number].name.get_or_insert(name);
    }
}

/// A title as it may be shown, on one line.
fn shown(title: &str) -> String {
    let title = redact(title);
    title.chars().take(TITLE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
