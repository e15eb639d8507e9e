//! Files of an image into a directory of Windows: as a COPY of all of them.

use std::path::Path;

use orlop_runner::CancelToken;

use super::super::tree::failed;
use crate::context::{NoCache, SourceTree};
use crate::dialect::Dialect;
use crate::error::BuildError;
use crate::event::Task;
use crate::execute::copy::{CopyRequest, Source, apply, select};

/// Copies everything below `root` into `dest`, which is made where it is missing. What is in the way is replaced,
/// what else is there stays. Owners do not exist here; times are kept.
///
/// A Linux image is copied too, as far as its names and links are possible on Windows.
pub(in crate::output) fn write(
    cancel: &CancelToken,
    root: &Path,
    dest: &Path,
    _: bool,
    task: &Task<'_>,
) -> Result<(), BuildError> {
    std::fs::create_dir_all(dest).map_err(|e| failed("make", dest, e))?;
    let tree = SourceTree::root(root, Dialect::Windows).map_err(|e| failed("open", root, e.source))?;
    let request = CopyRequest {
        sources: vec![Source::Path("/".to_owned())],
        dest: "/".to_owned(),
        link: true,
        dialect: Dialect::Windows,
        ..CopyRequest::default()
    };
    let wrong = |e: crate::execute::copy::CopyError| {
        let out = BuildError::user(format!("cannot write the image into `{}`: {e}", dest.display()));
        let hint = e.hint();
        match std::error::Error::source(&e).map(ToString::to_string) {
            Some(cause) => out.because(cause).with_hint(hint),
            None => out.with_hint(hint),
        }
    };
    let selection = select(&request, &tree, &NoCache, None).map_err(wrong)?;
    if cancel.is_cancelled() {
        return Err(BuildError::interrupted());
    }
    let done = apply(&selection, dest, &|name| Err(format!("`{name}` is not looked up here").into()))
        .map_err(wrong)?;
    if done.attributes_lost > 0 {
        task.note(format!(
            "{} extended attributes could not be kept in `{}`",
            done.attributes_lost,
            dest.display()
        ));
    }
    Ok(())
}
