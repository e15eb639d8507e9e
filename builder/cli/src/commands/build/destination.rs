//! `-o DEST`: BuildKit's syntax, comma-separated `key=value` with CSV's quotes.

use std::io::IsTerminal;
use std::sync::Arc;

use orlop_builder::output::{Destination, Output, Packing};

use super::keys::Keys;
use crate::fields;
use crate::system::console;

/// Reads one `-o`. Only `root` of the machine gives files of `type=local` to their owners.
pub(super) fn parse(text: &str, root: bool) -> Result<Output, String> {
    let parts = fields::split(text).map_err(|why| format!("`-o {text}`: {why}"))?;
    // A path alone is a directory, `-` a tar on standard output.
    if let [one] = parts.as_slice()
        && !one.starts_with("type=")
    {
        return match one.as_str() {
            "" => Err("`-o` needs a destination".to_owned()),
            "-" => stdout().map(|dest| Output::Tar { dest, split: None }),
            dir => Ok(Output::Local { dest: dir.into(), owners: root, split: None }),
        };
    }
    let mut keys = Keys::of("-o", text, &parts)?;
    let kind = keys.take("type").ok_or_else(|| {
        format!(
            "`-o {text}`: `type` is missing (one of `image`, `registry`, `oci`, `docker`, `local`, `tar`)"
        )
    })?;
    let output = match kind.as_str() {
        "image" | "registry" => image(&mut keys, kind == "registry")?,
        "oci" => {
            let tar = keys.flag("tar")?.unwrap_or(true);
            let dest = if tar {
                keys.file("oci")?
            } else {
                Destination::Path(keys.path().ok_or_else(|| keys.bad("`tar=false` needs `dest=DIR`"))?)
            };
            Output::Oci { dest, names: keys.names()?, packing: keys.packing()?, tar }
        }
        "docker" => {
            if keys.flag("tar")? == Some(false) {
                return Err(
                    keys.bad("an archive for Docker is one file; for a directory use `type=oci,tar=false`")
                );
            }
            if !keys.has("dest") {
                let why = "`dest=FILE` is missing; to load the image into Docker, pipe it: \
                           `orlop build -o type=docker,dest=- … | docker load`";
                return Err(keys.bad(why));
            }
            let dest = keys.file("docker")?;
            if let Some(compression) = keys.take("compression").filter(|name| name != "uncompressed") {
                return Err(keys.bad(&format!(
                    "`compression={compression}`: layers in an archive for Docker are not compressed; compress the \
                     archive itself, or use `type=oci`"
                )));
            }
            Output::Docker { dest, names: keys.names()? }
        }
        "local" => {
            let dest = keys.path().ok_or_else(|| keys.bad("`dest=DIR` is missing"))?;
            Output::Local { dest, owners: root, split: keys.flag("platform-split")? }
        }
        "tar" => Output::Tar { dest: keys.file("tar")?, split: keys.flag("platform-split")? },
        "cacheonly" => return Err(keys.bad("`cacheonly` is not needed: every build fills the step cache")),
        other => {
            return Err(format!(
                "`-o {text}`: there is no type `{other}` (one of `image`, `registry`, `oci`, `docker`, `local`, `tar`)"
            ));
        }
    };
    keys.nothing_left(&kind)?;
    Ok(output)
}

fn image(keys: &mut Keys<'_>, registry: bool) -> Result<Output, String> {
    let push = match keys.flag("push")? {
        Some(false) if registry => return Err(keys.bad("`type=registry` always pushes; use `type=image`")),
        Some(push) => push,
        None => registry,
    };
    keys.refuse_unless("store", true, "the image is always kept in the store")?;
    for (key, why) in [
        ("push-by-digest", "an image is pushed under a name"),
        ("registry.insecure", "use `--insecure-registry HOST` instead"),
        ("unpack", "layers are unpacked when they are needed"),
        ("name-canonical", "it is not supported"),
    ] {
        keys.refuse_unless(key, false, why)?;
    }
    let names = keys.names()?;
    if push {
        return Ok(Output::Registry { names, packing: keys.packing()? });
    }
    let packs = keys.packing()?;
    if packs != Packing::default() {
        return Err(keys.bad(
            "without `push=true` the image stays in the store, where layers are not compressed and there is no \
             manifest to annotate",
        ));
    }
    Ok(Output::Store { names })
}

