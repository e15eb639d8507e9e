//! A look into a layout that brings nothing of it into a store.

use std::path::Path;

use super::source::{ArchiveSource, DirectorySource, Source};
use super::{LoadOptions, oci};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::platform::Platform;

/// What the image `name` for `platform` says of itself, in the OCI layout at `path`, a directory or an archive. Where no
/// name is said `latest` is meant, unless there is but one. None where it cannot be had without unpacking anything:
/// whoever needs it for certain loads it.
pub fn peek(path: &Path, name: Option<&str>, platform: &Platform) -> Option<Image> {
    let source = open(path).ok()?;
    let images = |name: Option<&str>| {
        let (name, platform) = (name.map(str::to_owned), Some(platform.clone()));
        oci::configs(&*source, &LoadOptions { name, platform, layers_only: true }).ok()
    };
    let mut found = images(name)?;
    if name.is_none() && found.len() > 1 {
        found = images(Some("latest"))?;
    }
    <[Image; 1]>::try_from(found).ok().map(|[one]| one)
}

fn open(path: &Path) -> Result<Box<dyn Source>> {
    // A FIFO must not hold us up.
    let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_dir() {
        return Ok(Box::new(DirectorySource::open(path)?));
    }
    let name = format!("archive `{}`", path.display());
    if !metadata.is_file() {
        return Err(Error::invalid(name, "it is no file"));
    }
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let packed = || Err(Error::invalid(&name, "it is compressed"));
    Ok(Box::new(ArchiveSource::open(file, name.clone(), packed)?))
}
