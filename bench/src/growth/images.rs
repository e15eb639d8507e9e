//! Very many small images, for a store that is full of them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use orlop_fixtures::sha256;
use orlop_fixtures::tarball::{Entry, archive as tar_of};
use serde_json::json;

const OCI: &str = "application/vnd.oci.image";

/// Writes an OCI archive of that many images `full:N`, each with a layer of its own.
pub(super) fn archive(images: u64, work: &Path) -> io::Result<PathBuf> {
    let path = work.join("images.tar");
    let mut out = BufWriter::new(File::create(&path)?);
    let mut manifests = Vec::new();
    for n in 0..images {
        let layer = tar_of(&[Entry::file(format!("image-{n}"), format!("{n}\n"))]);
        let id = format!("sha256:{}", sha256(&layer));
        let layer = blob(&mut out, &layer, "layer.v1.tar")?;
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"n": n.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [id]},
        });
        let config = blob(&mut out, config.to_string().as_bytes(), "config.v1+json")?;
        let kind = format!("{OCI}.manifest.v1+json");
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let mut manifest = blob(&mut out, manifest.to_string().as_bytes(), "manifest.v1+json")?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": format!("full:{n}")});
        manifests.push(manifest);
    }
    file(&mut out, "index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string().as_bytes())?;
    file(&mut out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    out.write_all(&[0; 1024])?;
    out.flush()?;
    Ok(path)
}

fn blob(out: &mut impl Write, bytes: &[u8], kind: &str) -> io::Result<serde_json::Value> {
    let hex = sha256(bytes);
    file(out, &format!("blobs/sha256/{hex}"), bytes)?;
    Ok(json!({"mediaType": format!("{OCI}.{kind}"), "digest": format!("sha256:{hex}"), "size": bytes.len()}))
}

/// One entry of the archive, without the end that a whole tar has.
fn file(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    let tar = tar_of(&[Entry::file(name, bytes)]);
    out.write_all(&tar[..512 + bytes.len().next_multiple_of(512)])
}
