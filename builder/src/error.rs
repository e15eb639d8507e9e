//! Why a build failed: what, where in the Dockerfile, because of what, and what to do about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::source::{SourceFile, Span};

/// Who has to act. It alone decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The Dockerfile, the context, a step or a registry said no.
    User,
    /// orlop itself or the machine could not.
    Internal,
    /// The user stopped it.
    Interrupted,
}

/// A place in a Dockerfile.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<SourceFile>,
    /// The bytes.
    pub span: Span,
}

/// The processes of a RUN step that failed.
#[derive(Clone, Debug)]
pub struct FailedStep {
    /// The last that they wrote, both streams together.
    pub tail: Vec<u8>,
    /// What they used.
    pub usage: orlop_runner::Usage,
}

/// Why a build failed.
#[derive(Debug)]
pub struct BuildError {
    /// Who has to act.
    pub kind: ErrorKind,
    /// What failed, one sentence, without a full stop.
    pub message: String,
    /// Where in the Dockerfile.
    pub place: Option<Place>,
    /// What to type next.
    pub hint: Option<String>,
    /// The layer that could not be had, where that is why: its blob, its diff ID where no blob is known.
    pub layer: Option<Box<orlop_store::Digest>>,
    /// What there is to say of the processes of a RUN step that failed.
    pub step: Option<Box<FailedStep>>,
    /// Because of what.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl BuildError {
    /// An error that the user can do something about.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }

    /// An error of ours or of the machine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The user stopped the build.
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, hint: None, layer: None, step: None, source: None }
    }

    /// Adds what to type next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Says which platform of several it is about.
    #[must_use]
    pub(crate) fn of(mut self, platform: &str) -> Self {
        if self.kind != ErrorKind::Interrupted {
            self.message = format!("{platform}: {}", self.message);
        }
        self
    }

    /// The same, where there are several.
    #[must_use]
    pub(crate) fn of_one(self, platform: Option<String>) -> Self {
        match platform {
            Some(platform) => self.of(&platform),
            None => self,
        }
    }

    /// Says which layer could not be had.
    #[must_use]
    pub(crate) fn of_layer(mut self, layer: Option<&orlop_store::ImageLayer>) -> Self {
        let digest =
            |layer: &orlop_store::ImageLayer| layer.blob.as_ref().map_or(layer.diff_id, |b| b.digest);
        self.layer = self.layer.or(layer.map(|layer| Box::new(digest(layer))));
        self
    }

    /// What failed and because of what, in one line.
    pub(crate) fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(found) = cause {
            let found_text = found.to_string();
            // Some say what their own cause says.
            if !text.ends_with(&found_text) {
                text.push_str(": ");
                text.push_str(&found_text);
            }
            cause = found.source();
        }
        text
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error for another place that met it; the cause as text.
    pub(crate) fn again(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            place: None,
            hint: self.hint.clone(),
            layer: self.layer.clone(),
            step: None,
            source: self.source.as_ref().map(|s| s.to_string().into()),
        }
    }

    /// Adds the place, unless a more exact one is known already.
    #[must_use]
    pub fn at(mut self, file: &Arc<SourceFile>, span: Span) -> Self {
        self.place.get_or_insert_with(|| Place { file: Arc::clone(file), span });
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

impl From<orlop_store::Error> for BuildError {
    fn from(error: orlop_store::Error) -> Self {
        let hint = error.hint();
        use orlop_store::ErrorKind as Store;
        let kind = match error.kind() {
            Store::NotFound | Store::Input | Store::Content => ErrorKind::User,
            _ => ErrorKind::Internal,
        };
        let mut out = Self::new(kind, error.to_string()).with_hint(hint);
        out.source = Cause::of(error.source()).map(|cause| cause as _);
        out
    }
}

/// What another error was caused by, and that by what, as text.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    fn of(error: Option<&(dyn Error + 'static)>) -> Option<Box<Self>> {
        error.map(|error| Box::new(Self { text: error.to_string(), source: Self::of(error.source()) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<orlop_registry_client::Error> for BuildError {
    fn from(error: orlop_registry_client::Error) -> Self {
        if matches!(error, orlop_registry_client::Error::Cancelled) {
            return Self::interrupted();
        }
        let hint = error.hint();
        let mut out = Self::user(error.to_string()).with_hint(hint);
        if let Some(source) = Error::source(&error) {
            out.source = Some(source.to_string().into());
        }
        out
    }
}