/// Standard output as a destination; an archive is never written to a person's screen.
fn stdout() -> Result<Destination, String> {
    let out = std::io::stdout();
    if out.is_terminal() {
        return Err(
            "an archive is not written to a terminal: redirect standard output, or name a file with `dest=`"
                .to_owned(),
        );
    }
    console::stdout_file()
        .map(|file| Destination::Open(Arc::new(file)))
        .map_err(|error| format!("standard output cannot be used: {error}"))
}

impl Keys<'_> {
    /// The file of an archive: standard output for `dest=-` or none.
    fn file(&mut self, kind: &str) -> Result<Destination, String> {
        match self.take("dest").as_deref() {
            None | Some("-") => stdout().map_err(|why| format!("`-o type={kind}`: {why}")),
            Some("") => Err(self.bad("`dest` is empty")),
            Some(path) => Ok(Destination::Path(path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use orlop_builder::output::Compression;
    use orlop_store::Reference;

    use super::*;

    #[test]
    fn the_short_form_is_a_directory() {
        assert!(
            matches!(parse("out/dir", true), Ok(Output::Local { dest, owners: true, split: None }) if dest.to_str() == Some("out/dir"))
        );
        for (text, asked) in
            [("", None), (",platform-split=false", Some(false)), (",platform-split=1", Some(true))]
        {
            let parsed = parse(&format!("type=local,dest=x{text}"), true);
            assert!(matches!(parsed, Ok(Output::Local { split, .. }) if split == asked), "{text}");
        }
    }

    #[test]
    fn an_oci_archive_with_everything() {
        let text = "type=oci,\"name=a,b:2\",dest=/tmp/o.tar,compression=zstd,compression-level=9,\
                    force-compression=true,annotation.org.x=y";
        let Ok(Output::Oci { dest: Destination::Path(path), names, packing, tar: true }) = parse(text, true)
        else {
            panic!("{:?}", parse(text, true));
        };
        assert_eq!(path.to_str(), Some("/tmp/o.tar"));
        assert_eq!(names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["a:latest", "b:2"]);
        assert_eq!(packing.compression, Some(Compression::Zstd(Some(9))));
        assert!(packing.force);
        assert_eq!(packing.annotations, [("org.x".to_owned(), "y".to_owned())]);
    }

    #[test]
    fn pushing_has_three_spellings() {
        for text in ["type=registry", "type=image,push=true", "type=registry,push=true,name=r/x"] {
            assert!(matches!(parse(text, true), Ok(Output::Registry { .. })), "{text}");
        }
        assert!(matches!(parse("type=image,name=x", true), Ok(Output::Store { .. })));
    }

    #[test]
    fn what_has_no_effect_is_refused_and_named() {
        for (text, named) in [
            ("type=oci,dest=x,tarr=false", "`tarr` means nothing"),
            ("type=oci,dest=x,tar=maybe", "`tar=maybe`"),
            ("type=oci,tar=false", "dest=DIR"),
            ("type=oci,dest=x,dest=y", "twice"),
            ("dest=x,tar=false", "`type` is missing"),
            ("type=nonsense", "`nonsense`"),
            ("type=docker", "docker load"),
            ("type=docker,dest=x,tar=false", "tar=false"),
            ("type=docker,dest=x,compression=zstd", "not compressed"),
            ("type=local", "dest=DIR"),
            ("type=local,dest=x,compression=gzip", "`compression` means nothing"),
            ("type=tar,dest=x,name=y", "`name` means nothing"),
            ("type=image,compression=gzip", "push=true"),
            ("type=image,name=UPPER", "lower case"),
            ("type=registry,push=false", "always pushes"),
            ("type=oci,dest=x,compression=estargz", "estargz"),
            ("type=oci,dest=x,compression=gzip,compression-level=10", "0 to 9"),
            ("type=oci,dest=x,compression=zstd,compression-level=0", "1 to 22"),
            ("type=oci,dest=x,compression=uncompressed,compression-level=3", "no effect"),
            ("type=oci,dest=x,force-compression=true", "needs `compression=`"),
            ("type=oci,dest=x,annotation-index.a=b", "annotation-index.a"),
            ("type=oci,dest=x,oci-mediatypes=false", "OCI media types"),
            ("type=oci,dest", "`dest` is not `key=value`"),
            ("type=oci,\"dest=x", "quote"),
        ] {
            match parse(text, true) {
                Err(why) => assert!(why.contains(named), "{text}: {why}"),
                Ok(output) => panic!("{text}: {output:?}"),
            }
        }
    }
}
