//! `orlop/config.toml`, the machine's and the user's: what flags say, written down once.
//!
//! ```toml
//! [limits]                # the names are those of the flags of `orlop build`
//! memory = "2g"
//! cpu-time = "30m"
//! isolation = "job,allow=app-container"
//! mitigation = ["win32k-off"]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::diagnostics::Failure;
use crate::system::places;
use crate::{env, file};

/// What `[limits]` may hold.
const KEYS: [&str; 11] = [
    "memory",
    "process-memory",
    "cpus",
    "cpu-weight",
    "pids-limit",
    "cpu-time",
    "net-rate",
    "timeout",
    "isolation",
    "mitigation",
    "host-system-files",
];

/// What the files say, as text: each flag has its own reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, Value>,
}

#[derive(Clone, Debug)]
struct Value {
    texts: Vec<String>,
    /// File and line, for messages.
    place: String,
}

impl Settings {
    /// Reads the file that the environment names, else the machine's and then the user's, key by key.
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut out = Self::default();
        if let Some(path) = env::ORLOP_CONFIG.get().map(PathBuf::from) {
            out.add_bytes(&path.display().to_string(), file::read(&path, super::MAX_FILE)?)?;
            return Ok(out);
        }
        for dir in [Some(places::system_config()), places::user_config()].into_iter().flatten() {
            let path = dir.join("orlop").join("config.toml");
            if let Some(bytes) = file::read_optional(&path, super::MAX_FILE)? {
                out.add_bytes(&path.display().to_string(), bytes)?;
            }
        }
        Ok(out)
    }

    fn add_bytes(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        let text = String::from_utf8(bytes).map_err(|_| Failure::user(format!("`{name}` is not UTF-8")))?;
        self.add(name, &text)
    }

    /// Adds a file's text; what it says replaces what earlier ones said.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let at = |span: Option<std::ops::Range<usize>>| {
            let before = text.get(..span.map_or(0, |span| span.start)).unwrap_or_default();
            format!("`{name}`, line {}", before.matches('\n').count() + 1)
        };
        let bad = |place: String, why: String| Failure::user(format!("{place}: {why}"));
        let mut root = toml::de::DeTable::parse(text)
            .map_err(|error| bad(at(error.span()), error.message().to_owned()))?
            .into_inner();
        let limits = root.remove("limits");
        if let Some((key, _)) = root.iter().next() {
            return Err(bad(at(Some(key.span())), format!("nothing is called `{}` here", key.get_ref()))
                .with_hint("the only table is `[limits]`".to_owned()));
        }
        let Some(limits) = limits else { return Ok(()) };
        let place = at(Some(limits.span()));
        let toml::de::DeValue::Table(table) = limits.into_inner() else {
            return Err(
                bad(place, "`limits` is not a table".to_owned()).with_hint("write `[limits]`".to_owned())
            );
        };
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let place = at(Some(key.span()));
            if !KEYS.contains(&name.as_str()) {
                return Err(bad(place, format!("there is no limit `{name}`"))
                    .with_hint(format!("one of {}", KEYS.map(|key| format!("`{key}`")).join(", "))));
            }
            let texts = match value.get_ref() {
                toml::de::DeValue::Array(items) => items.iter().map(|item| text_of(item.get_ref())).collect(),
                one => text_of(one).map(|text| vec![text]),
            };
            let Some(texts) = texts else {
                return Err(bad(place, format!("`{name}` is neither text nor a number")));
            };
            self.values.insert(name, Value { texts, place });
        }
        Ok(())
    }

    /// The value of a key that has one, read as its flag is.
    pub(crate) fn value<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let [text] = value.texts.as_slice() else {
            return Err(Failure::user(format!("{}: `{key}` has one value, not a list", value.place)));
        };
        read(text).map(Some).map_err(|why| Failure::user(format!("{}: `{key}`: {why}", value.place)))
    }

    /// The values of a key whose flag may be repeated.
    pub(crate) fn values<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Failure> {
        let Some(value) = self.values.get(key) else { return Ok(Vec::new()) };
        let bad = |why| Failure::user(format!("{}: `{key}`: {why}", value.place));
        value.texts.iter().map(|text| read(text).map_err(bad)).collect()
    }
}

/// A value as a flag would have it; a date or a table is none.
fn text_of(value: &toml::de::DeValue<'_>) -> Option<String> {
    match value {
        toml::de::DeValue::String(text) => Some(text.to_string()),
        toml::de::DeValue::Integer(number) => Some(number.to_string()),
        toml::de::DeValue::Float(number) => Some(number.to_string()),
        toml::de::DeValue::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_replace_key_by_key() {
        let mut settings = Settings::default();
        settings.add("machine", "[limits]\nmemory = \"1g\"\ncpus = 1.5\n").unwrap();
        settings.add("user", "# nothing but\n[limits]\nmemory = 7\n").unwrap();
        let text = |key| settings.value(key, |text| Ok(text.to_owned())).unwrap();
        assert_eq!(
            (text("memory").as_deref(), text("cpus").as_deref(), text("timeout")),
            (Some("7"), Some("1.5"), None)
        );
    }

    #[test]
    fn what_nobody_knows_is_an_error_with_its_line() {
        for (text, why) in [
            ("\n[limit]\n", "`f`, line 2: nothing is called `limit` here"),
            ("[limits]\nmemory = \"1g\"\nmemmory = 1\n", "`f`, line 3: there is no limit `memmory`"),
            ("limits = 1\n", "`limits` is not a table"),
            ("[limits]\nmemory =\n", "`f`, line 2: "),
            ("[limits]\nmemory = 1979-05-27\n", "neither text nor a number"),
            ("[limits]\nmemory = [[1]]\n", "neither text nor a number"),
            ("[limits]\nmemory = 1\nmemory = 2\n", "line 3"),
        ] {
            let error = Settings::default().add("f", text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let mut settings = Settings::default();
        settings.add("f", "[limits]\nmemory = [1, 2]\n").unwrap();
        let error = settings.value("memory", |text| Ok(text.to_owned())).unwrap_err().to_string();
        assert!(error.contains("line 2: `memory` has one value"), "{error}");
        assert_eq!(settings.values("memory", |text| Ok(text.to_owned())).unwrap(), ["1", "2"]);
    }
}
