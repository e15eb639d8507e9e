//! `registries.conf`: containers-registries.conf(5), version 2, and the lists of version 1.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;

/// What the files of `registries.conf` say, one laid over the other.
#[derive(Clone, Debug, Default)]
pub struct RegistriesConf {
    pub(super) registries: Vec<RegistryEntry>,
    pub(super) search: Option<Search>,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) mode: Option<ShortNameMode>,
    helpers: Option<Vec<String>>,
    warnings: Vec<String>,
    files: usize,
}

/// One `[[registry]]`.
#[derive(Clone, Debug)]
pub(super) struct RegistryEntry {
    pub(super) prefix: String,
    /// Where the names below the prefix really are; empty where they are what they say.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
    /// The file that says so.
    pub(super) file: String,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pulls: Pulls,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulls {
    All,
    Digests,
    Tags,
}

/// `unqualified-search-registries`.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) registries: Vec<String>,
    pub(super) file: String,
}

/// One line of `[aliases]`.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) full: String,
    pub(super) file: String,
}

/// The version of a file's format.
#[derive(PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// `short-name-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShortNameMode {
    Enforcing,
    Permissive,
    Disabled,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<RawRegistry>,
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<Lists>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRegistry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    pull_from_mirror: Option<String>,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    search: List,
    insecure: List,
    block: List,
}

#[derive(Default, Deserialize)]
struct List {
    #[serde(default)]
    registries: Vec<String>,
}

impl RegistriesConf {
    /// Lays the text of one more file over the earlier ones, as containers-registries.conf.d(5) has it: a table of
    /// the same prefix, an alias of the same name and a setting replace the earlier one. `name` is for messages.
    ///
    /// # Errors
    /// When the text is no TOML, or says what contradicts itself.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let bad = |what: String| Error::Config { name: name.to_owned(), what };
        let file: File = toml::from_str(text).map_err(|e| bad(one_line(&e.to_string())))?;
        let mut own = Self::default();
        if own.read(name, file).map_err(bad)? == Version::One && self.files > 0 {
            return Err(bad(
                "it is of version 1, which only the main file may be: write `[[registry]]` tables".into(),
            ));
        }
        self.registries.retain(|old| own.registries.iter().all(|new| new.prefix != old.prefix));
        self.registries.append(&mut own.registries);
        self.search = own.search.or_else(|| self.search.take());
        self.aliases.extend(own.aliases);
        // An empty one erases what an earlier file said.
        self.aliases.retain(|_, alias| !alias.full.is_empty());
        if own.helpers.is_some() {
            self.helpers = own.helpers;
        }
        self.mode = own.mode.or(self.mode);
        self.warnings.append(&mut own.warnings);
        self.warnings
            .extend(unknown_keys(text).into_iter().map(|key| format!("`{name}`: `{key}` means nothing")));
        self.files += 1;
        Ok(())
    }

    /// What the files say and orlop cannot follow, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// `credential-helpers`, where a file has that line: where logins are looked for, in order. The word
    /// `containers-auth.json` stands for the files of credentials.
    pub fn credential_helpers(&self) -> Option<&[String]> {
        self.helpers.as_deref()
    }

    /// The entry with the longest prefix that `name` (`HOST/REPOSITORY`) is below, and how many bytes of the name
    /// the prefix stands for.
    pub(super) fn find(&self, name: &str) -> Option<(&RegistryEntry, usize)> {
        let mut found: Option<(&RegistryEntry, usize)> = None;
        for entry in &self.registries {
            let Some(matched) = prefix_length(&entry.prefix, name) else { continue };
            // Of equals the first counts.
            if found.is_none_or(|(best, _)| entry.prefix.len() > best.prefix.len()) {
                found = Some((entry, matched));
            }
        }
        found
    }

    /// Whether a host (`HOST` or `HOST:PORT`) is called insecure: by its own table, or as the place of a mirror or of
    /// what another table remaps.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        let is_at = |location: &str| location.split('/').next() == Some(host);
        let itself = self.find(host).is_some_and(|(e, _)| {
            // What is remapped is elsewhere, and it is that place which is insecure.
            e.insecure && (e.location.is_empty() || e.location == e.prefix)
        });
        itself
            || self.registries.iter().any(|e| {
                (e.insecure && e.location != e.prefix && is_at(&e.location))
                    || e.mirrors.iter().any(|m| m.insecure && is_at(&m.location))
            })
    }
}

