//! Which snapshot driver works.

use std::sync::Arc;

use super::{Driver, StoreOptions};
use crate::error::Result;
use crate::layer::Layers;
use crate::snapshot::{SnapshotDriver, copy::CopyDriver, overlay};
use crate::work::Work;

/// The layers as they are used with the options: mounted from their tars where only the overlay driver is to be had.
pub(super) fn mounted(layers: Layers, options: &StoreOptions) -> Layers {
    match options.driver {
        Driver::Copy => layers,
        Driver::Auto | Driver::Overlay => layers.with_mounts(),
    }
}

/// The driver, and why it is not the better one.
pub(super) fn choose(
    wanted: Driver,
    work: &Work,
    layers: &Layers,
) -> Result<(Arc<dyn SnapshotDriver>, Option<String>)> {
    let works = match wanted {
        Driver::Copy => None,
        _ => Some(overlay::probe(work, layers.form)),
    };
    let (overlay, fallback) = match works {
        Some(Ok(())) => (true, None),
        Some(Err(e)) if wanted == Driver::Overlay => return Err(e.into()),
        Some(Err(e)) => {
            let why = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
            (false, Some(format!("steps run in copies, which is slow: {e}{why}")))
        }
        None => (false, None),
    };
    let driver: Arc<dyn SnapshotDriver> = if overlay {
        Arc::new(overlay::OverlayDriver::new(layers))
    } else {
        Arc::new(CopyDriver::new(layers))
    };
    Ok((driver, fallback))
}
