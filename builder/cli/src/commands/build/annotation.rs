//! `--annotation`: words about the image in its manifest, in all that is written.

use orlop_builder::output::Output;

use crate::diagnostics::Failure;

/// What an annotation can be about, as `docker buildx build` names it.
const KINDS: [&str; 4] = ["manifest", "index", "manifest-descriptor", "index-descriptor"];

/// Puts the annotations of the command line into the manifest of every output that has one.
pub(super) fn add(texts: &[String], outputs: &mut [Output]) -> Result<(), Failure> {
    let annotations = texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    if annotations.is_empty() {
        return Ok(());
    }
    let mut written = false;
    for output in outputs {
        let (Output::Oci { packing, .. } | Output::Registry { packing, .. }) = output else {
            continue;
        };
        written = true;
        // What is said of one output alone counts there.
        for (name, value) in &annotations {
            if !packing.annotations.iter().any(|(known, _)| known == name) {
                packing.annotations.push((name.clone(), value.clone()));
            }
        }
    }
    match written {
        true => Ok(()),
        false => Err(Failure::usage(
            "`--annotation` is for a manifest, and an image in the store has none until it is written",
        )
        .with_hint("push it with `--push`, or write it with `-o type=oci,dest=FILE`".to_owned())),
    }
}

fn parse(text: &str) -> Result<(String, String), Failure> {
    let bad = |why: &str| {
        Failure::usage(format!("`--annotation {text}`: {why}"))
            .with_hint("write `--annotation KEY=VALUE`".to_owned())
    };
    let (mut name, value) = text.split_once('=').ok_or_else(|| bad("it has no value"))?;
    if let Some((kinds, rest)) = name.split_once(':')
        && kinds.split(',').all(|kind| KINDS.contains(&kind.split('[').next().unwrap_or_default()))
    {
        if kinds != "manifest" {
            return Err(bad(&format!("only the manifest takes annotations, not `{kinds}`")));
        }
        name = rest;
    }
    if name.is_empty() {
        return Err(bad("the name is empty"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_and_what_they_are_about() {
        let ok = |text: &str| parse(text).unwrap();
        assert_eq!(ok("a.b=c=d"), ("a.b".into(), "c=d".into()));
        assert_eq!(ok("manifest:a=b"), ("a".into(), "b".into()));
        assert_eq!(ok("x:y=z"), ("x:y".into(), "z".into()));
        for bad in ["a", "=b", "manifest:=b", "index:a=b", "manifest[linux/amd64]:a=b", "manifest,index:a=b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
