//! A file of credentials as text with an order, so that a change to one entry leaves every other byte's meaning:
//! the order of keys, numbers with more digits than a float holds, keys that are there twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object: keys in their order, values as they are written.
pub(super) struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    out.push(entry);
                }
                Ok(Entries(out))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Entries {
    /// An object's text; nothing where it is none. An empty file and `null` are empty objects.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "" | "null" => Some(Self(Vec::new())),
            text => serde_json::from_str(text).ok(),
        }
    }

    /// An object of texts.
    pub(super) fn of(fields: &[(&str, String)]) -> Option<Self> {
        let entry = |(key, value): &(&str, String)| {
            let value = serde_json::value::to_raw_value(value).ok()?;
            Some(((*key).to_owned(), value))
        };
        fields.iter().map(entry).collect::<Option<_>>().map(Self)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.get())
    }

    /// Puts a value where the key is, or at the end.
    pub(super) fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().rfind(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Drops the keys that are so, and says whether there were any.
    pub(super) fn drop_where(&mut self, is: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| !is(key));
        self.0.len() != before
    }

    /// The text, indented by tabs as Docker does, below `depth` of them.
    pub(super) fn text(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let (tabs, less) = ("\t".repeat(depth + 1), "\t".repeat(depth));
        let line = |(key, value): &(String, Box<RawValue>)| {
            format!("{tabs}{}: {}", serde_json::Value::from(key.as_str()), value.get())
        };
        let lines: Vec<String> = self.0.iter().map(line).collect();
        format!("{{\n{}\n{less}}}", lines.join(",\n"))
    }

    /// The same as a value of another object.
    pub(super) fn raw(&self, depth: usize) -> Option<Box<RawValue>> {
        RawValue::from_string(self.text(depth)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_is_written() {
        let text = r#"{"z": 12345678901234567890123.10, "a" : {"y":1,"x":  [1e400]}, "a\u0301": null}"#;
        let mut entries = Entries::parse(text).unwrap();
        assert_eq!(
            entries.text(0),
            "{\n\t\"z\": 12345678901234567890123.10,\n\t\"a\": {\"y\":1,\"x\":  [1e400]},\n\t\"a\u{301}\": null\n}"
        );
        entries.set("z", RawValue::from_string("1".into()).unwrap());
        assert_eq!(entries.get("z"), Some("1"));
        assert!(entries.drop_where(|key| key != "z") && !entries.drop_where(|key| key != "z"));
        assert_eq!(entries.text(0), "{\n\t\"z\": 1\n}");
        assert_eq!(Entries::parse(" ").unwrap().text(0), "{}");
        for bad in ["[]", "1", "{", "{}x", "\"\""] {
            assert!(Entries::parse(bad).is_none(), "{bad}");
        }
    }
}
