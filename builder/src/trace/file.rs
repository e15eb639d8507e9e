//! The file of a trace, in the Trace Event Format that Chrome's `about:tracing` and Perfetto read: a JSON array of
//! events, one a line. Of an array they do not want the end, so that each line that is written makes a whole trace.
//!
//! | `ph` | |
//! |---|---|
//! | `M` | the name of the process, or of a thread before its first event |
//! | `B`, `E` | a span begins and ends, in the order of the calls of a thread; the `args` of both belong to it |
//! | `C` | a counter has a new value |
//!
//! `ts` is in microseconds since the build began, and the time of each line is that of the one before it or later.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use orlop_store::trace::{Field, Value};

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event<'a> {
    /// A thread has this name.
    Thread(&'a str),
    /// A span of this name and category begins.
    Begin(&'a str, &'a str),
    /// The innermost span of the thread ends.
    End,
    /// The counter of this name has the values that follow.
    Counter(&'a str),
}

/// A trace that is being written.
#[derive(Debug)]
pub(super) struct TraceFile {
    out: File,
    process: u32,
    /// The line in the making.
    line: Vec<u8>,
    /// Bytes of whole lines in the file.
    written: u64,
    failed: Option<io::Error>,
}

impl TraceFile {
    /// Begins a trace of this process in an empty file.
    pub(super) fn begin(out: File, name: &str) -> Self {
        let mut file = Self { out, process: std::process::id(), line: Vec::new(), written: 0, failed: None };
        file.line.extend_from_slice(b"[\n");
        file.open("M", None);
        file.field("name", "process_name");
        file.values(&[("name", Value::Text(name))]);
        file.close();
        file
    }

    /// Writes one event of a thread. Nothing follows what could not be written.
    pub(super) fn write(&mut self, at: Duration, thread: usize, event: Event<'_>, values: &[Field<'_>]) {
        if self.failed.is_some() {
            return;
        }
        self.line.extend_from_slice(b",\n");
        let phase = match event {
            Event::Thread(_) => "M",
            Event::Begin(..) => "B",
            Event::End => "E",
            Event::Counter(_) => "C",
        };
        self.open(phase, Some((at, thread)));
        match event {
            Event::Thread(name) => {
                self.field("name", "thread_name");
                self.values(&[("name", Value::Text(name))]);
            }
            Event::Begin(name, category) => {
                self.field("name", name);
                self.field("cat", category);
            }
            Event::End => {}
            Event::Counter(name) => self.field("name", name),
        }
        if !values.is_empty() {
            self.values(values);
        }
        self.close();
    }

    /// Ends the array.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.failed.is_none() {
            self.line.extend_from_slice(b"\n]\n");
            self.pass_on();
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn open(&mut self, phase: &str, of: Option<(Duration, usize)>) {
        let pid = self.process;
        // No write to memory fails.
        let _ = write!(self.line, r#"{{"ph":"{phase}","pid":{pid}"#);
        if let Some((at, thread)) = of {
            let (micros, nanos) = (at.as_micros(), at.subsec_nanos() % 1000);
            let _ = write!(self.line, r#","tid":{},"ts":{micros}.{nanos:03}"#, thread + 1);
        }
    }

    fn field(&mut self, name: &str, text: &str) {
        let _ = write!(self.line, r#","{name}":"#);
        self.text(text);
    }

    fn values(&mut self, values: &[Field<'_>]) {
        self.line.extend_from_slice(br#","args":{"#);
        for (at, (name, value)) in values.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(self.line, r#"{comma}"{name}":"#);
            match value {
                Value::Number(number) => drop(write!(self.line, "{number}")),
                Value::Digest(digest) => drop(write!(self.line, r#""{digest}""#)),
                Value::Text(text) => self.text(&super::shown(text)),
            }
        }
        self.line.push(b'}');
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut self.line, text);
    }

    fn close(&mut self) {
        self.line.push(b'}');
        self.pass_on();
    }

    /// Writes the line, in one call where the file takes it: it is there whole, or is not there.
    fn pass_on(&mut self) {
        match self.out.write_all(&self.line) {
            Ok(()) => self.written += self.line.len() as u64,
            Err(error) => {
                // A full disk may have taken half of it. What is no ordinary file has no such half.
                if self.out.metadata().is_ok_and(|meta| meta.is_file()) {
                    let _ = self.out.set_len(self.written);
                }
                self.failed = Some(error);
            }
        }
        self.line.clear();
    }
}
