//! The image of a workload for pulls: made by tar and gzip, so that no builder has it in a form that suits it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use orlop_fixtures::tool::{run, tool};
use serde_json::{Value, json};

use crate::base::{layers, succeed};

const OCI: &str = "application/vnd.oci.image";

/// Writes a layout at `to`, tagged `latest`: the base's layers, and one for each part of the context.
pub(crate) fn make(base: &Path, context: &Path, parts: &[(String, String)], to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.join("blobs/sha256"))?;
    let (mut ids, mut descriptors) = (Vec::new(), Vec::new());
    let tar = to.join("layer.tar");
    for layer in layers(base)? {
        let mut gzip = tool("gzip");
        pipe(gzip.arg("-dc").arg(&layer), &tar)?;
        ids.push(sum(&tar)?);
        let copy = to.join("layer.gz");
        fs::copy(&layer, &copy)?;
        descriptors.push(keep(to, &copy, "layer.v1.tar+gzip")?);
    }
    for (from, name) in parts {
        let mut pack = tool("tar");
        pack.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@1700000000"]);
        // Builders write the directories above what they copy as well.
        let above = Path::new(name).parent().unwrap_or(Path::new("."));
        fs::create_dir_all(to.join("above").join(above))?;
        pack.arg(format!("--transform=s,^{from},{name},S")).arg("-cf").arg(&tar);
        pack.arg("-C").arg(to.join("above")).arg("--no-recursion").arg(above);
        pack.arg("-C").arg(context).arg("--recursion").arg(from);
        succeed(pack.output()?, "tar cannot pack the context")?;
        ids.push(sum(&tar)?);
        let packed = to.join("layer.gz");
        let mut gzip = tool("gzip");
        pipe(gzip.arg("-6nc").arg(&tar), &packed)?;
        descriptors.push(keep(to, &packed, "layer.v1.tar+gzip")?);
    }
    fs::remove_file(&tar)?;
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": ids},
        "history": ids.iter().map(|_| json!({"created": "2023-11-14T22:13:20Z"})).collect::<Vec<_>>(),
    });
    let config = write(to, &config, "config.v1+json")?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": format!("{OCI}.manifest.v1+json"), "config": config, "layers": descriptors,
    });
    let mut manifest = write(to, &manifest, "manifest.v1+json")?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(to.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

fn pipe(command: &mut std::process::Command, to: &Path) -> io::Result<()> {
    let status = command.stdout(Stdio::from(File::create(to)?)).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("gzip ended with {status}"))) }
}

fn sum(file: &Path) -> io::Result<String> {
    let out = tool("sha256sum").arg(file).output()?;
    let hex = out.stdout.get(..64).ok_or_else(|| io::Error::other("sha256sum gave no digest"))?;
    Ok(format!("sha256:{}", String::from_utf8_lossy(hex)))
}

fn write(to: &Path, value: &Value, kind: &str) -> io::Result<Value> {
    let file = to.join("document");
    fs::write(&file, value.to_string())?;
    keep(to, &file, kind)
}

/// Moves a file under its digest, and describes it.
fn keep(to: &Path, file: &Path, kind: &str) -> io::Result<Value> {
    let (digest, size) = (sum(file)?, fs::metadata(file)?.len());
    fs::rename(file, to.join("blobs").join(digest.replace(':', "/")))?;
    Ok(json!({"mediaType": format!("{OCI}.{kind}"), "digest": digest, "size": size}))
}

/// A registry that has the image of a workload as `image:1`.
pub(crate) fn serve(layout: &PathBuf) -> orlop_fixtures::registry::Registry {
    let registry = orlop_fixtures::registry::start();
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
    skopeo
        .arg(format!("oci:{}:latest", layout.display()))
        .arg(format!("docker://{}", registry.name("image:1")));
    run(skopeo.env("HOME", layout));
    registry
}
