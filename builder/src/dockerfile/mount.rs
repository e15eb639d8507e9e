//! `RUN --mount`.

mod fields;

pub(crate) use self::fields::last_part;
pub(super) use self::fields::{Fault, csv_fields, flag, holds_variable};
use self::fields::{bytes, choice, clean};
use super::instruction::Word;
use super::suggest::did_you_mean;
use crate::source::Span;

/// A `--mount` as written: fields whose values may hold variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// The whole flag.
    pub span: Span,
    /// What follows `--mount=`.
    pub raw: String,
    /// `from`: a stage, its number, an image or a named context. Never holds variables.
    pub from: Option<Word>,
}

/// A `--mount` after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The type.
    pub kind: MountKind,
    /// `from`, where the source is found: a stage, an image, a named context.
    pub from: Option<String>,
    /// `source`, a path in `from` or in the context; for a secret the same as `id`.
    pub source: Option<String>,
    /// `target`, where it is mounted; a relative one starts at WORKDIR. A secret without target and `env` is
    /// at `/run/secrets/` and the last part of its id; one with `env` alone is no file.
    pub target: Option<String>,
    /// `readonly` or `readwrite=false`; without either a bind, a secret and an agent are read-only.
    pub readonly: bool,
    /// `id`. Filled in where it is not given: a cache's clean target, a secret's source or the last part of its
    /// target, an agent's `default`; `None` for the other types.
    pub id: Option<String>,
    /// `sharing` of a cache.
    pub sharing: Sharing,
    /// `mode`, permission bits.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
    /// `size` of a tmpfs in bytes; 0 is no limit.
    pub size: u64,
    /// `required` of a secret or an agent.
    pub required: bool,
    /// `env` of a secret: the variable that is to hold it.
    pub env: Option<String>,
}

/// The type of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// `bind`: files from the context, a stage or an image.
    Bind,
    /// `cache`: a directory kept between builds.
    Cache,
    /// `tmpfs`: memory.
    Tmpfs,
    /// `secret`: a file or variable that is not kept.
    Secret,
    /// `ssh`: an agent's socket.
    Ssh,
}

/// Who may use a cache mount at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Anybody.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// A `--mount` that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError<E: std::error::Error + 'static> {
    /// A value does not expand.
    #[error("`--mount={raw}` cannot be expanded")]
    Expand {
        /// The flag's value.
        raw: String,
        /// Why.
        source: E,
    },
    /// A field is wrong.
    #[error("`--mount={raw}`: {message}")]
    Field {
        /// The flag's value.
        raw: String,
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
}

impl<E: std::error::Error + 'static> MountError<E> {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Expand { .. } => None,
            Self::Field { hint, .. } => hint.clone(),
        }
    }
}

const TYPES: [(&str, MountKind); 5] = [
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];
const SHARINGS: [(&str, Sharing); 3] =
    [("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "size",
    "required",
    "env",
];

impl MountFlag {
    /// Reads the flag's fields after `expand` has been put to each value.
    ///
    /// # Errors
    /// When a value does not expand, a field is unknown or does not fit the type, or a value is none.
    pub fn resolve<E: std::error::Error + 'static>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, MountError<E>> {
        let fault = |Fault(message, hint): Fault| MountError::Field { raw: self.raw.clone(), message, hint };
        let mut fields = Vec::new();
        for field in csv_fields(&self.raw).map_err(fault)? {
            let (key, value) = split(&field);
            let value = match value {
                Some(value) => Some(
                    expand(&value).map_err(|source| MountError::Expand { raw: self.raw.clone(), source })?,
                ),
                None => None,
            };
            fields.push((key, value));
        }
        read(&fields).map_err(fault)
    }
}

/// The `from` of a flag's value, checked as far as it can be before expansion.
pub(super) fn from_field(raw: &str) -> Result<Option<String>, Fault> {
    let mut from = None;
    let fields = csv_fields(raw)?;
    for field in &fields {
        if let (key, Some(value)) = split(field)
            && key == "from"
        {
            if holds_variable(&value) {
                return Err(Fault(
                    format!("`from={value}` does not take variables"),
                    Some("name it in a stage of its own: `FROM … AS name`, then `from=name`".to_owned()),
                ));
            }
            from = Some(value).filter(|value| !value.is_empty());
        }
    }
    if !raw.contains('$') {
        let fields: Vec<_> = fields.iter().map(|field| split(field)).collect();
        read(&fields)?;
    }
    Ok(from)
}

