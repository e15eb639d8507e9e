//! Which image a name means: short names by configuration, others by what they say.

use std::sync::Arc;

use orlop_registry_client::ShortName;
use orlop_store::{Image, Platform, Reference, Store};

use super::{Arrival, check_cancelled, registry_error, resolve_one};
use crate::error::{BuildError, ErrorKind as Fault};
use crate::event::Task;
use crate::request::{Engine, PullPolicy};

/// What a name means.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The image. Its layers may be still at the registry.
    pub image: Image,
    /// The name that it has there. That is another one where the name is short and `registries.conf` says what it
    /// stands for.
    pub name: Reference,
    /// Whoever brings the layers, or goes without, gives it its name here by that; none where it was here.
    pub arrival: Option<Arc<Arrival>>,
}

/// What `reference` means for `platform`.
///
/// # Errors
/// When neither the store nor, as far as `policy` lets it be asked, a registry has it.
pub fn resolve(
    engine: &Engine<'_>,
    reference: &Reference,
    platform: &Platform,
    policy: PullPolicy,
    task: &Task<'_>,
) -> Result<Resolved, BuildError> {
    let one = |name: &Reference| {
        let (image, arrival) = resolve_one(engine, name, platform, policy, task)?;
        Ok(Resolved { image, name: name.clone(), arrival: arrival.map(Arc::new) })
    };
    let failed = |error| registry_error(format!("cannot tell what `{}` is", reference.familiar()), error);
    let Some(meant) = engine.registry.short_name(reference).map_err(failed)? else {
        return one(reference);
    };
    if policy != PullPolicy::Always {
        for name in meant.names.iter().chain([reference]) {
            if engine.store.images().named(name)?.is_some() {
                return one(name);
            }
        }
        if policy == PullPolicy::Never {
            // It fails, and says how.
            return one(reference);
        }
    }
    if meant.ambiguous {
        // What was pulled once in full is meant from then on, as with podman.
        let name = here(engine.store, &meant).ok_or_else(|| failed(meant.refuse(reference)))?;
        return one(&name);
    }
    first(engine, reference, &meant, one, task)
}

/// The first of the registries that has it.
fn first(
    engine: &Engine<'_>,
    reference: &Reference,
    meant: &ShortName,
    resolve: impl Fn(&Reference) -> Result<Resolved, BuildError>,
    task: &Task<'_>,
) -> Result<Resolved, BuildError> {
    let mut failed: Vec<(String, BuildError)> = Vec::new();
    for name in &meant.names {
        check_cancelled(engine)?;
        match resolve(name) {
            Ok(resolved) => {
                task.note(format!("`{}` is `{name}`, by {}", reference.familiar(), meant.because));
                return Ok(resolved);
            }
            Err(error) if error.kind == Fault::User => failed.push((name.to_string(), error)),
            Err(error) => return Err(error),
        }
    }
    let names = failed.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let text = format!("cannot pull `{}`, which is {names} by {}", reference.familiar(), meant.because);
    let hint = failed.first().and_then(|(_, error)| error.hint.clone());
    let error = BuildError::user(text);
    Err(match failed.into_iter().next_back() {
        Some((_, last)) => error.because(last).with_hint(hint),
        None => error,
    })
}

/// That of the names which a short one may mean under which there is something in the store.
pub fn here(store: &Store, meant: &ShortName) -> Option<Reference> {
    meant.names.iter().find(|name| matches!(store.images().named(name), Ok(Some(_)))).cloned()
}
