//! Flags of BuildKit's syntax, comma-separated `key=value`: each key is asked for once, and what is left over has no
//! meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orlop_builder::output::{Compression, Packing};
use orlop_store::Reference;

/// The keys of one such flag that nobody has asked for yet.
pub(super) struct Keys<'a> {
    flag: &'static str,
    text: &'a str,
    values: BTreeMap<String, String>,
}

impl<'a> Keys<'a> {
    /// Those of `--flag TEXT`, whose fields are `parts`.
    pub(super) fn of(flag: &'static str, text: &'a str, parts: &[String]) -> Result<Self, String> {
        let mut keys = Self { flag, text, values: BTreeMap::new() };
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(keys.bad(&format!("`{part}` is not `key=value`")));
            };
            if keys.values.insert(key.trim().to_ascii_lowercase(), value.to_owned()).is_some() {
                return Err(keys.bad(&format!("`{key}` is given twice")));
            }
        }
        Ok(keys)
    }

    /// What is wrong with the flag.
    pub(super) fn bad(&self, why: &str) -> String {
        format!("`{} {}`: {why}", self.flag, self.text)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => orlop_builder::boolean(&value)
                .map(Some)
                .ok_or_else(|| self.bad(&format!("`{key}={value}` is neither `true` nor `false`"))),
        }
    }

    /// Takes a flag that may only say what happens anyway.
    pub(super) fn refuse_unless(&mut self, key: &str, always: bool, why: &str) -> Result<(), String> {
        match self.flag(key)? {
            Some(value) if value != always => {
                Err(self.bad(&format!("`{key}={value}` is not supported: {why}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn path(&mut self) -> Option<PathBuf> {
        self.take("dest").filter(|dest| !dest.is_empty() && dest != "-").map(PathBuf::from)
    }

    pub(super) fn names(&mut self) -> Result<Vec<Reference>, String> {
        let Some(names) = self.take("name") else { return Ok(Vec::new()) };
        names
            .split(',')
            .map(|name| name.trim().parse::<Reference>().map_err(|error| self.bad(&error.to_string())))
            .collect()
    }

    pub(super) fn packing(&mut self) -> Result<Packing, String> {
        self.refuse_unless("oci-mediatypes", true, "images are written with OCI media types")?;
        self.refuse_unless(
            "rewrite-timestamp",
            false,
            "files keep their times; SOURCE_DATE_EPOCH sets the image's",
        )?;
        let annotations = self.annotations()?;
        Ok(Packing { annotations, ..self.compression()? })
    }

    /// `compression`, `compression-level` and `force-compression`.
    pub(super) fn compression(&mut self) -> Result<Packing, String> {
        let level = match self.take("compression-level") {
            None => None,
            Some(text) => match text.parse::<u8>() {
                Ok(level) if level <= 22 => Some(level),
                _ => {
                    return Err(self.bad(&format!("`compression-level={text}` is not a number from 0 to 22")));
                }
            },
        };
        let compression = match self.take("compression").as_deref() {
            None if level.is_some() => Some(Compression::Gzip(level)),
            None => None,
            Some("gzip") => Some(Compression::Gzip(level)),
            Some("zstd") => Some(Compression::Zstd(level)),
            Some("uncompressed") if level.is_some() => {
                return Err(self.bad("`compression-level` has no effect with `compression=uncompressed`"));
            }
            Some("uncompressed") => Some(Compression::Uncompressed),
            Some("estargz") => {
                return Err(self
                    .bad("`compression=estargz` is not supported (one of `gzip`, `zstd`, `uncompressed`)"));
            }
            Some(other) => {
                return Err(self.bad(&format!(
                    "there is no compression `{other}` (one of `gzip`, `zstd`, `uncompressed`)"
                )));
            }
        };
        match compression {
            Some(Compression::Gzip(Some(level))) if level > 9 => {
                return Err(self.bad(&format!("gzip has levels from 0 to 9, not {level}")));
            }
            Some(Compression::Zstd(Some(0))) => return Err(self.bad("zstd has levels from 1 to 22, not 0")),
            _ => {}
        }
        let force = self.flag("force-compression")?.unwrap_or(false);
        if force && compression.is_none() {
            return Err(self.bad("`force-compression` needs `compression=`"));
        }
        Ok(Packing { compression, force, ..Packing::default() })
    }

    /// `annotation.KEY=VALUE` and `annotation-manifest.KEY=VALUE`; those of indexes and descriptors have
    /// no place in what we write.
    fn annotations(&mut self) -> Result<Vec<(String, String)>, String> {
        let keys: Vec<String> =
            self.values.keys().filter(|key| key.starts_with("annotation")).cloned().collect();
        let mut out = Vec::new();
        for key in keys {
            let name = key.strip_prefix("annotation.").or_else(|| key.strip_prefix("annotation-manifest."));
            match (name, self.take(&key)) {
                (Some(name), Some(value)) if !name.is_empty() => out.push((name.to_owned(), value)),
                _ => return Err(self.bad(&format!("`{key}` is not supported (use `annotation.KEY=VALUE`)"))),
            }
        }
        Ok(out)
    }

    pub(super) fn nothing_left(&self, kind: &str) -> Result<(), String> {
        match self.values.keys().next() {
            Some(key) => Err(self.bad(&format!("`{key}` means nothing for `type={kind}`"))),
            None => Ok(()),
        }
    }
}