fn split(field: &str) -> (String, Option<String>) {
    match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
        None => (field.to_lowercase(), None),
    }
}

fn read(fields: &[(String, Option<String>)]) -> Result<Mount, Fault> {
    let mut mount = Mount {
        kind: MountKind::Bind,
        from: None,
        source: None,
        target: None,
        readonly: false,
        id: None,
        sharing: Sharing::Shared,
        mode: None,
        uid: None,
        gid: None,
        size: 0,
        required: false,
        env: None,
    };
    let mut readonly = None;
    let mut given = Vec::new();
    for (key, value) in fields {
        let text = || value.clone().ok_or_else(|| Fault::new(format!("`{key}` needs a value: `{key}=…`")));
        let some = || text().map(|text| Some(text).filter(|text| !text.is_empty()));
        let number = || {
            text()?
                .parse::<u32>()
                .ok()
                // The greatest number means "no id" to the kernel.
                .filter(|id| *id != u32::MAX)
                .map(Some)
                .ok_or_else(|| Fault::new(format!("`{key}={}` is no id", text_of(value))))
        };
        given.push(key.as_str());
        match key.as_str() {
            "type" => mount.kind = choice(key, &text()?, &TYPES)?,
            "from" => mount.from = some()?,
            "source" | "src" => mount.source = some()?,
            "target" | "dst" | "destination" => mount.target = some()?,
            "readonly" | "ro" => readonly = Some(flag(key, value.as_deref())?),
            "readwrite" | "rw" => readonly = Some(!flag(key, value.as_deref())?),
            "required" => mount.required = flag(key, value.as_deref())?,
            "id" => mount.id = some()?,
            "sharing" => mount.sharing = choice(key, &text()?, &SHARINGS)?,
            "mode" => {
                let mode = u32::from_str_radix(&text()?, 8);
                mount.mode =
                    Some(mode.map_err(|_| Fault::new(format!("`mode={}` is not octal", text_of(value))))?);
            }
            "uid" => mount.uid = number()?,
            "gid" => mount.gid = number()?,
            "size" => {
                mount.size = bytes(&text()?)
                    .ok_or_else(|| Fault::new(format!("`size={}` is no number of bytes", text_of(value))))?;
            }
            "env" => mount.env = some()?,
            _ => {
                return Err(Fault(format!("unknown field `{key}`"), did_you_mean(key, KEYS)));
            }
        }
    }
    mount.readonly = readonly.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
    check(&mount, &given)?;
    fill_id(&mut mount);
    Ok(mount)
}

fn text_of(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// Fields that do not go with the type.
fn check(mount: &Mount, given: &[&str]) -> Result<(), Fault> {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let kind = mount.kind;
    let name = TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name);
    let only: [(&str, &[MountKind]); 8] = [
        ("mode", &[Secret, Ssh, Cache]),
        ("uid", &[Secret, Ssh, Cache]),
        ("gid", &[Secret, Ssh, Cache]),
        ("sharing", &[Cache]),
        ("required", &[Secret, Ssh]),
        ("size", &[Tmpfs]),
        ("env", &[Secret]),
        ("from", &[Bind, Cache, Tmpfs, Ssh]),
    ];
    for (key, kinds) in only {
        if given.contains(&key) && !kinds.contains(&kind) {
            return Err(Fault::new(format!("a {name} mount takes no `{key}`")));
        }
    }
    if kind == Secret {
        if mount.source.is_some() && mount.id.is_some() {
            return Err(Fault::new("a secret takes `source` or `id`, not both"));
        }
        if mount.source.is_none() && mount.id.is_none() && mount.target.is_none() {
            return Err(Fault(
                "a secret needs an `id` or a `target`".to_owned(),
                Some("write `id=…`".to_owned()),
            ));
        }
    }
    if kind == Ssh && mount.source.is_some() {
        return Err(Fault("an ssh mount takes no `source`".to_owned(), Some("write `id=…`".to_owned())));
    }
    Ok(())
}

fn fill_id(mount: &mut Mount) {
    if mount.id.is_some() {
        return;
    }
    mount.id = match mount.kind {
        MountKind::Bind | MountKind::Tmpfs => None,
        MountKind::Cache => Some(clean(mount.target.as_deref().unwrap_or_default())),
        MountKind::Secret => mount.source.clone().or_else(|| mount.target.as_deref().map(last_part)),
        MountKind::Ssh => Some("default".to_owned()),
    };
}

#[cfg(test)]
mod tests;
