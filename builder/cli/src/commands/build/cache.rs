//! `--cache-from` and `--cache-to`: buildx's syntax, comma-separated `key=value`, or a name alone.

use std::path::PathBuf;

use orlop_builder::cache::{CacheMode, CachePlace, CacheSource, CacheTarget, DEFAULT_TAG, LocalName};
use orlop_builder::output::Packing;
use orlop_store::Reference;

use super::keys::Keys;
use crate::fields;

const TYPES: &str = "one of `registry`, `local`, `inline`";

/// Reads one `--cache-from`.
pub(super) fn from(text: &str) -> Result<CacheSource, String> {
    const FLAG: &str = "--cache-from";
    let Some(mut keys) = keys(FLAG, text)? else { return name(FLAG, text).map(CacheSource::Registry) };
    let kind = kind(&mut keys)?;
    let source = match kind.as_str() {
        "registry" => {
            insecure(&mut keys)?;
            CacheSource::Registry(reference(&mut keys)?)
        }
        "local" => {
            let dir = directory(&mut keys, "src")?;
            let digest = keys.take("digest");
            let which = match (digest, keys.take("tag")) {
                (Some(_), Some(_)) => {
                    return Err(keys.bad("`digest` and `tag` both name a manifest: leave one out"));
                }
                (Some(digest), None) => {
                    let parsed = digest.parse();
                    LocalName::Digest(
                        parsed.map_err(|error| keys.bad(&format!("`digest={digest}`: {error}")))?,
                    )
                }
                (None, tag) => LocalName::Tag(tag.unwrap_or_else(|| DEFAULT_TAG.to_owned())),
            };
            CacheSource::Local { dir, which }
        }
        "inline" => {
            return Err(keys.bad("an image that carries a cache is read with `type=registry,ref=IMAGE`"));
        }
        other => return Err(elsewhere(&keys, other)),
    };
    keys.nothing_left(&kind)?;
    Ok(source)
}

/// Reads one `--cache-to`.
pub(super) fn to(text: &str) -> Result<CacheTarget, String> {
    const FLAG: &str = "--cache-to";
    let Some(mut keys) = keys(FLAG, text)? else {
        let reference = tagged(name(FLAG, text)?).map_err(|why| format!("`{FLAG} {text}`: {why}"))?;
        return Ok(CacheTarget {
            place: CachePlace::Registry(reference),
            mode: CacheMode::Min,
            packing: Packing::default(),
            image_manifest: true,
            ignore_error: false,
        });
    };
    let kind = kind(&mut keys)?;
    let place = match kind.as_str() {
        "registry" => {
            insecure(&mut keys)?;
            let reference = reference(&mut keys)?;
            CachePlace::Registry(tagged(reference).map_err(|why| keys.bad(&why))?)
        }
        "local" => {
            let dir = directory(&mut keys, "dest")?;
            CachePlace::Local { dir, tag: keys.take("tag").unwrap_or_else(|| DEFAULT_TAG.to_owned()) }
        }
        "inline" => CachePlace::Inline,
        other => return Err(elsewhere(&keys, other)),
    };
    let mode = match keys.take("mode").as_deref() {
        None | Some("min") => CacheMode::Min,
        Some("max") if place == CachePlace::Inline => {
            return Err(keys.bad(
                "an image carries the steps that it is made of and no others, `mode=min`; use `type=registry`",
            ));
        }
        Some("max") => CacheMode::Max,
        Some(other) => return Err(keys.bad(&format!("`mode={other}` is neither `min` nor `max`"))),
    };
    let ignore_error = keys.flag("ignore-error")?.unwrap_or(false);
    if place == CachePlace::Inline {
        keys.nothing_left(&kind)?;
        let (packing, image_manifest) = (Packing::default(), true);
        return Ok(CacheTarget { place, mode, packing, image_manifest, ignore_error });
    }
    keys.refuse_unless("oci-mediatypes", true, "a cache is written with OCI media types")?;
    let image_manifest = keys.flag("image-manifest")?.unwrap_or(true);
    let packing = keys.compression()?;
    keys.nothing_left(&kind)?;
    Ok(CacheTarget { place, mode, packing, image_manifest, ignore_error })
}

/// The keys of the flag; none where it is a name alone.
fn keys<'a>(flag: &'static str, text: &'a str) -> Result<Option<Keys<'a>>, String> {
    let parts = fields::split(text).map_err(|why| format!("`{flag} {text}`: {why}"))?;
    match parts.as_slice() {
        [one] if !one.contains('=') => Ok(None),
        parts => Keys::of(flag, text, parts).map(Some),
    }
}

fn kind(keys: &mut Keys<'_>) -> Result<String, String> {
    keys.take("type").ok_or_else(|| keys.bad(&format!("`type` is missing ({TYPES})")))
}

/// A name alone: a repository, with a tag or without, as buildah has it.
fn name(flag: &str, text: &str) -> Result<Reference, String> {
    super::reference(text.trim()).map_err(|why| format!("`{flag} {text}`: {why}"))
}

