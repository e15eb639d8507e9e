//! What a person should know although nothing failed: mirrors that do not serve, warnings of registries.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;

use crate::client::Core;
use crate::error::clean;

/// Bytes of a warning that are looked at (distribution specification 1.1, "Warnings").
const WARNING_CAP: usize = 4096;
/// Different notices of one client; a registry that has more to say is not heard out.
const NOTICES: usize = 100;

type Callback = dyn Fn(&str) + Send + Sync;

/// Told each notice once.
#[derive(Clone, Default)]
pub struct NoticeObserver(Option<Arc<Callback>>);

impl NoticeObserver {
    /// Calls `f` with one line of text, from any thread.
    pub fn new(f: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }
}

impl fmt::Debug for NoticeObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoticeObserver").field(&self.0.is_some()).finish()
    }
}

/// Notices that were given.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<HashSet<String>>);

impl Core {
    /// Gives a notice, unless one of the same kind about the same place was given.
    pub(crate) fn tell(&self, (place, kind): (&str, Option<String>), text: &str) {
        let Some(f) = &self.config.on_notice.0 else { return };
        let key = format!("{place} {}", kind.unwrap_or_default());
        let mut told = self.told.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < NOTICES && told.insert(key) {
            drop(told);
            f(text);
        }
    }

    /// Shows the warnings of an answer: `Warning: 299 - "text"`.
    pub(crate) fn tell_warnings(&self, registry: &str, headers: &HeaderMap) {
        for text in headers.get_all("warning").iter().filter_map(|value| warning(value.as_bytes())) {
            let text = self.transport.secrets().mask(&text);
            self.tell((registry, Some(text.clone())), &format!("registry `{registry}` says: {text}"));
        }
    }
}

/// The text of a warning; nothing where it is none that a registry may send.
fn warning(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= WARNING_CAP)?;
    let quoted = text.trim().strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut plain = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    Some(clean(&plain)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_registries() {
        for (value, text) in [
            ("299 - \"This image is old\"", Some("This image is old")),
            ("299 - \"a \\\"b\\\\c\"", Some("a \"b\\c")),
            ("299 - \"\"", None),
            ("299 - old", None),
            ("199 - \"x\"", None),
            ("299 host \"x\"", None),
            ("299 - \"a\tb\"", Some("a b")),
        ] {
            assert_eq!(warning(value.as_bytes()).as_deref(), text, "{value}");
        }
        let long = format!("299 - \"{}\"", "x".repeat(5000));
        assert_eq!(warning(long.as_bytes()), None);
    }
}
