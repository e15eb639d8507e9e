//! What one build is asked to do, and what comes of it. Values only: the command line fills them
//! in from flags, environment and configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orlop_runner::{CancelToken, HostEntry, Isolation, Limits, Mitigation, Network, Runner, Ulimit};
use orlop_store::trace::Trace;
use orlop_store::{Digest, Platform, Reference, Store};

use crate::cache::{CacheSource, CacheTarget};
use crate::context::NamedContext;
use crate::context::git::GitSettings;
use crate::event::Observer;
use crate::output::{Built, Output};
use crate::source::SourceFile;

/// Everything that a build works with besides what it is asked for.
#[derive(Clone, Copy)]
pub struct Engine<'a> {
    /// Where layers, images and facts are kept.
    pub store: &'a Store,
    /// Talks to registries.
    pub registry: &'a orlop_registry_client::Client,
    /// Runs RUN steps.
    pub runner: &'a dyn Runner,
    /// Told what happens.
    pub observer: &'a dyn Observer,
    /// Stops everything when it is set.
    pub cancel: &'a CancelToken,
}

impl<'a> Engine<'a> {
    /// Who is told of what takes time.
    pub(crate) fn trace(&self) -> &'a Trace {
        self.store.trace()
    }
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Where COPY and ADD without `--from` read.
#[derive(Clone, Debug)]
pub enum ContextSource {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A directory that holds what was fetched for this build alone: what its files contain is not remembered.
    Fetched(PathBuf),
    /// Nothing: the Dockerfile came alone.
    Empty,
}

/// `--secret id=…`: a value that a RUN step may mount and that no layer, log or cache ever holds.
#[derive(Clone)]
pub struct Secret {
    /// The name that `--mount=type=secret,id=` refers to.
    pub id: String,
    /// Its bytes.
    pub value: Arc<[u8]>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `--ssh id=SOCKET`: an agent's socket that `--mount=type=ssh` may use.
#[derive(Clone, Debug)]
pub struct SshAgent {
    /// The name that `--mount=type=ssh,id=` refers to; `default` where none is given.
    pub id: String,
    /// The agent's socket on this machine.
    pub socket: PathBuf,
}

/// `--allow`: what RUN steps may ask for beyond what every step has; BuildKit's "entitlements".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `security.insecure`: `RUN --security=insecure` runs without the usual confinement.
    pub insecure: bool,
    /// `network.host`: `RUN --network=host` has the host's network also where `--network` says `none`.
    pub host_network: bool,
}

/// `--pull`: when a registry is asked although the store has the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Only when the store has no image of that name and platform.
    #[default]
    Missing,
    /// Always ask whether the name means something newer.
    Always,
    /// Never: an image that the store has not is an error.
    Never,
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The Dockerfile.
    pub dockerfile: Arc<SourceFile>,
    /// Text of the ignore file that applies, then its name for messages.
    pub ignore: Option<(String, String)>,
    /// Where COPY and ADD read.
    pub context: ContextSource,
    /// `--build-context`, in order.
    pub named_contexts: Vec<NamedContext>,
    /// Names for the result.
    pub tags: Vec<Reference>,
    /// `--target`: the stage to build, by name or number; the last one where none is given.
    pub target: Option<String>,
    /// `--build-arg`, in order.
    pub build_args: Vec<(String, String)>,
    /// `--label`, in order; they come after the Dockerfile's own.
    pub labels: Vec<(String, String)>,
    /// `--platform`, in order; this machine's where none is given. Of several the result is an index.
    pub platforms: Vec<Platform>,
    /// The version of this machine's Windows, which an image of nothing names where `platform` names none. None
    /// where this is no Windows.
    pub host_version: Option<String>,
    /// `--no-cache`: every step runs.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages of which every step runs, by name in lower case.
    pub no_cache_stages: Vec<String>,
    /// `--pull`.
    pub pull: PullPolicy,
    /// `--network` for RUN steps that say nothing else.
    pub network: Network,
    /// `--allow`.
    pub allowed: Allowed,
    /// `--secret`.
    pub secrets: Vec<Secret>,
    /// `--ssh`.
    pub ssh: Vec<SshAgent>,
    /// What git is given of the machine, where a repository is added.
    pub git: GitSettings,
    /// `--add-host`.
    pub add_hosts: Vec<HostEntry>,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--memory`, `--cpus`, `--pids-limit`, `--timeout` and the like, for each RUN step.
    pub limits: Limits,
    /// `--isolation`: what RUN steps may be without.
    pub isolation: Isolation,
    /// `--mitigation`, for RUN steps on Windows.
    pub mitigations: Vec<Mitigation>,
    /// `--host-system-files`: RUN on a base with its own `Windows` directory uses the host's.
    pub host_system_files: bool,
    /// `-o` and `--push`, in order. The store gets the image when one of them says so; the command
    /// line adds [`Output::Store`] where the user named no output.
    pub outputs: Vec<Output>,
    /// `--cache-from`, in order: where results of steps are looked up that the store has not.
    pub cache_from: Vec<CacheSource>,
    /// `--cache-to`: where results of steps go.
    pub cache_to: Vec<CacheTarget>,
    /// `SOURCE_DATE_EPOCH`, in seconds: the time that the image's config and history carry.
    pub source_date_epoch: Option<i64>,
}

impl BuildRequest {
    /// The platform that is looked at where one stands for all: the first, else this machine's.
    pub fn first_platform(&self) -> Platform {
        self.platforms.first().cloned().unwrap_or_else(crate::execute::default_platform)
    }
}

/// What a build made.
#[derive(Clone, Debug)]
pub struct BuildReport {
    /// An image for each platform.
    pub built: Built,
    /// Digest of the image's config; of several images that of their index.
    pub image_id: Digest,
    /// Digest of the manifest or index as it was pushed or written, where an output has one.
    pub manifest_digest: Option<Digest>,
    /// Steps whose result was known.
    pub steps_cached: usize,
    /// Steps that ran.
    pub steps_run: usize,
    /// From the first byte parsed to the last output written.
    pub duration: Duration,
}
