//! An image that came out of a build, laid open by other people's tools.

use std::path::Path;

use orlop_fixtures::test_env::{WorkDir, work_dir};
use orlop_fixtures::tree::{Entry, Tree};
use orlop_fixtures::{flatten, layout};
use serde_json::Value;

/// An image as layout, layers, configuration and files.
pub(crate) struct Opened {
    /// The manifest.
    pub(crate) manifest: Value,
    /// The configuration, whole.
    pub(crate) config: Value,
    /// The files.
    pub(crate) tree: Tree,
    /// Tar bytes of each layer, from the bottom up.
    pub(crate) layers: Vec<Vec<u8>>,
    _work: WorkDir,
}

impl Opened {
    /// The only image of an `oci-archive`.
    pub(crate) fn archive(path: &Path) -> Self {
        Self::from(&format!("oci-archive:{}", path.display()))
    }

    /// An image by any name that skopeo understands.
    pub(crate) fn from(name: &str) -> Self {
        let work = work_dir();
        let dir = flatten::copy(name, work.path());
        let (manifest, config) = layout::read(&dir);
        let layers = layout::layers(&dir);
        let history = config["history"].as_array().cloned().unwrap_or_default();
        let with_layer = history.iter().filter(|h| h["empty_layer"] != true).count();
        assert_eq!(with_layer, layers.len(), "one entry of the history a layer: {history:?}");
        let tree = flatten::layout(&dir, "latest");
        Self { manifest, config, tree, layers, _work: work }
    }

    /// The `config` object of the configuration.
    pub(crate) fn settings(&self) -> &Value {
        &self.config["config"]
    }

    /// One path.
    #[track_caller]
    pub(crate) fn at(&self, path: &str) -> &Entry {
        self.tree.get(path).unwrap_or_else(|| panic!("`{path}` is missing from {:?}", self.tree.keys()))
    }

    /// The text of a file.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        self.at(path).content.as_deref().unwrap_or_else(|| panic!("`{path}` is no short file"))
    }

    /// Whether there is such a path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.tree.contains_key(path)
    }

    /// Every name in the layers that the build added to a base of one layer.
    pub(crate) fn new_names(&self) -> Vec<String> {
        self.layers.iter().skip(1).flat_map(|tar| layout::names(tar)).collect()
    }
}