fn reference(keys: &mut Keys<'_>) -> Result<Reference, String> {
    let Some(text) = keys.take("ref").filter(|text| !text.is_empty()) else {
        return Err(keys.bad("`ref` is missing: `ref=REGISTRY/REPOSITORY:TAG`"));
    };
    super::reference(&text).map_err(|why| keys.bad(&why))
}

/// What is written goes under a tag.
fn tagged(reference: Reference) -> Result<Reference, String> {
    match reference.digest() {
        None => Ok(reference),
        Some(_) => Err("a cache is written under a tag, and not under a digest".to_owned()),
    }
}

fn directory(keys: &mut Keys<'_>, key: &str) -> Result<PathBuf, String> {
    let dir = keys.take(key).filter(|dir| !dir.is_empty());
    dir.map(PathBuf::from).ok_or_else(|| keys.bad(&format!("`{key}=DIR` is missing")))
}

fn insecure(keys: &mut Keys<'_>) -> Result<(), String> {
    keys.refuse_unless("registry.insecure", false, "use `--insecure-registry HOST` instead")
}

/// Why there is no cache of that type.
fn elsewhere(keys: &Keys<'_>, kind: &str) -> String {
    match kind {
        "gha" | "s3" | "azblob" | "gcs" => keys.bad(&format!(
            "`type={kind}` is not supported ({TYPES}); GitHub's own registry, `ghcr.io`, takes `type=registry`"
        )),
        other => keys.bad(&format!("there is no type `{other}` ({TYPES})")),
    }
}

#[cfg(test)]
mod tests {
    use orlop_builder::output::Compression;

    use super::*;

    #[test]
    fn a_name_alone_is_a_registrys() {
        let reference: Reference = "h:5/a/b:c".parse().unwrap();
        assert_eq!(from("h:5/a/b:c"), Ok(CacheSource::Registry(reference.clone())));
        assert_eq!(from("type=registry,ref=h:5/a/b:c"), Ok(CacheSource::Registry(reference.clone())));
        assert_eq!(to("h:5/a/b:c").map(|target| target.place), Ok(CachePlace::Registry(reference)));
        let pinned = format!("h:5/a@sha256:{}", "a".repeat(64));
        assert!(from(&pinned).is_ok());
        assert!(to(&pinned).is_err_and(|why| why.contains("under a tag")));
    }

    #[test]
    fn a_target_with_everything() {
        let text = "type=registry,ref=h:5/a,mode=max,compression=zstd,compression-level=9,force-compression=true,\
                    image-manifest=false,oci-mediatypes=true,ignore-error=1";
        let target = to(text).unwrap();
        assert_eq!(target.mode, CacheMode::Max);
        assert_eq!(target.packing.compression, Some(Compression::Zstd(Some(9))));
        assert!(target.packing.force && target.ignore_error && !target.image_manifest);
        let local = to("type=local,dest=/c,tag=t").unwrap();
        assert_eq!(local.place, CachePlace::Local { dir: "/c".into(), tag: "t".to_owned() });
        assert!(local.image_manifest && !local.ignore_error);
        let source = from("type=local,src=/c").unwrap();
        assert_eq!(
            source,
            CacheSource::Local { dir: "/c".into(), which: LocalName::Tag("latest".to_owned()) }
        );
    }

    #[test]
    fn what_has_no_effect_is_refused_and_named() {
        for (text, named) in [
            ("ref=x", "`type` is missing"),
            ("type=registry", "`ref` is missing"),
            ("type=registry,ref=UPPER", "lower case"),
            ("type=registry,ref=x,scope=y", "`scope` means nothing"),
            ("type=registry,ref=x,mode=most", "`mode=most`"),
            ("type=registry,ref=x,oci-mediatypes=false", "OCI media types"),
            ("type=registry,ref=x,image-manifest=maybe", "`image-manifest=maybe`"),
            ("type=registry,ref=x,compression=estargz", "estargz"),
            ("type=registry,ref=x,registry.insecure=true", "--insecure-registry"),
            ("type=registry,ref=x,annotation.a=b", "`annotation.a` means nothing"),
            ("type=local", "`dest=DIR` is missing"),
            ("type=local,dest=x,src=y", "`src` means nothing"),
            ("type=inline,mode=max", "type=registry"),
            ("type=inline,ref=x", "`ref` means nothing"),
            ("type=gha,scope=x", "`type=gha` is not supported"),
            ("type=s3,bucket=x", "`type=s3` is not supported"),
            ("type=azblob", "`type=azblob` is not supported"),
            ("type=nonsense", "no type `nonsense`"),
            ("UPPER", "lower case"),
            ("type=registry,\"ref=x", "quote"),
        ] {
            let why = to(text).unwrap_err();
            assert!(why.contains(named) && why.starts_with("`--cache-to "), "{text}: {why}");
        }
        for (text, named) in [
            ("type=registry,ref=x,mode=max", "`mode` means nothing"),
            ("type=local", "`src=DIR` is missing"),
            ("type=local,src=x,digest=y", "`digest=y`"),
            ("type=inline", "type=registry,ref=IMAGE"),
            ("type=gha", "`type=gha` is not supported"),
            ("", "`--cache-from `"),
        ] {
            let why = from(text).unwrap_err();
            assert!(why.contains(named) && why.starts_with("`--cache-from "), "{text}: {why}");
        }
    }
}
