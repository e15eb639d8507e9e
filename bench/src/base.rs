//! The image that a build starts from, in the form that each builder takes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orlop_fixtures::tool::tool;
use serde_json::Value;

use crate::workload::BaseKind;

/// What it is called in a Docker daemon.
pub(crate) const NAME: &str = "bench-base:latest";

/// A base image.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// An OCI layout, tagged `latest`.
    pub(crate) layout: PathBuf,
    /// The same for `docker load`, as [`NAME`].
    pub(crate) archive: PathBuf,
    /// The same as a directory, for floors.
    pub(crate) root: PathBuf,
}

impl Base {
    /// Makes it below `work`, unless that was done.
    pub(crate) fn make(kind: BaseKind, work: &Path) -> io::Result<Self> {
        let (name, layout) = match kind {
            BaseKind::Busybox => ("busybox", orlop_fixtures::base::busybox()),
            BaseKind::Debian => ("debian", orlop_fixtures::base::debian()),
        };
        let base = Self {
            layout,
            archive: work.join(format!("base-{name}.tar")),
            root: work.join(format!("base-{name}")),
        };
        if !base.archive.exists() {
            let mut skopeo = tool("skopeo");
            skopeo.args(["--insecure-policy", "copy", "--quiet"]);
            skopeo.arg(format!("oci:{}:latest", base.layout.display()));
            skopeo.arg(format!("docker-archive:{}:{NAME}", base.archive.display()));
            succeed(skopeo.env("HOME", work).output()?, "skopeo cannot write the base image")?;
            unpack(&base.layout, &base.root)?;
        }
        Ok(base)
    }
}

/// Unpacks all layers of a layout's only image.
pub(crate) fn unpack(layout: &Path, root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for layer in layers(layout)? {
        let mut tar = tool("tar");
        tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xf"]).arg(layer).arg("-C").arg(root);
        succeed(tar.output()?, "tar cannot unpack the base image")?;
    }
    Ok(())
}

/// The files of the layers of a layout's only image.
pub(crate) fn layers(layout: &Path) -> io::Result<Vec<PathBuf>> {
    let blob =
        |digest: &Value| layout.join("blobs").join(digest.as_str().unwrap_or_default().replace(':', "/"));
    let json = |path: &Path| -> io::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let index = json(&layout.join("index.json"))?;
    let manifest = json(&blob(&index["manifests"][0]["digest"]))?;
    Ok(manifest["layers"].as_array().into_iter().flatten().map(|layer| blob(&layer["digest"])).collect())
}

/// An error where a program failed, with what it said.
pub(crate) fn succeed(output: std::process::Output, what: &str) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{what} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr))))
}
