//! A Debian package and what it needs beyond the base image, as package files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orlop_fixtures::tool::tool;
use orlop_fixtures::{base, cache_dir};

use crate::base::unpack;
use crate::comparison::say;
use crate::disk::delete;
use crate::measure::tail;
use crate::workload::files::put;

/// Where the packages are kept.
fn place(package: &str) -> PathBuf {
    cache_dir().join(format!("bench-debs-{package}-1"))
}

/// Makes the Debian base and downloads the packages by apt from this machine's mirror, unless that was done.
pub(crate) fn fetch(package: &str) -> io::Result<()> {
    if place(package).exists() {
        return Ok(());
    }
    say(&format!(
        "making a Debian base image by mmdebstrap, and downloading {package} and what it needs with apt; both are kept"
    ));
    let layout = base::debian();
    let half = cache_dir().join(format!("bench-debs.half-{}", std::process::id()));
    let root = half.join("root");
    fs::create_dir_all(half.join("archives/partial"))?;
    let outcome = unpack(&layout, &root).and_then(|()| download(package, &half, &root));
    if outcome.is_ok() {
        fs::rename(half.join("archives"), place(package))?;
    }
    delete(&half)?;
    outcome
}

/// With the base's idea of what is installed, and this machine's of what there is.
fn download(package: &str, half: &Path, root: &Path) -> io::Result<()> {
    let log = half.join("log");
    let mut apt = tool("sh");
    apt.args([
        "-c",
        "exec >\"$LOG\" 2>&1; apt-get \"$@\" update && apt-get \"$@\" install --download-only \"$PACKAGE\"",
        "apt",
    ]);
    apt.args(["-qq", "-y", "--no-install-recommends", "-o", "Acquire::Retries=3", "-o"]);
    apt.arg(format!("Dir::State::status={}", root.join("var/lib/dpkg/status").display())).arg("-o");
    apt.arg(format!("Dir::Cache::archives={}", half.join("archives").display()));
    let status =
        apt.env("LOG", &log).env("PACKAGE", package).env("DEBIAN_FRONTEND", "noninteractive").status()?;
    let count = packages(&half.join("archives"))?.len();
    if status.success() && count > 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "apt-get cannot download {package} ({status}, {count} packages):\n{}",
        tail(&log)
    )))
}

fn packages(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// Copies them into a context.
pub(crate) fn put_into(package: &str, dir: &Path) -> io::Result<()> {
    for path in packages(&place(package))? {
        // apt writes a colon of a version as `%3a`, which is nothing to change.
        put(&dir.join(path.file_name().unwrap_or_default()), &fs::read(&path)?)?;
    }
    Ok(())
}
