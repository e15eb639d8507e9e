//! Which image of an index is meant for a platform.

use orlop_store::{Descriptor, Platform, media_type};
use serde::Deserialize;

use crate::error::Error;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// Chooses the manifest for `wanted` from the bytes of an index or manifest list: the best variant
/// that runs there ([`Platform::rank`]: `arm/v7` takes `v6` where there is no `v7`), of several versions of Windows
/// the one that serves best ([`Platform::version_fit`]), the first of equals. Attestations
/// (`unknown/unknown`) are no images. The one image without a platform in an index that names none
/// serves for any.
///
/// The result may itself be an index.
///
/// # Errors
/// When the bytes are no index, or nothing in it fits; the error lists what there is.
pub fn select_platform(index: &[u8], wanted: &Platform) -> Result<Descriptor, Error> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|e| Error::Manifest { name: "index".into(), what: format!("not an index: {e}") })?;
    let images: Vec<Descriptor> = index.manifests.unwrap_or_default().into_iter().filter(is_image).collect();
    let best = images
        .iter()
        .enumerate()
        .filter_map(|(at, d)| Some((wanted.rank(d.platform.as_ref()?)?, at, d)))
        .min_by(|(one, first, _), (other, second, _)| (one, first).cmp(&(other, second)));
    if let Some((_, _, found)) = best {
        return Ok(found.clone());
    }
    let nameless =
        |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os.is_empty() && p.architecture.is_empty());
    let mut open = images.iter().filter(nameless);
    if let (Some(only), None) = (open.next(), open.next()) {
        return Ok(only.clone());
    }
    let mut available: Vec<String> = images.iter().filter_map(|d| d.platform.as_ref()).map(shown).collect();
    available.sort();
    available.dedup();
    let available = if available.is_empty() { "none".into() } else { available.join(", ") };
    Err(Error::NoPlatform { wanted: wanted.with_version(), available })
}

/// Foreign text, fit to print.
fn shown(p: &Platform) -> String {
    p.with_version().chars().filter(|c| !c.is_control()).take(100).collect()
}

fn is_image(d: &Descriptor) -> bool {
    let kind = d.media_type.is_empty()
        || media_type::is_index(&d.media_type)
        || matches!(d.media_type.as_str(), media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST);
    kind && !d.is_attestation()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_store::Digest;

    fn index(platforms: &[&str]) -> Vec<u8> {
        let manifests: Vec<serde_json::Value> = platforms
            .iter()
            .map(|p| {
                let digest = Digest::of(p.as_bytes()).to_string();
                let mut d =
                    serde_json::json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": 1});
                if let [os, arch, rest @ ..] = p.split('/').collect::<Vec<_>>().as_slice() {
                    d["platform"] = serde_json::json!({"os": os, "architecture": arch});
                    if let [variant, ..] = rest {
                        d["platform"]["variant"] = serde_json::json!(variant);
                    }
                    if let [_, version] = rest {
                        d["platform"]["os.version"] = serde_json::json!(version);
                    }
                }
                d
            })
            .collect();
        serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    fn pick(platforms: &[&str], wanted: &str) -> Option<String> {
        let found = select_platform(&index(platforms), &wanted.parse().unwrap()).ok()?;
        platforms.iter().find(|p| Digest::of(p.as_bytes()) == found.digest).map(|p| (*p).to_owned())
    }

    #[test]
    fn the_best_variant_that_runs() {
        let all = [
            "unknown/unknown",
            "linux/arm/v5",
            "linux/arm/v6",
            "linux/arm64/v8",
            "linux/amd64",
            "windows/amd64",
        ];
        for (wanted, found) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm/v7", Some("linux/arm/v6")),
            ("linux/arm/v5", Some("linux/arm/v5")),
            ("windows/amd64", Some("windows/amd64")),
            ("linux/s390x", None),
        ] {
            assert_eq!(pick(&all, wanted).as_deref(), found, "{wanted}");
        }
        assert_eq!(pick(&["linux/amd64/v3", "linux/amd64"], "linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(pick(&["linux/arm/v6", "linux/arm/v7"], "linux/arm").as_deref(), Some("linux/arm/v7"));
        assert_eq!(pick(&["x"], "linux/arm").as_deref(), Some("x"));
    }

    #[test]
    fn windows_versions() {
        let all =
            ["windows/amd64//10.0.17763.1", "windows/amd64//10.0.20348.5", "windows/amd64//10.0.20348.9"];
        let mut wanted: Platform = "windows/amd64".parse().unwrap();
        wanted.os_version = Some("10.0.20348.9".into());
        let found = select_platform(&index(&all), &wanted).unwrap();
        assert_eq!(found.platform.unwrap().os_version.as_deref(), Some("10.0.20348.9"));
        wanted.os_version = Some("10.0.20348.7".into());
        let found = select_platform(&index(&all), &wanted).unwrap();
        assert_eq!(found.platform.unwrap().os_version.as_deref(), Some("10.0.20348.9"));
        wanted.os_version = None;
        let found = select_platform(&index(&all), &wanted).unwrap();
        assert_eq!(found.platform.unwrap().os_version.as_deref(), Some("10.0.20348.9"), "the newest");
        wanted.os_version = Some("10.0.99999.7".into());
        let error = select_platform(&index(&all), &wanted).unwrap_err().to_string();
        assert!(error.contains("`windows(10.0.99999.7)/amd64`"), "{error}");
        assert!(error.contains("there are: windows(10.0.17763.1)/amd64"), "{error}");
    }

    #[test]
    fn the_error_lists_what_there_is() {
        let e = select_platform(&index(&["linux/arm/v6", "linux/amd64"]), &"linux/s390x".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            e.to_string(),
            "no image for platform `linux/s390x`; there are: linux/amd64, linux/arm/v6"
        );
        assert!(select_platform(b"{}", &Platform::host()).is_err());
        assert!(select_platform(b"[]", &Platform::host()).is_err());
    }
}