/// How many bytes of `name` the prefix stands for, if it does.
fn prefix_length(prefix: &str, name: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        // `*.example.com` is for every host below, whatever its port.
        Some(domain) => {
            let host = name.split(['/', ':']).next()?;
            host.ends_with(domain).then_some(host.len())?
        }
        None => name.starts_with(prefix).then_some(prefix.len())?,
    };
    let rest = name.get(end..)?;
    (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(end)
}

/// Reading one file.
impl RegistriesConf {
    fn read(&mut self, name: &str, file: File) -> Result<Version, String> {
        if let Some(lists) = file.registries {
            if !file.registry.is_empty()
                || file.unqualified_search_registries.is_some()
                || !file.aliases.is_empty()
            {
                return Err(
                    "version 1 (`[registries.search]`) and version 2 (`[[registry]]`) in one file".into()
                );
            }
            self.read_lists(name, &lists)?;
            return Ok(Version::One);
        }
        for raw in file.registry {
            let entry = self.entry(name, raw)?;
            // As podman has it: the first of a prefix hides the others of the file.
            if self.registries.iter().all(|earlier| earlier.prefix != entry.prefix) {
                self.registries.push(entry);
            }
        }
        if let Some(search) = file.unqualified_search_registries {
            let registries = search.iter().map(|r| location(r)).collect::<Result<_, _>>()?;
            self.search = Some(Search { registries, file: name.to_owned() });
        }
        self.mode = match file.short_name_mode.as_deref() {
            None | Some("") => None,
            Some("permissive") => Some(ShortNameMode::Permissive),
            Some("enforcing") => Some(ShortNameMode::Enforcing),
            Some("disabled") => Some(ShortNameMode::Disabled),
            Some(other) => {
                return Err(format!(
                    "`short-name-mode` is `{other}`, and can be `enforcing`, `permissive` or `disabled`"
                ));
            }
        };
        self.helpers = file.credential_helpers;
        for (short, full) in file.aliases {
            check_alias(&short, &full)?;
            self.aliases.insert(short, Alias { full, file: name.to_owned() });
        }
        Ok(Version::Two)
    }

    fn entry(&mut self, name: &str, raw: RawRegistry) -> Result<RegistryEntry, String> {
        let mut prefix = location(&raw.prefix)?;
        let place = location(&raw.location)?;
        if prefix.is_empty() {
            if place.is_empty() {
                return Err("a `[[registry]]` needs a `prefix` or a `location`".into());
            }
            prefix.clone_from(&place);
        } else if place.is_empty() && !prefix.starts_with("*.") {
            return Err(format!(
                "the `[[registry]]` of `prefix = \"{prefix}\"` needs a `location`; only `*.example.com` can do without"
            ));
        }
        if raw.pull_from_mirror.is_some() {
            return Err(format!("`pull-from-mirror` stands in the mirrors of `{prefix}`, not in itself"));
        }
        let (host, path) = prefix.split_once('/').unwrap_or((&prefix, ""));
        if path.contains([':', '@']) {
            self.warnings.push(format!(
                "`{name}`: `{prefix}` has a tag or digest, and a `[[registry]]` is chosen by the repository alone, \
                 as podman does it"
            ));
        }
        if host.contains('*')
            && (!host.starts_with("*.") || host[1..].contains(['*', ':']) || !path.is_empty())
        {
            self.warnings.push(format!(
                "`{name}`: `{prefix}` never matches: a `*` stands in front of a domain alone, as in `*.example.com`"
            ));
        }
        let mut mirrors = Vec::new();
        for mirror in raw.mirror {
            let to = location(&mirror.location)?;
            if to.is_empty() {
                return Err(format!("a mirror of `{prefix}` has no `location`"));
            }
            let pulls = match (mirror.pull_from_mirror.as_str(), raw.mirror_by_digest_only) {
                ("", true) => Pulls::Digests,
                (_, true) => {
                    return Err(format!(
                        "`{prefix}` has `mirror-by-digest-only`, and its mirror `{to}` has `pull-from-mirror`: \
                         only one of them can count"
                    ));
                }
                ("" | "all", false) => Pulls::All,
                ("digest-only", false) => Pulls::Digests,
                ("tag-only", false) => Pulls::Tags,
                (other, false) => {
                    return Err(format!(
                        "`pull-from-mirror` of `{to}` is `{other}`, and can be `all`, `digest-only` or `tag-only`"
                    ));
                }
            };
            mirrors.push(Mirror { location: to, insecure: mirror.insecure, pulls });
        }
        let entry = RegistryEntry {
            prefix,
            location: place,
            insecure: raw.insecure,
            blocked: raw.blocked,
            mirrors,
            file: name.to_owned(),
        };
        let same = self.registries.iter().find(|e| !e.location.is_empty() && e.location == entry.location);
        for (what, differs) in [
            ("insecure", same.is_some_and(|e| e.insecure != entry.insecure)),
            ("blocked", same.is_some_and(|e| e.blocked != entry.blocked)),
        ] {
            if differs {
                return Err(format!(
                    "`{}` has two `[[registry]]` tables that differ in `{what}`",
                    entry.location
                ));
            }
        }
        Ok(entry)
    }

