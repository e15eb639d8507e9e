//! Roots of steps as builds have them, for checks of what a build makes of what a step left there. The runner knows
//! nothing of layers: whoever runs the self-test brings them.

use std::fmt;
use std::path::Path;

/// Where such roots come from.
pub trait Roots: fmt::Debug + Send + Sync {
    /// An empty one.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn prepare(&self) -> Result<Box<dyn Root>, String>;
}

/// One root.
pub trait Root {
    /// Its directory.
    fn path(&self) -> &Path;

    /// Reads it as a build does after a step, and gives the names in the layer.
    ///
    /// # Errors
    /// Why it makes no layer: a refusal of something in it names that.
    fn read(self: Box<Self>) -> Result<Vec<String>, String>;
}
