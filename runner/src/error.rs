//! Why a job could not be run.

use std::io;
use std::path::PathBuf;

/// A [`RunSpec`](crate::RunSpec) that cannot mean anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No command.
    #[error("the job has no command")]
    NoCommand,
    /// A zero byte, which no argument, variable or path can hold.
    #[error("{what} holds a zero byte: `{text}`")]
    ZeroByte {
        /// What holds it.
        what: &'static str,
        /// Its text, lossily.
        text: String,
    },
    /// An environment variable's name is empty or holds `=`.
    #[error("`{0}` is not a name for an environment variable")]
    VariableName(String),
    /// A path that has to be absolute is not.
    #[error("{what} `{path}` is not an absolute path", path = path.display())]
    RelativePath {
        /// What it is for.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A mount target that the job cannot do without.
    #[error("nothing can be mounted on `{target}`", target = .0.display())]
    MountTarget(PathBuf),
    /// Text that is not an `--ulimit`.
    #[error("`{0}` is not an ulimit")]
    Ulimit(String),
    /// Text that is not an `--add-host`.
    #[error("`{0}` is not a host and an address")]
    AddHost(String),
    /// A limit of zero or another value that no job could run under.
    #[error("{what} of {value} is not possible")]
    LimitValue {
        /// Which limit.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// A host name that is too long or holds what a host name cannot.
    #[error("`{0}` is not a host name")]
    Hostname(String),
}

impl SpecError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ulimit(_) => Some("write `--ulimit nofile=1024` or `--ulimit nofile=1024:2048`".into()),
            Self::AddHost(_) => {
                Some("write `--add-host name:192.0.2.1`, `name=2001:db8::1` or `name:host-gateway`".into())
            }
            Self::LimitValue { what: "process limit", .. } => Some("a job needs at least 2 processes".into()),
            _ => None,
        }
    }
}

/// Why a job could not be run. A command that ran and failed is not one of these.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The request makes no sense.
    #[error("cannot run the job: {0}")]
    Spec(#[from] SpecError),
    /// The token was cancelled before the job started.
    #[error("cancelled before the job started")]
    Cancelled,
    /// A limit was asked for that this host cannot enforce.
    #[error("cannot limit {what}: {why}")]
    LimitUnavailable {
        /// The limit, `memory`, `cpus`, `pids` or an ulimit with its value.
        what: String,
        /// What the host lacks.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Part of the job's confinement could not be set up.
    #[error("cannot {step}")]
    Setup {
        /// What was being done, with its path or name.
        step: String,
        /// Why it failed.
        source: io::Error,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The job ran but what was created in its root for mounting could not be removed again: the snapshot must not
    /// be committed.
    #[error("cannot remove `{path}`, which was made only to mount over it", path = path.display())]
    CleanUp {
        /// Path inside the root.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl RunError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spec(error) => error.hint(),
            Self::LimitUnavailable { hint, .. } | Self::Setup { hint, .. } => hint.clone(),
            Self::Cancelled | Self::CleanUp { .. } => None,
        }
    }
}