    fn read_lists(&mut self, name: &str, lists: &Lists) -> Result<(), String> {
        let all = lists.insecure.registries.iter().chain(&lists.block.registries);
        for text in all {
            let prefix = location(text)?;
            if prefix.is_empty() || self.registries.iter().any(|e| e.prefix == prefix) {
                continue;
            }
            self.registries.push(RegistryEntry {
                location: prefix.clone(),
                insecure: lists.insecure.registries.contains(text),
                blocked: lists.block.registries.contains(text),
                mirrors: Vec::new(),
                file: name.to_owned(),
                prefix,
            });
        }
        let registries = lists.search.registries.iter().map(|r| location(r)).collect::<Result<_, _>>()?;
        self.search = Some(Search { registries, file: name.to_owned() });
        Ok(())
    }
}

/// Keys that are none of a `registries.conf`, with their table. They change nothing, and are likely slips.
fn unknown_keys(text: &str) -> Vec<String> {
    const TOP: [&str; 6] = [
        "registry",
        "unqualified-search-registries",
        "credential-helpers",
        "short-name-mode",
        "aliases",
        "registries",
    ];
    const REGISTRY: [&str; 6] =
        ["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"];
    const MIRROR: [&str; 3] = ["location", "insecure", "pull-from-mirror"];
    fn tables<'a>(table: &'a toml::Table, key: &str) -> impl Iterator<Item = &'a toml::Table> + use<'a> {
        let array = table.get(key).and_then(toml::Value::as_array);
        array.into_iter().flatten().filter_map(toml::Value::as_table)
    }
    fn note(out: &mut Vec<String>, table: &toml::Table, name: &str, known: &[&str]) {
        let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
        out.extend(unknown.map(|key| {
            let key: String = key.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("{name}{key}")
        }));
    }
    let Ok(all) = text.parse::<toml::Table>() else { return Vec::new() };
    let mut out = Vec::new();
    note(&mut out, &all, "", &TOP);
    for registry in tables(&all, "registry") {
        note(&mut out, registry, "registry.", &REGISTRY);
        for mirror in tables(registry, "mirror") {
            note(&mut out, mirror, "registry.mirror.", &MIRROR);
        }
    }
    out
}

/// A place without what podman takes off it.
fn location(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(format!("`{text}`: a registry is written without `http://` or `https://`"));
    }
    if text.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err(format!("`{}` is no place of images", text.escape_debug()));
    }
    Ok(text.to_owned())
}

fn check_alias(short: &str, full: &str) -> Result<(), String> {
    let bad =
        |why: &str| Err(format!("the alias `{}` = `{}`: {why}", short.escape_debug(), full.escape_debug()));
    let short_ok = short.parse::<orlop_store::Reference>().is_ok_and(|r| r.is_short());
    if !short_ok || short.contains([':', '@']) {
        return bad("a short name has no registry, tag or digest");
    }
    if full.is_empty() {
        return Ok(());
    }
    match full.parse::<orlop_store::Reference>() {
        Ok(r) if r.is_short() => bad("it must name a registry"),
        Ok(r) if r.digest().is_none() && !full.rsplit('/').next().unwrap_or_default().contains(':') => Ok(()),
        Ok(_) => bad("it can have no tag or digest"),
        Err(_) => bad("it is no name of an image"),
    }
}

fn one_line(text: &str) -> String {
    text.trim().replace('\n', " ")
}

#[cfg(test)]
mod tests;
