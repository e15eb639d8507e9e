//! What a job can ask for on Windows, as plain data on every platform.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::SpecError;

/// How a job is isolated: how much less than usual the caller accepts, and which identity it wants.
///
/// By default nothing may be missing: a job whose confinement cannot be set, or does not read back, is refused with
/// [`RunError::Unconfined`](crate::RunError::Unconfined), which names what is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Names of confinements that may be missing, such as `memory-limit`: those that
    /// [`Confinement::what`](crate::Confinement::what) shows.
    pub allow: BTreeSet<String>,
    /// Whom the job's processes are, where the caller does not leave that to the runner: then it is the strongest
    /// that the system has. One that cannot be had is refused.
    pub identity: Option<Identity>,
}

/// What keeps a job on Windows apart from others of the same user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An AppContainer: the strongest, and not every program runs in one.
    AppContainer,
    /// A token with a restricting SID of the job's own.
    RestrictedToken,
}

impl Identity {
    /// All of them with their names.
    pub const ALL: &[(Identity, &str)] =
        &[(Identity::AppContainer, "app-container"), (Identity::RestrictedToken, "restricted-token")];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(identity, _)| *identity == self).map_or("", |(_, name)| name)
    }
}

impl Isolation {
    /// Whether the caller can do without `name`.
    pub fn allows(&self, name: &str) -> bool {
        self.allow.contains(name)
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("job")?;
        self.identity.iter().try_for_each(|identity| write!(f, ",identity={}", identity.name()))?;
        self.allow.iter().try_for_each(|name| write!(f, ",allow={name}"))
    }
}

impl FromStr for Isolation {
    type Err = SpecError;

    /// Reads `job` with `,identity=NAME` and any number of `,allow=NAME[,NAME…]` behind it.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = || SpecError::Isolation(text.to_owned());
        let mut words = text.split(',');
        if words.next() != Some("job") {
            return Err(error());
        }
        let mut allow = BTreeSet::new();
        let mut identity = None;
        let mut names = false;
        for word in words {
            if let Some(name) = word.strip_prefix("identity=") {
                let known = Identity::ALL.iter().find(|(_, known)| *known == name);
                let known = known.map(|(identity, _)| *identity);
                if known.is_none() || identity.is_some() {
                    return Err(error());
                }
                (identity, names) = (known, false);
                continue;
            }
            let name = match word.strip_prefix("allow=") {
                Some(name) => name,
                // A further name after `allow=NAME`.
                None if names => word,
                None => return Err(error()),
            };
            names = true;
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || !name.bytes().all(good) {
                return Err(error());
            }
            allow.insert(name.to_owned());
        }
        Ok(Self { allow, identity })
    }
}

/// What only a runner on Windows looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowsOptions {
    /// Whom the command runs as.
    pub account: Account,
    /// Whether the root is to be shown on a drive letter of the step's own, where the session can have one that
    /// nobody else sees. A matter of the view and not of confinement: without one the job runs all the same, and
    /// [`RunReport::view`](crate::RunReport::view) says why.
    pub drive_letter: bool,
    /// Process mitigation policies to start with; one that the system does not have is missing confinement.
    pub mitigations: Vec<Mitigation>,
    /// Whether a root that has a `Windows\System32` of its own may be run with the host's.
    pub host_system_files: bool,
}

/// The two accounts of Windows images. Neither is an account of the host: both are the caller's own identity with
/// less in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Account {
    /// `ContainerAdministrator`, the default of Windows images: may write everywhere in its root.
    #[default]
    Administrator,
    /// `ContainerUser`.
    User,
}

/// A process mitigation policy, inherited by every process of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mitigation {
    /// No system calls of the window manager (win32k): for programs that use no user32 or gdi32 at all.
    Win32kOff,
    /// No extension points: input method editors, window hooks, AppInit DLLs.
    ExtensionPointsOff,
    /// No code that was not in a file: breaks every just-in-time compiler.
    DynamicCodeOff,
    /// Only fonts that the system has installed.
    FontsOff,
    /// No images from network shares.
    RemoteImagesOff,
    /// No images that a process of low integrity wrote.
    LowLabelImagesOff,
    /// An exception at each use of a handle that is not open.
    StrictHandles,
}

impl Mitigation {
    /// All of them with their names.
    pub const ALL: &[(Mitigation, &str)] = &[
        (Mitigation::Win32kOff, "win32k-off"),
        (Mitigation::ExtensionPointsOff, "extension-points-off"),
        (Mitigation::DynamicCodeOff, "dynamic-code-off"),
        (Mitigation::FontsOff, "fonts-off"),
        (Mitigation::RemoteImagesOff, "remote-images-off"),
        (Mitigation::LowLabelImagesOff, "low-label-images-off"),
        (Mitigation::StrictHandles, "strict-handles"),
    ];

    /// The name, as on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mitigation, _)| *mitigation == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Mitigation {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(mitigation, _)| *mitigation).ok_or_else(|| SpecError::Mitigation(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolation_is_read_as_it_is_shown() {
        let parse = |text: &str| text.parse::<Isolation>().map(|isolation| isolation.to_string());
        assert_eq!(parse("job"), Ok("job".into()));
        let both = Ok("job,allow=low-integrity,allow=memory-limit".to_owned());
        assert_eq!(parse("job,allow=memory-limit,low-integrity"), both);
        assert_eq!(parse("job,allow=memory-limit,allow=low-integrity"), both);
        for (_, name) in Identity::ALL {
            assert_eq!(parse(&format!("job,identity={name}")), Ok(format!("job,identity={name}")));
            let all = Ok(format!("job,identity={name},allow=a,allow=b"));
            assert_eq!(parse(&format!("job,allow=b,a,identity={name}")), all);
            assert_eq!(parse(&format!("job,identity={name},allow=b,a")), all);
        }
        for bad in [
            "",
            "hyperv",
            "job,",
            "job,memory-limit",
            "job,allow=",
            "job,allow=A",
            "job,allow=a,",
            "job,allow=a b",
            "identity=app-container",
            "job,identity=",
            "job,identity=user",
            "job,identity=App-Container",
            "job,identity=app-container,identity=restricted-token",
            "job,identity=app-container,memory-limit",
            "job,allow=a,identity=app-container,b",
        ] {
            assert_eq!(parse(bad), Err(SpecError::Isolation(bad.into())), "{bad}");
        }
    }

    #[test]
    fn mitigations_have_names() {
        for (mitigation, name) in Mitigation::ALL {
            assert_eq!((name.parse(), mitigation.name()), (Ok(*mitigation), *name));
        }
        assert!("".parse::<Mitigation>().is_err());
    }
}
