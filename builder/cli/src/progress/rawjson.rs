//! `--progress=rawjson`: one JSON object a line, for programs. The names below are stable; fields may
//! be added, so readers pass over what they do not know.
//!
//! | `event` | further fields |
//! |---|---|
//! | `started` | `task` (number), `title` |
//! | `output` | `task`, `stream` (`stdout`, `stderr`), `text`: what a step wrote, not cut at lines; bytes that are not UTF-8 are replaced by U+FFFD |
//! | `transfer` | `task`, `digest`, `action` (`pull`, `push`, `exists`, `export`), `current` and `total` in bytes (`total` is null where it is not known); `digest` is the blob's, or the diff ID of a layer whose blob is being made |
//! | `note` | `task`, `text` |
//! | `job` | `task`, `report`: all that is known of the processes of a RUN step that have ended |
//! | `finished` | `task`, `outcome` (`done`, `cached`, `failed`, `canceled`), `duration` in seconds, `usage` (null, or `wall`, `user`, `system` in seconds, `peak_memory`, `io_read`, `io_written` in bytes, `peak_processes`, `processes_total`, `processes_left`), `layer` (null, or `diff_id` and `size` in bytes) |
//! | `warning` | `text`, `span` (null, or `start` and `end`: bytes of the Dockerfile), `hint` (null or text), `rule` (null, or the name of the check, `StageNameCasing`) |
//! | `summary` | `steps_cached`, `steps_run`, `duration`, `times` (list of `phase`, `time` in seconds: what the build spent its time with, the longest first; those of phases that overlap are more than `duration` together), `layers` (list of `diff_id`, `size`, `created_by`), `platforms` (where several were built, in place of `layers`: list of `platform`, `image_id`, `layers`), `image_id`, `manifest_digest`, `names` |
//! | `error` | the last line of a command that failed: `message`, `causes` (list), `hint` (null or text), `file` and `line` (null, or a place in a Dockerfile), `output` (null, or the last output of the step that failed), `exit_code` |
//!
//! Each object but the one of `error` also has `time`: seconds since the command began.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use orlop_builder::event::{Event, Observer, TaskId};
use orlop_runner::{Stream, Usage};
use serde_json::{Value, json};

use super::{Display, Summary};

/// Writes events as JSON.
#[derive(Debug)]
pub(super) struct RawJson<W> {
    begun: Instant,
    state: Mutex<State<W>>,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    /// Bytes of a character whose end has not come yet.
    cut: HashMap<(TaskId, Stream), Vec<u8>>,
}

impl<W: Write + Send> RawJson<W> {
    pub(super) fn new(out: W) -> Self {
        Self { begun: Instant::now(), state: Mutex::new(State { out, cut: HashMap::new() }) }
    }

    fn write(&self, state: &mut State<W>, event: &str, mut fields: Value) {
        fields["event"] = json!(event);
        fields["time"] = json!(self.begun.elapsed().as_secs_f64());
        // Nobody reads any more: the command goes on.
        let _ = writeln!(state.out, "{fields}");
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

fn usage_fields(usage: &Usage) -> Value {
    json!({
        "wall": usage.wall.as_secs_f64(),
        "user": usage.user.map(|time| time.as_secs_f64()),
        "system": usage.system.map(|time| time.as_secs_f64()),
        "peak_memory": usage.peak_memory,
        "io_read": usage.io_read,
        "io_written": usage.io_written,
        "peak_processes": usage.peak_processes,
        "processes_total": usage.processes_total,
        "processes_left": usage.processes_left,
    })
}

/// Takes the whole characters out of `bytes`; at most three bytes of one that is not complete stay.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let end = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // Something in it is no UTF-8 at all: an incomplete end still waits.
        Err(_) => {
            let cut = bytes.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
            let open = cut > 0
                && std::str::from_utf8(&bytes[bytes.len() - cut..]).is_err_and(|e| e.error_len().is_none());
            if open { bytes.len() - cut } else { bytes.len() }
        }
    };
    let rest = bytes.split_off(end);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    text
}

impl<W: Write + Send> Observer for RawJson<W> {
    fn event(&self, event: Event) {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        match event {
            Event::Started { task, title } => {
                self.write(state, "started", json!({ "task": task, "title": title }))
            }
            Event::Output { task, stream, bytes } => {
                let buffer = state.cut.entry((task, stream)).or_default();
                buffer.extend_from_slice(&bytes);
                let text = whole_characters(buffer);
                if !text.is_empty() {
                    let fields = json!({ "task": task, "stream": name(stream), "text": text });
                    self.write(state, "output", fields);
                }
            }
            Event::Transfer { task, digest, action, current, total } => {
                let fields = json!({
                    "task": task, "digest": digest, "action": action, "current": current, "total": total,
                });
                self.write(state, "transfer", fields);
            }
            Event::Note { task, text } => self.write(state, "note", json!({ "task": task, "text": text })),
            Event::Job { task, report } => {
                let report = serde_json::to_value(&report).expect("numbers and text are JSON");
                self.write(state, "job", json!({ "task": task, "report": report }));
            }
            Event::Finished { task, outcome, duration, usage, layer } => {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    if let Some(rest) = state.cut.remove(&(task, stream)).filter(|rest| !rest.is_empty()) {
                        let text = String::from_utf8_lossy(&rest);
                        let fields = json!({ "task": task, "stream": name(stream), "text": text });
                        self.write(state, "output", fields);
                    }
                }
                let fields = json!({
                    "task": task,
                    "outcome": outcome,
                    "duration": duration.as_secs_f64(),
                    "usage": usage.as_ref().map(usage_fields),
                    "layer": layer.map(|(diff_id, size)| json!({ "diff_id": diff_id, "size": size })),
                });
                self.write(state, "finished", fields);
            }
            Event::Warning { text, span, hint, rule } => {
                let span = span.map(|span| json!({ "start": span.start, "end": span.end }));
                self.write(
                    state,
                    "warning",
                    json!({ "text": text, "span": span, "hint": hint, "rule": rule }),
                );
            }
        }
    }
}

impl<W: Write + Send + std::fmt::Debug> Display for RawJson<W> {
    fn finish(&self) {}

    fn summary(&self, summary: &Summary) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = serde_json::to_value(summary).expect("numbers, text and digests are JSON");
        self.write(&mut state, "summary", fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_builder::event::{Outcome, Progress};

    #[test]
    fn every_line_is_an_object_with_the_documented_names() {
        let raw = RawJson::new(Vec::new());
        let progress = Progress::new(&raw);
        let task = progress.start("RUN x");
        task.output(Stream::Stdout, "é".as_bytes()[..1].as_ref());
        task.output(Stream::Stdout, &"é".as_bytes()[1..]);
        task.output(Stream::Stderr, b"\xff\xc3");
        task.note("n");
        task.finish(Outcome::Done, Some(Usage::default()), None);
        let out = String::from_utf8(raw.state.into_inner().unwrap().out).unwrap();
        let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["started", "output", "output", "note", "output", "finished"]);
        assert_eq!(lines[1]["text"], "é");
        assert_eq!(lines[2]["text"], "\u{fffd}");
        assert_eq!(lines[4]["stream"], "stderr");
        assert_eq!(lines[5]["outcome"], "done");
        assert_eq!((&lines[5]["usage"]["wall"], &lines[5]["usage"]["user"]), (&json!(0.0), &Value::Null));
        assert!(lines.iter().all(|l| l["time"].is_f64()));
    }
}
