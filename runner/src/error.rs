//! Why a job could not be run.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::{Confinement, Isolation};

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
    /// Text that is not an `--isolation`.
    #[error("`{0}` is not an isolation")]
    Isolation(String),
    /// Text that names no process mitigation.
    #[error("`{0}` is not a process mitigation")]
    Mitigation(String),
    /// Text to be appended to a Windows command line, for a runner of another platform.
    #[error("a command line with text that must not be quoted exists on Windows only")]
    RawTail,
}

impl SpecError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ulimit(_) => Some("write `--ulimit nofile=1024` or `--ulimit nofile=1024:2048`".into()),
            Self::AddHost(_) => {
                Some("write `--add-host name:192.0.2.1`, `name=2001:db8::1` or `name:host-gateway`".into())
            }
            Self::Isolation(_) => {
                let identities: Vec<&str> = crate::Identity::ALL.iter().map(|(_, name)| *name).collect();
                Some(format!(
                    "write `--isolation=job`, with `,allow=NAME,NAME` or `,identity={}` behind it",
                    identities.join("|")
                ))
            }
            Self::Mitigation(_) => {
                let names: Vec<&str> = crate::Mitigation::ALL.iter().map(|(_, name)| *name).collect();
                Some(format!("one of {}", names.join(", ")))
            }
            Self::LimitValue { what: "processor weight", .. } => {
                Some("write 1 to 10000; 100 is usual".into())
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
    /// Isolation that was asked for, or is usual, and that this host cannot give. Nothing was started.
    #[error("this host cannot confine the job as asked for")]
    Unconfined {
        /// What is missing and was not allowed to be.
        #[source]
        missing: Missing,
        /// What was asked for and accepted, for the hint.
        isolation: Isolation,
    },
    /// Something that this platform's jobs do not have.
    #[error("{what} is not possible for a job here: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not.
        why: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// Part of the job outlived its end: the snapshot must not be committed.
    #[error("the job ended but {what}")]
    Survived {
        /// What is still there.
        what: String,
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
            Self::LimitUnavailable { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::Setup { hint, .. } => hint.clone(),
            Self::Unconfined { missing, isolation } => {
                let mut isolation = isolation.clone();
                isolation.allow.extend(missing.0.iter().map(|line| line.what.clone()));
                Some(format!("accept less with `--isolation={isolation}`"))
            }
            Self::Survived { .. } => {
                Some("nothing of this step was kept; `orlop info` shows what this host can confine".into())
            }
            Self::Cancelled | Self::CleanUp { .. } => None,
        }
    }
}

/// Confinements that a host does not give, each with its reason: one to a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing(pub Vec<Confinement>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_each_and_one_flag() {
        let line = |name: &str| Confinement::lesser(name, "all", "nothing", "it is old");
        let error = RunError::Unconfined {
            missing: Missing(vec![line("step-sid"), line("file-access")]),
            isolation: "job,allow=services".parse().expect("an isolation"),
        };
        assert_eq!(error.to_string(), "this host cannot confine the job as asked for");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert_eq!(
            cause,
            "step-sid: nothing (asked for: all), because it is old\nfile-access: nothing (asked for: all), because it is old"
        );
        let hint = error.hint().expect("a hint");
        assert_eq!(
            hint,
            "accept less with `--isolation=job,allow=file-access,allow=services,allow=step-sid`"
        );
    }
}
