//! The client side of the OCI distribution protocol and nothing else.
//!
//! A [`Client`] is told everything (credentials, hosts, proxies, limits) and reads nothing from the
//! environment. It blocks: behind it is one small runtime that nobody sees. Streams are [`Read`] in
//! both directions; memory does not grow with the size of a blob.
//!
//! ```no_run
//! use orlop_registry_client::{Client, ClientConfig, Repository, TagOrDigest};
//!
//! # fn main() -> Result<(), orlop_registry_client::Error> {
//! let client = Client::new(ClientConfig::default());
//! let repo = Repository::new("docker.io", "library/debian")?;
//! let manifest = client.manifest(&repo, &TagOrDigest::Tag("12".into()))?;
//! println!("{} {}", manifest.digest, manifest.media_type);
//! # Ok(()) }
//! ```
//!
//! [`Read`]: std::io::Read

pub mod auth;
mod client;
mod document;
mod download;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod hosts;
mod list;
mod mirrors;
mod notice;
mod pipe;
mod pull;
mod push;
mod registry;
mod retry;
mod transport;

pub use auth::{Credential, Credentials};
pub use client::{Client, ClientConfig};
pub use download::{Download, DownloadHead};
pub use error::{Error, StatusError, TransportKind};
pub use hosts::{Authorities, FOREIGN_LAYER_HOSTS, HostsConfig, RegistriesConf, ShortName};
pub use notice::NoticeObserver;
pub use pull::{BlobReader, MANIFEST_CAP, select_platform};
pub use push::{Progress, Source};
pub use registry::{ManifestHead, ManifestResponse, PushOutcome, Repository, TagOrDigest};
pub use retry::{Retry, RetryObserver, RetryPolicy, Stop};
pub use transport::{Proxies, Timeouts, redact};
