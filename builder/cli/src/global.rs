//! Flags that several commands share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::diagnostics::Failure;
use crate::env;
use crate::progress::Mode;

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The store's directory [default: /var/lib/orlop for root, else ~/.local/share/orlop]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// How file systems are stacked [default: overlay where the machine can]
    #[arg(long, global = true, value_name = "DRIVER")]
    pub(crate) storage_driver: Option<StorageDriver>,

    /// Registry that may be spoken to over plain HTTP or with a certificate that nobody vouches for,
    /// `HOST[:PORT]` (repeatable)
    #[arg(long = "insecure-registry", global = true, value_name = "HOST")]
    pub(crate) insecure_registries: Vec<String>,

    /// Host that layers which no registry keeps may be fetched from, besides Microsoft's: an image names their
    /// URLs, so only hosts that you trust are asked (repeatable)
    #[arg(long = "foreign-layers-from", global = true, value_name = "HOST[:PORT]")]
    pub(crate) foreign_hosts: Vec<String>,

    /// File with credentials for registries, instead of all others
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

/// `--storage-driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageDriver {
    /// overlayfs.
    Overlay,
    /// Copies, by reflink where the file system can.
    Copy,
}

/// How progress is shown.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProgressArgs {
    /// How progress is shown, on standard error
    #[arg(long, value_name = "MODE")]
    progress: Option<Mode>,

    /// Show no progress, the result alone
    #[arg(short, long)]
    quiet: bool,
}

impl ProgressArgs {
    /// Whether errors are events as well.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.mode(), Ok(Mode::Rawjson))
    }

    /// What the flags and the environment say.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        match (self.quiet, self.progress) {
            (true, None | Some(Mode::Quiet)) => Ok(Mode::Quiet),
            (true, Some(_)) => Err(Failure::usage("`--quiet` and `--progress` exclude each other")),
            (false, Some(mode)) => Ok(mode),
            (false, None) => match env::ORLOP_PROGRESS.text() {
                None => Ok(Mode::Auto),
                Some(text) => Mode::from_str(&text, true).map_err(|_| {
                    Failure::usage(format!("ORLOP_PROGRESS is `{text}`"))
                        .with_hint("use `auto`, `plain`, `tty`, `rawjson` or `quiet`".to_owned())
                }),
            },
        }
    }
}
