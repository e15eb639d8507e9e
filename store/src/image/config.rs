//! An image's config: JSON of which every field is kept, known or not, with typed access to those that a
//! builder sets.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::MAX_CONFIG;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// An image config (OCI image specification, "Image Configuration", and Docker's additions to it).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    root: Map<String, Value>,
}

/// One entry of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When, in RFC 3339.
    pub created: Option<String>,
    /// The instruction.
    pub created_by: Option<String>,
    /// Who.
    pub author: Option<String>,
    /// Free text; builders put their name here.
    pub comment: Option<String>,
    /// Whether the entry has no layer.
    pub empty_layer: bool,
}

/// A health check. Times are in nanoseconds, 0 means inherited or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: u64,
    /// For one check.
    pub timeout: u64,
    /// While the container starts.
    pub start_period: u64,
    /// Between two checks while the container starts.
    pub start_interval: u64,
    /// Failures in a row that mean unhealthy.
    pub retries: u64,
}

impl Config {
    /// The config of an image of nothing.
    pub(super) fn scratch(platform: &Platform) -> Self {
        let mut config = Self::nothing();
        config.root.insert("config".to_owned(), json!({}));
        config.root.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": []}));
        config.root.insert("history".to_owned(), json!([]));
        config.set_platform(platform);
        config
    }

    /// No config at all.
    pub(super) fn nothing() -> Self {
        Self { root: Map::new() }
    }

