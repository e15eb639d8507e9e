//! `--volume`.

use std::path::{Path, PathBuf};

use orlop_runner::Mount;

use crate::diagnostics::Failure;

/// Reads `HOST:CONTAINER[:ro|rw]`. The host's side must be there: nothing is made for a typing error.
pub(super) fn parse(text: &str) -> Result<Mount, Failure> {
    let bad = |why: &str| {
        Failure::usage(format!("`-v {text}`: {why}"))
            .with_hint("write `-v /HOST/PATH:/CONTAINER/PATH[:ro]`".to_owned())
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(bad("it is not `HOST:CONTAINER`")),
    };
    let readonly = match options {
        "" | "rw" => false,
        "ro" => true,
        _ => return Err(bad(&format!("there is no option `{options}` (one of `ro`, `rw`)"))),
    };
    if !source.contains('/') && source != "." && source != ".." {
        return Err(bad("volumes with a name are not kept; name a path"));
    }
    if !target.starts_with('/') {
        return Err(bad("the path in the container must be absolute"));
    }
    let source =
        std::fs::canonicalize(source).map_err(|error| Failure::io("use", Path::new(source), &error))?;
    Ok(Mount::bind(source, PathBuf::from(target), readonly))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_runner::MountKind;

    #[test]
    fn a_volume_is_two_paths_and_perhaps_an_option() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().canonicalize().unwrap();
        let mount = parse(&format!("{}:/x:ro", host.display())).unwrap();
        assert_eq!(mount.target, Path::new("/x"));
        assert!(matches!(mount.kind, MountKind::Bind { source, readonly: true, .. } if source == host));
        for bad in ["/tmp", "name:/x", "/tmp:x", "/tmp:/x:zz", "/no/such/path:/x", "/a:/b:ro:c", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
