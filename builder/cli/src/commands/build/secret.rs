//! `--secret` and `--ssh`.

use std::path::PathBuf;

use orlop_builder::request::{Secret, SshAgent};

use crate::diagnostics::Failure;
use crate::{env, fields, file};

/// The largest secret, in bytes; BuildKit's limit.
const MAX_SECRET: u64 = 500 << 10;

/// Where a secret's bytes are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Variable(String),
}

/// Reads `--secret` and the secret.
pub(super) fn secret(text: &str) -> Result<Secret, Failure> {
    let (id, place) = parse(text).map_err(|why| {
        Failure::usage(format!("`--secret {text}`: {why}"))
            .with_hint("write `--secret id=ID,src=FILE` or `--secret id=ID,env=NAME`".to_owned())
    })?;
    let value = match place {
        Place::File(path) => file::read(&path, MAX_SECRET)?,
        Place::Variable(name) => {
            let value = env::named_by_user(&name).ok_or_else(|| {
                Failure::usage(format!("`--secret {text}`: the variable `{name}` is not set"))
            })?;
            let value = value.into_encoded_bytes();
            if value.len() as u64 > MAX_SECRET {
                return Err(Failure::usage(format!(
                    "`--secret {text}`: it has more than the {MAX_SECRET} bytes allowed"
                )));
            }
            value
        }
    };
    Ok(Secret { id, value: value.into() })
}

fn parse(text: &str) -> Result<(String, Place), String> {
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for field in fields::split(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("`{field}` is not `key=value`"))?;
        let slot = match key.to_ascii_lowercase().as_str() {
            "id" => &mut id,
            "src" | "source" => &mut source,
            "env" => &mut variable,
            "type" => &mut kind,
            _ => return Err(format!("there is no key `{key}` (one of `id`, `src`, `env`, `type`)")),
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(format!("`{key}` is given twice"));
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("`id` is missing")?;
    // As BuildKit: of a secret with neither, the variable or else the file of its name; `src` names a
    // variable where the type says so.
    let place = match (kind.as_deref(), source, variable) {
        (None | Some("file" | "env"), Some(_), Some(_)) => {
            return Err("only one of `src` and `env` can be given".into());
        }
        (None | Some("file"), Some(path), None) => Place::File(path.into()),
        (None | Some("env"), None, Some(name)) => Place::Variable(name),
        (Some("env"), Some(name), None) => Place::Variable(name),
        (Some("env"), None, None) => Place::Variable(id.clone()),
        (None, None, None) if env::named_by_user(&id).is_some() => Place::Variable(id.clone()),
        (None | Some("file"), None, None) => Place::File(id.clone().into()),
        (Some("file"), None, Some(_)) => return Err("`env` has no meaning with `type=file`".into()),
        (Some(other), ..) => return Err(format!("there is no type `{other}` (one of `file`, `env`)")),
    };
    Ok((id, place))
}

/// Reads `--ssh`.
#[cfg(unix)]
pub(super) fn agent(text: &str) -> Result<SshAgent, Failure> {
    use std::os::unix::fs::FileTypeExt;
    let bad = |why: String| Failure::usage(format!("`--ssh {text}`: {why}"));
    let (id, path) = match text.split_once('=') {
        Some((id, path)) => (id, Some(path)),
        None => (text, None),
    };
    if id.is_empty() {
        return Err(bad("the id is empty".into()));
    }
    let socket = match path {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::SSH_AUTH_SOCK.get().ok_or_else(|| {
            bad("no agent is running (SSH_AUTH_SOCK is not set)".into())
                .with_hint("start one with `eval $(ssh-agent)`, then `ssh-add`".to_owned())
        })?),
    };
    let metadata = std::fs::metadata(&socket).map_err(|error| Failure::io("find", &socket, &error))?;
    if metadata.file_type().is_socket() {
        return Ok(SshAgent { id: id.to_owned(), socket });
    }
    Err(bad(format!("`{}` is not an agent's socket", socket.display()))
        .with_hint("keys are not read from files: add them to an agent with `ssh-add`".to_owned()))
}

/// Refuses `--ssh`.
#[cfg(windows)]
pub(super) fn agent(text: &str) -> Result<SshAgent, Failure> {
    Err(Failure::usage(format!(
        "`--ssh {text}`: an agent is a socket that is mounted, and steps here have no mounts"
    ))
    .with_hint("give a key with `--secret id=ID,src=FILE`".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_name_a_file_or_a_variable() {
        let ok = |text| parse(text).unwrap();
        assert_eq!(ok("id=a,src=/f"), ("a".into(), Place::File("/f".into())));
        assert_eq!(ok("type=file,id=a,source=/f"), ("a".into(), Place::File("/f".into())));
        assert_eq!(ok("id=a,env=B"), ("a".into(), Place::Variable("B".into())));
        assert_eq!(ok("id=a,type=env"), ("a".into(), Place::Variable("a".into())));
        assert_eq!(ok("id=PATH"), ("PATH".into(), Place::Variable("PATH".into())));
        assert_eq!(ok("id=no/such"), ("no/such".into(), Place::File("no/such".into())));
        for bad in [
            "",
            "src=x",
            "id=a,src=x,env=y",
            "id=a,id=b",
            "id=a,mode=1",
            "id=a,type=x",
            "id=",
            "id=a,type=file,env=b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize]).unwrap();
        let text = format!("id=s,src={}", path.display());
        assert_eq!(secret(&text).unwrap().value.len() as u64, MAX_SECRET);
        std::fs::write(&path, vec![b'x'; MAX_SECRET as usize + 1]).unwrap();
        assert!(secret(&text).is_err());
    }

    #[cfg(windows)]
    #[test]
    fn agents_are_refused_and_drive_letters_are_not() {
        assert!(agent("default").is_err());
        assert_eq!(parse(r"id=a,src=C:\x\y").unwrap(), ("a".into(), Place::File(r"C:\x\y".into())));
    }

    #[cfg(unix)]
    #[test]
    fn an_agent_is_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let found = agent(&format!("key={}", path.display())).unwrap();
        assert_eq!((found.id.as_str(), found.socket), ("key", path));
        assert!(agent("key=/etc/passwd").is_err());
        assert!(agent("=x").is_err());
    }
}
