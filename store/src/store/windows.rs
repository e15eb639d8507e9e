//! There is one snapshot driver, with clones of blocks or without.

use std::sync::Arc;

use super::{Driver, StoreOptions};
use crate::error::{Error, Result};
use crate::layer::Layers;
use crate::snapshot::{SnapshotDriver, windows::CloneDriver};
use crate::work::Work;

/// The layers as they are used with the options.
pub(super) fn mounted(layers: Layers, _options: &StoreOptions) -> Layers {
    layers
}

/// The driver, and why it is not faster.
pub(super) fn choose(
    wanted: Driver,
    _work: &Work,
    layers: &Layers,
) -> Result<(Arc<dyn SnapshotDriver>, Option<String>)> {
    if wanted == Driver::Overlay {
        return Err(Error::Unsupported {
            what: "the snapshot driver `overlay`".to_owned(),
            why: "overlays are of Linux".to_owned(),
        });
    }
    let driver = CloneDriver::new(layers, wanted == Driver::Auto)?;
    let fallback = driver.why_no_clones().map(str::to_owned);
    Ok((Arc::new(driver), fallback))
}
