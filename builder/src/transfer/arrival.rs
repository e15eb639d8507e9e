//! An image that a registry has told of, on its way to its name here.
//!
//! A name that works goes on working until what comes in its place is here in full: whoever is killed on the way, or
//! meets a registry that lost a layer, has what was there before. Until then nothing of the new image is among those
//! of the store.

use std::sync::{Mutex, PoisonError};

use orlop_store::{Image, Index, Manifest, Named, Reference};

use crate::error::BuildError;
use crate::request::Engine;

/// What a registry has under a name, not yet under it here.
#[derive(Debug)]
pub struct Arrival {
    name: Reference,
    image: Image,
    index: Option<Index>,
    named: Mutex<bool>,
}

impl Arrival {
    pub(super) fn new(name: Reference, image: Image, index: Option<Index>) -> Self {
        Self { name, image, index, named: Mutex::new(false) }
    }

    /// The name.
    pub fn name(&self) -> &Reference {
        &self.name
    }

    /// Gives the image its name where all its layers are here.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn settle(&self, engine: &Engine<'_>) -> Result<(), BuildError> {
        self.settle_if(engine, || Ok(engine.store.layers_to_make(&self.image)?.is_empty())).map(drop)
    }

    /// The same where it was looked up for what it is, and nobody needed its layers: they are fetched when somebody
    /// does. An image that is here in full keeps its name nevertheless, and this is false; unless both are in one
    /// index, and the name goes on standing for the other one as well.
    ///
    /// # Errors
    /// As [`Arrival::settle`].
    pub fn settle_as_known(&self, engine: &Engine<'_>) -> Result<bool, BuildError> {
        self.settle_if(engine, || {
            let images = engine.store.images();
            let Some(old) = images.named(&self.name)? else { return Ok(true) };
            if old == self.target() || engine.store.layers_to_make(&self.image)?.is_empty() {
                return Ok(true);
            }
            if old.index.is_some() && old.index == self.target().index && old.id != self.image.id() {
                return Ok(true);
            }
            // What cannot be read works no more.
            let Ok(old) = images.load(&old) else { return Ok(true) };
            Ok(!engine.store.missing_layers(&old)?.is_empty())
        })
    }

    /// What the name is to stand for.
    fn target(&self) -> Named {
        let manifest = self.image.manifest().map(Manifest::digest);
        let index = self.index.as_ref().map(|index| index.descriptor().digest);
        Named { id: self.image.id(), manifest, index }
    }

    fn settle_if(
        &self,
        engine: &Engine<'_>,
        may: impl FnOnce() -> Result<bool, BuildError>,
    ) -> Result<bool, BuildError> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !*named && may()? {
            engine.store.images().put_named(&self.image, &self.name, self.index.as_ref())?;
            *named = true;
        }
        Ok(*named)
    }
}