    /// Reads a config.
    ///
    /// # Errors
    /// When it is too large, malformed, or a field that orlop uses has another type than it must have.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let what = || format!("image config {}", Digest::of(bytes));
        let size = bytes.len() as u64;
        if size > MAX_CONFIG {
            return Err(Error::TooLarge { what: what(), size, limit: MAX_CONFIG });
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|e| Error::invalid(what(), e))?;
        let Value::Object(root) = value else {
            return Err(Error::invalid(what(), "it is not a JSON object"));
        };
        let config = Self { root };
        check::check(&config.root).map_err(|why| Error::invalid(what(), why))?;
        Ok(config)
    }

    /// The config as JSON with sorted keys.
    pub fn to_bytes(&self) -> Vec<u8> {
        // `Map` is sorted: serde_json's `preserve_order` is not enabled in this workspace.
        Value::Object(self.root.clone()).to_string().into_bytes()
    }

    /// The whole document.
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.root
    }

    fn section(&self) -> Option<&Map<String, Value>> {
        self.root.get("config").and_then(Value::as_object)
    }

    fn field(&self, name: &str) -> Option<&Value> {
        self.section()?.get(name)
    }

    fn set_field(&mut self, name: &str, value: Option<Value>) {
        let section = self.root.entry("config").or_insert_with(|| json!({}));
        if !section.is_object() {
            *section = json!({});
        }
        let Some(section) = section.as_object_mut() else { return };
        match value {
            Some(value) => section.insert(name.to_owned(), value),
            None => section.remove(name),
        };
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str().filter(|t| !t.is_empty())
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        let list = self.field(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn set(&self, name: &str) -> BTreeSet<String> {
        self.field(name).and_then(Value::as_object).into_iter().flat_map(|m| m.keys().cloned()).collect()
    }

    fn add_to_set(&mut self, name: &str, key: &str) {
        self.add_to_map(name, key, json!({}));
    }

    fn add_to_map(&mut self, name: &str, key: &str, value: Value) {
        let map = self.section_of(name, json!({}));
        match map.as_object_mut() {
            Some(map) => drop(map.insert(key.to_owned(), value)),
            None => *map = json!({ key: value }),
        }
    }

    /// A field of the section `config`, to be changed in place: a Dockerfile may set ten thousand variables.
    fn section_of(&mut self, name: &str, missing: Value) -> &mut Value {
        let section = self.root.entry("config").or_insert_with(|| json!({}));
        if !section.is_object() {
            *section = json!({});
        }
        match section {
            Value::Object(section) => section.entry(name).or_insert(missing),
            other => other,
        }
    }

    fn set_text(&mut self, name: &str, text: Option<&str>) {
        self.set_field(name, text.filter(|t| !t.is_empty()).map(Value::from));
    }

    fn set_list(&mut self, name: &str, list: Option<Vec<String>>) {
        self.set_field(name, list.map(Value::from));
    }

    /// Environment in order. An entry without `=` has an empty value.
    pub fn env(&self) -> Vec<(String, String)> {
        self.list("Env")
            .unwrap_or_default()
            .into_iter()
            .map(|entry| match entry.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => (entry, String::new()),
            })
            .collect()
    }

    /// How many variables there are.
    pub fn variables(&self) -> usize {
        self.field("Env").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// The value of the variable whose name `same` knows.
    pub fn variable(&self, same: impl Fn(&str) -> bool) -> Option<&str> {
        let entries = self.field("Env")?.as_array()?.iter().filter_map(Value::as_str);
        let mut pairs = entries.map(|entry| entry.split_once('=').unwrap_or((entry, "")));
        pairs.find(|(name, _)| same(name)).map(|(_, value)| value)
    }

    /// Sets a variable: in its old place where there is one of that name, else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.set_env_where(name, value, |old| old == name);
    }

    /// As [`set_env`](Self::set_env), where `same` says which old name means the same variable: on Windows case makes
    /// no difference.
    pub fn set_env_where(&mut self, name: &str, value: &str, same: impl Fn(&str) -> bool) {
        let entry = Value::from(format!("{name}={value}"));
        let is_it = |e: &&mut Value| e.as_str().and_then(|text| text.split('=').next()).is_some_and(&same);
        let list = self.section_of("Env", json!([]));
        match list.as_array_mut() {
            Some(list) => match list.iter_mut().find(is_it) {
                Some(old) => *old = entry,
                None => list.push(entry),
            },
            None => *list = json!([entry]),
        }
    }

    /// Default command.
    pub fn cmd(&self) -> Option<Vec<String>> {
        self.list("Cmd")
    }

    /// Sets the default command; none removes it.
    pub fn set_cmd(&mut self, cmd: Option<Vec<String>>) {
        self.set_list("Cmd", cmd);
    }

    /// Entry point.
    pub fn entrypoint(&self) -> Option<Vec<String>> {
        self.list("Entrypoint")
    }

    /// Sets the entry point; none removes it.
    pub fn set_entrypoint(&mut self, entrypoint: Option<Vec<String>>) {
        self.set_list("Entrypoint", entrypoint);
    }

    /// Labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let Some(labels) = self.field("Labels").and_then(Value::as_object) else { return BTreeMap::new() };
        labels.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    }

    /// Sets a label.
    pub fn set_label(&mut self, name: &str, value: &str) {
        self.add_to_map("Labels", name, Value::from(value));
    }

    /// User and group that processes run as; none means root.
    pub fn user(&self) -> Option<&str> {
        self.text("User")
    }

    /// Sets the user.
    pub fn set_user(&mut self, user: Option<&str>) {
        self.set_text("User", user);
    }

    /// Working directory; none means `/`.
    pub fn working_dir(&self) -> Option<&str> {
        self.text("WorkingDir")
    }

    /// Sets the working directory.
    pub fn set_working_dir(&mut self, dir: Option<&str>) {
        self.set_text("WorkingDir", dir);
    }

    /// Exposed ports, `80/tcp`.
    pub fn exposed_ports(&self) -> BTreeSet<String> {
        self.set("ExposedPorts")
    }

    /// Adds an exposed port, `80/tcp`.
    pub fn add_exposed_port(&mut self, port: &str) {
        self.add_to_set("ExposedPorts", port);
    }

    /// Volumes.
    pub fn volumes(&self) -> BTreeSet<String> {
        self.set("Volumes")
    }

    /// Adds a volume.
    pub fn add_volume(&mut self, path: &str) {
        self.add_to_set("Volumes", path);
    }

    /// Signal that stops a container.
    pub fn stop_signal(&self) -> Option<&str> {
        self.text("StopSignal")
    }

    /// Sets the signal that stops a container.
    pub fn set_stop_signal(&mut self, signal: Option<&str>) {
        self.set_text("StopSignal", signal);
    }

    /// Shell of the shell form of instructions.
    pub fn shell(&self) -> Option<Vec<String>> {
        self.list("Shell")
    }

    /// Sets the shell.
    pub fn set_shell(&mut self, shell: Option<Vec<String>>) {
        self.set_list("Shell", shell);
    }

    /// Health check.
    pub fn healthcheck(&self) -> Option<Healthcheck> {
        let map = self.field("Healthcheck")?.as_object()?;
        let number = |name: &str| map.get(name).and_then(Value::as_u64).unwrap_or(0);
        let test = map.get("Test").and_then(Value::as_array);
        let words = test.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Some(Healthcheck {
            test: words.collect(),
            interval: number("Interval"),
            timeout: number("Timeout"),
            start_period: number("StartPeriod"),
            start_interval: number("StartInterval"),
            retries: number("Retries"),
        })
    }

    /// Sets the health check; none removes it.
    pub fn set_healthcheck(&mut self, check: Option<&Healthcheck>) {
        let value = check.map(|check| {
            let mut map = Map::new();
            if !check.test.is_empty() {
                map.insert("Test".to_owned(), Value::from(check.test.clone()));
            }
            let numbers = [
                ("Interval", check.interval),
                ("Timeout", check.timeout),
                ("StartPeriod", check.start_period),
                ("StartInterval", check.start_interval),
                ("Retries", check.retries),
            ];
            map.extend(numbers.into_iter().filter(|n| n.1 != 0).map(|(k, v)| (k.to_owned(), Value::from(v))));
            Value::Object(map)
        });
        self.set_field("Healthcheck", value);
    }

    /// Instructions for images that are built on this one.
    pub fn on_build(&self) -> Vec<String> {
        self.list("OnBuild").unwrap_or_default()
    }

    /// Sets the instructions for images that are built on this one; of none, removes the field.
    pub fn set_on_build(&mut self, instructions: Vec<String>) {
        self.set_list("OnBuild", (!instructions.is_empty()).then_some(instructions));
    }

    /// Adds an instruction for images that are built on this one.
    pub fn add_on_build(&mut self, instruction: &str) {
        let list = self.section_of("OnBuild", json!([]));
        match list.as_array_mut() {
            Some(list) => list.push(Value::from(instruction)),
            None => *list = json!([instruction]),
        }
    }

    /// Whether the command of a Windows image is one line that is already quoted.
    pub fn args_escaped(&self) -> bool {
        self.field("ArgsEscaped").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Sets [`Config::args_escaped`]; false removes the field.
    pub fn set_args_escaped(&mut self, escaped: bool) {
        self.set_field("ArgsEscaped", escaped.then_some(Value::Bool(true)));
    }

    /// Author.
    pub fn author(&self) -> Option<&str> {
        self.root.get("author")?.as_str().filter(|t| !t.is_empty())
    }

    /// Sets the author.
    pub fn set_author(&mut self, author: Option<&str>) {
        self.set_root("author", author);
    }

    /// When the image was made, in RFC 3339.
    pub fn created(&self) -> Option<&str> {
        self.root.get("created")?.as_str().filter(|t| !t.is_empty())
    }

    /// Sets the cache that an image carries for later builds, as BuildKit has it (`moby.buildkit.cache.v0`): records
    /// of its steps, as BASE64 of their JSON.
    pub fn set_inline_cache(&mut self, records: &str) {
        self.set_root("moby.buildkit.cache.v0", Some(records));
    }

    /// Sets when the image was made, in RFC 3339.
    pub fn set_created(&mut self, created: Option<&str>) {
        self.set_root("created", created);
    }

    fn set_root(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.root.insert(name.to_owned(), Value::from(text)),
            None => self.root.remove(name),
        };
    }

    /// What the image is for; empty fields where it does not say.
    pub fn platform(&self) -> Platform {
        let text = |name: &str| self.root.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let some = |name: &str| Some(text(name)).filter(|t| !t.is_empty());
        let features = self.root.get("os.features").and_then(Value::as_array);
        Platform {
            os: text("os"),
            architecture: text("architecture"),
            variant: some("variant"),
            os_version: some("os.version"),
            os_features: features
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Sets what the image is for.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.set_root("os", Some(&platform.os));
        self.set_root("architecture", Some(&platform.architecture));
        self.set_root("variant", platform.variant.as_deref());
        self.set_root("os.version", platform.os_version.as_deref());
        match platform.os_features.as_slice() {
            [] => self.root.remove("os.features"),
            some => self.root.insert("os.features".to_owned(), Value::from(some)),
        };
    }

    /// Diff IDs, bottom first.
    pub fn diff_ids(&self) -> Vec<Digest> {
        let ids = self.root.get("rootfs").and_then(|r| r.get("diff_ids")).and_then(Value::as_array);
        ids.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect()
    }

    /// History, oldest first.
    pub fn history(&self) -> Vec<History> {
        let entries = self.root.get("history").and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .map(|entry| {
                let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
                History {
                    created: text("created"),
                    created_by: text("created_by"),
                    author: text("author"),
                    comment: text("comment"),
                    empty_layer: entry.get("empty_layer").and_then(Value::as_bool).unwrap_or(false),
                }
            })
            .collect()
    }

    /// The newest entry of the history.
    pub fn last_created_by(&self) -> Option<&str> {
        self.root.get("history")?.as_array()?.last()?.get("created_by")?.as_str()
    }

    /// When the newest thing in the image was made, as its history says.
    pub fn last_created(&self) -> Option<&str> {
        let entries = self.root.get("history").and_then(Value::as_array)?;
        entries.iter().rev().find_map(|entry| entry.get("created")?.as_str())
    }

    /// Readers match history and layers by counting, so a history that does not fit the layers is mended before it
    /// is added to, as BuildKit does: layers that it does not speak of get an entry, and entries that have no layer
    /// say so.
    pub(super) fn mend_history(&mut self) {
        let layers = self.diff_ids().len();
        let mut known = 0;
        for entry in self.root.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
            if entry.get("empty_layer").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            match entry.as_object_mut() {
                Some(entry) if known == layers => {
                    drop(entry.insert("empty_layer".to_owned(), Value::Bool(true)))
                }
                _ => known += 1,
            }
        }
        let missing = (known..layers).map(|_| json!({"comment": "layer without history"}));
        if known < layers {
            self.extend_history(missing);
        }
    }

    fn extend_history(&mut self, entries: impl Iterator<Item = Value>) {
        let list = self.root.entry("history").or_insert_with(|| json!([]));
        match list.as_array_mut() {
            Some(list) => list.extend(entries),
            None => *list = entries.collect(),
        }
    }

    /// Adds an entry to a history that [fits the layers](Self::mend_history).
    pub(super) fn push_history(&mut self, history: History) {
        let created = history.created.clone();
        self.extend_history(std::iter::once(history.to_json()));
        if created.is_some() {
            self.set_created(created.as_deref());
        }
    }

    pub(super) fn push_layer(&mut self, diff_id: &Digest, history: History) {
        self.push_history(history);
        let rootfs = self.root.entry("rootfs").or_insert_with(|| json!({"type": "layers"}));
        if let Some(rootfs) = rootfs.as_object_mut() {
            rootfs.entry("type").or_insert_with(|| Value::from("layers"));
            let ids = rootfs.entry("diff_ids").or_insert_with(|| json!([]));
            if !ids.is_array() {
                *ids = json!([]);
            }
            if let Some(ids) = ids.as_array_mut() {
                ids.push(Value::from(diff_id.to_string()));
            }
        }
    }
}

impl History {
    fn to_json(&self) -> Value {
        let mut map = Map::new();
        let texts = [
            ("created", &self.created),
            ("created_by", &self.created_by),
            ("author", &self.author),
            ("comment", &self.comment),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                map.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if self.empty_layer {
            map.insert("empty_layer".to_owned(), Value::Bool(true));
        }
        Value::Object(map)
    }
}
