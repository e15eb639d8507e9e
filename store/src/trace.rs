//! Where the time goes: spans of work, told to whoever wants to know.
//!
//! A [`Trace`] is a handle that is passed along like any other value, and of which nothing comes where nobody listens.
//! Whoever does something that takes time holds a [`Span`] meanwhile:
//!
//! ```
//! use orlop_store::trace::{Trace, Value};
//!
//! fn pack(trace: &Trace, name: &str) -> u64 {
//!     let mut span = trace.span("compress", &[("layer", Value::Text(name))]);
//!     let bytes = 42;
//!     span.add("bytes", bytes);
//!     bytes
//! }
//! assert_eq!(pack(&Trace::none(), "a"), 42);
//! ```
//! A span belongs to the thread that began it, and those of one thread lie in each other.

use std::fmt::Debug;
use std::sync::Arc;

use crate::digest::Digest;

/// What is told of a span besides its name. Nothing here may be a secret: a trace is a file that people hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number: bytes, mostly.
    Number(u64),
    /// What the work is done with.
    Digest(Digest),
    /// A word.
    Text(&'a str),
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<Digest> for Value<'_> {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// A value with its name.
pub type Field<'a> = (&'static str, Value<'a>);

/// What a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// Something that users know by name, a step of a build or a push. Phases lie in it.
    Task(&'a str),
    /// A kind of work, by one word.
    Phase(&'static str),
}

/// Told of spans, by the threads that do the work.
pub trait TraceObserver: Debug + Send + Sync {
    /// A span begins in this thread. Gives its number, which its end is told with.
    fn begin(&self, what: What<'_>, values: &[Field<'_>]) -> u64;

    /// A span ends. Also told by another thread, where that drops it.
    fn end(&self, span: u64, values: &[Field<'_>]);

    /// So many bytes of `of` have been moved by now.
    fn moved(&self, counter: &'static str, of: &Digest, bytes: u64);

    /// What this thread is there for.
    fn thread(&self, name: &'static str);
}

/// Where spans are told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<dyn TraceObserver>>);

impl Trace {
    /// Nobody listens, and nothing is done.
    pub const fn none() -> Self {
        Self(None)
    }

    /// `observer` listens.
    pub fn to(observer: Arc<dyn TraceObserver>) -> Self {
        Self(Some(observer))
    }

    /// Begins a phase, which ends when the span is dropped.
    pub fn span(&self, phase: &'static str, values: &[Field<'_>]) -> Span {
        self.begin(What::Phase(phase), values)
    }

    /// Begins a task; `title` as people get to see it.
    pub fn task(&self, title: &str) -> Span {
        self.begin(What::Task(title), &[])
    }

    fn begin(&self, what: What<'_>, values: &[Field<'_>]) -> Span {
        Span(self.0.as_ref().map(|observer| Open {
            number: observer.begin(what, values),
            observer: Arc::clone(observer),
            values: Vec::new(),
        }))
    }

    /// Tells that so many bytes of `of` have been moved by now, for the counter of that name.
    pub fn moved(&self, counter: &'static str, of: &Digest, bytes: u64) {
        if let Some(observer) = &self.0 {
            observer.moved(counter, of, bytes);
        }
    }

    /// Says what the calling thread is there for.
    pub fn thread(&self, name: &'static str) {
        if let Some(observer) = &self.0 {
            observer.thread(name);
        }
    }
}

/// Something that takes time, until it is dropped.
#[derive(Debug, Default)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Open>);

#[derive(Debug)]
struct Open {
    observer: Arc<dyn TraceObserver>,
    number: u64,
    values: Vec<Field<'static>>,
}

impl Span {
    /// Something that nobody is told of.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Adds what is known at the end only.
    pub fn add(&mut self, name: &'static str, value: impl Into<Value<'static>>) {
        if let Some(open) = &mut self.0 {
            open.values.push((name, value.into()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = &self.0 {
            open.observer.end(open.number, &open.values);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Heard(AtomicU64, Mutex<Vec<String>>);

    impl Heard {
        fn say(&self, line: String) {
            self.1.lock().unwrap().push(line);
        }
    }

    impl TraceObserver for Heard {
        fn begin(&self, what: What<'_>, values: &[Field<'_>]) -> u64 {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            self.say(format!("{number} {what:?} {values:?}"));
            number
        }

        fn end(&self, span: u64, values: &[Field<'_>]) {
            self.say(format!("{span} ends {values:?}"));
        }

        fn moved(&self, counter: &'static str, _: &Digest, bytes: u64) {
            self.say(format!("{counter} {bytes}"));
        }

        fn thread(&self, name: &'static str) {
            self.say(name.to_owned());
        }
    }

    fn work(trace: &Trace) {
        trace.thread("worker");
        let _step = trace.task("RUN x");
        let mut span = trace.span("diff", &[("layers", 3_usize.into())]);
        span.add("bytes", 7_u64);
        drop(span);
        trace.moved("uploaded", &Digest::of(b"x"), 9);
    }

    #[test]
    fn spans_begin_and_end_in_order() {
        let heard = Arc::new(Heard::default());
        work(&Trace::to(Arc::clone(&heard) as Arc<dyn TraceObserver>));
        let expected = [
            "worker",
            "0 Task(\"RUN x\") []",
            "1 Phase(\"diff\") [(\"layers\", Number(3))]",
            "1 ends [(\"bytes\", Number(7))]",
            "uploaded 9",
            "0 ends []",
        ];
        assert_eq!(*heard.1.lock().unwrap(), expected);
        work(&Trace::none());
    }
}
