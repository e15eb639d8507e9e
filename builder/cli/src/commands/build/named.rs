//! `--build-context NAME=WHERE`, in the forms of `docker buildx build`.

use std::path::Path;

use orlop_builder::context::{ContextName, NamedContext, NamedSource};

use super::{context, git};
use crate::diagnostics::Failure;

/// Reads one.
pub(super) fn named(text: &str) -> Result<NamedContext, Failure> {
    let Some((name, place)) = text.split_once('=') else {
        return Err(Failure::usage(format!("`--build-context {text}`: it says no place for the name"))
            .with_hint("write `--build-context NAME=DIR`, or `NAME=docker-image://IMAGE`".to_owned()));
    };
    let name = ContextName::parse(name)
        .map_err(|e| Failure::usage(format!("`--build-context`: {e}")).with_hint(e.hint()))?;
    let source = source(&name, place)?;
    Ok(NamedContext { name, source })
}

fn source(name: &ContextName, place: &str) -> Result<NamedSource, Failure> {
    if let Some(image) = place.strip_prefix("docker-image://") {
        if image == "scratch" {
            return Ok(NamedSource::Scratch);
        }
        let reference = image.parse().map_err(|e: orlop_store::reference::ReferenceError| {
            Failure::usage(format!("`--build-context {name}`: {e}")).with_hint(e.hint())
        })?;
        return Ok(NamedSource::Image(reference));
    }
    if let Some(layout) = place.strip_prefix("oci-layout://") {
        return Ok(NamedSource::Layout(layout.to_owned()));
    }
    for (scheme, hint) in [
        (
            "target:",
            "a stage of this Dockerfile is known by its name; another target is built first, with `-t`, and named as `docker-image://`",
        ),
        ("input:", "write a directory, `docker-image://`, `oci-layout://` or a URL"),
    ] {
        if place.starts_with(scheme) {
            return Err(Failure::usage(format!(
                "`--build-context {name}`: `{scheme}` means something to `docker buildx bake` alone"
            ))
            .with_hint(hint.to_owned()));
        }
    }
    let path = Path::new(place);
    if let Some(reference) = git::repository(path)? {
        return Ok(NamedSource::Git(reference));
    }
    if context::is_url(path) && !path.is_dir() {
        return Ok(NamedSource::Url(place.to_owned()));
    }
    let action = format!("use the context `{name}` at");
    let metadata = std::fs::metadata(path).map_err(|error| {
        let image = place.strip_prefix("docker-image:").map(|image| image.trim_start_matches('/'));
        let hint = image.map(|image| format!("an image is `{name}=docker-image://{image}`"));
        Failure::io(&action, path, &error).with_hint(hint)
    })?;
    if !metadata.is_dir() {
        return Err(Failure::user(format!("cannot {action} `{place}`: it is not a directory"))
            .with_hint("name the directory that it is in".to_owned()));
    }
    Ok(NamedSource::Directory { path: path.to_owned(), ignore: context::rules_in(path)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".dockerignore"), "x").unwrap();
        let read = |place: &str| named(&format!("n={place}")).unwrap().source;
        let NamedSource::Directory { path, ignore } = read(dir.path().to_str().unwrap()) else { panic!() };
        assert_eq!((path.as_path(), ignore.unwrap().0.as_str()), (dir.path(), "x"));
        assert_eq!(read("docker-image://debian:12"), NamedSource::Image("debian:12".parse().unwrap()));
        assert_eq!(read("docker-image://scratch"), NamedSource::Scratch);
        assert_eq!(read("oci-layout:///a:b"), NamedSource::Layout("/a:b".to_owned()));
        assert_eq!(
            read("https://example.com/a.tar"),
            NamedSource::Url("https://example.com/a.tar".to_owned())
        );
        for git in ["https://example.com/a.git#v1", "git@example.com:a/b", "github.com/a/b"] {
            assert!(matches!(read(git), NamedSource::Git(_)), "{git}");
        }
        assert_eq!(named("docker.io/library/alpine:latest=oci-layout://x").unwrap().name.as_str(), "alpine");
    }

    #[test]
    fn what_is_none_says_what_to_write() {
        for (text, says) in [
            ("n", "no place"),
            ("=x", "cannot be the name"),
            ("scratch=x", "`scratch` cannot be the name"),
            ("context=x", "`context` cannot be the name"),
            ("n=docker-image://UPPER", "not an image name"),
            ("n=docker-image:alpine", "n=docker-image://alpine"),
            ("n=target:base", "bake"),
            ("n=input:base", "bake"),
            ("n=/no/such/dir", "/no/such/dir"),
            ("n=", "``"),
        ] {
            let error = format!("{:?}", named(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
