//! What can go wrong between us and a registry, said so that a person knows what to type next.

use std::fmt;
use std::io;
use std::time::Duration;

use orlop_store::Digest;

use crate::auth::Secrets;
use crate::transport::ON;

/// Bytes of an error body that are read; the rest is not looked at.
pub(crate) const ERROR_BODY_CAP: usize = 64 * 1024;

/// Why a request did not do what was asked. `source()` says more where there is more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry answered, and the answer was no.
    #[error("{0}")]
    Status(Box<StatusError>),
    /// No answer: name resolution, connection, TLS, a break in mid-stream, a timeout.
    #[error("{method} {url}: {kind}")]
    Transport {
        /// HTTP method.
        method: String,
        /// URL without secrets.
        url: String,
        /// What broke.
        kind: TransportKind,
        /// What the layer below said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The registry answered in a way that the distribution specification does not allow.
    #[error("{method} {url}: {what}")]
    Protocol {
        /// HTTP method.
        method: String,
        /// URL without secrets.
        url: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// An answer by HTTPS that leads to plain HTTP, at a host for which configuration does not allow that.
    #[error("{method} {url}: {what}, `{to}`")]
    Downgrade {
        /// HTTP method.
        method: String,
        /// URL without secrets.
        url: String,
        /// What leads there.
        what: String,
        /// Where it leads, without secrets.
        to: String,
        /// The host there.
        host: String,
    },
    /// Other content than was asked for.
    #[error("GET {url}: expected {expected}, the registry sent {found}")]
    Digest {
        /// URL without secrets.
        url: String,
        /// The digest that was asked for or announced.
        expected: Digest,
        /// The digest of what arrived.
        found: Digest,
    },
    /// Content of another size than its descriptor says.
    #[error("GET {url}: expected {expected} bytes, the registry sent {found}")]
    Size {
        /// URL without secrets.
        url: String,
        /// Bytes that the descriptor says.
        expected: u64,
        /// Bytes that arrived or were announced.
        found: u64,
    },
    /// A manifest that orlop does not read.
    #[error("`{name}`: {what}")]
    Manifest {
        /// Repository and tag or digest.
        name: String,
        /// Why it is not read.
        what: String,
    },
    /// A layer that is to be had from a host alone that nobody has allowed.
    #[error("layer {} is not kept by registries, and `{host}`, where it is to be had, is not allowed", .digest.short())]
    ForeignHost {
        /// The layer's blob.
        digest: Digest,
        /// The host.
        host: String,
    },
    /// An index that has no image for the platform.
    #[error("no image for platform `{wanted}`; there are: {available}")]
    NoPlatform {
        /// The platform asked for.
        wanted: String,
        /// The platforms that there are, comma-separated.
        available: String,
    },
    /// No token or password to be had.
    #[error("log in to `{registry}`: {what}")]
    Auth {
        /// Registry host.
        registry: String,
        /// What failed.
        what: String,
        /// What the token server or the helper said.
        #[source]
        source: Option<Box<Error>>,
    },
    /// Configuration that cannot be used: a credentials file, `registries.conf`, a certificate, a proxy.
    #[error("`{name}`: {what}")]
    Config {
        /// The file or setting.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A file of certs.d that cannot be used.
    #[error("`{file}`, {role}: {what}")]
    Certificate {
        /// The file.
        file: String,
        /// What it is there for, and for which registry.
        role: String,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// `registries.conf` forbids the registry.
    #[error("`{prefix}` is blocked by `{file}`")]
    Blocked {
        /// The registry, or another prefix of names.
        prefix: String,
        /// The file that says so.
        file: String,
    },
    /// A short name that may be meant for several registries, where configuration wants it to be clear.
    #[error("`{name}` may be {names}, by {because}")]
    Ambiguous {
        /// The name as it was written.
        name: String,
        /// What it may be.
        names: String,
        /// What says so.
        because: String,
    },
    /// The source of a push could not be read, or is not what its descriptor says.
    #[error("read {} to push it", digest.map_or("a blob".to_owned(), |digest| format!("`{digest}`")))]
    Source {
        /// The blob, where it is known already what it is.
        digest: Option<Digest>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The failure of the registry itself, with those of its mirrors.
    #[error("{last} (before that: {before})")]
    Mirrors {
        /// Failure of the registry itself.
        last: Box<Error>,
        /// Failures of the mirrors, one after the other.
        before: String,
    },
    /// The caller gave up.
    #[error("cancelled")]
    Cancelled,
}

/// The kinds of [`Error::Transport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// The host has no address.
    Resolve,
    /// Nobody listens.
    Refused,
    /// No connection for another reason.
    Connect,
    /// No connection within the time.
    ConnectTimeout,
    /// The certificate is signed by nobody we know.
    Certificate,
    /// The certificate is for another time.
    CertificateTime,
    /// The certificate is for another name.
    CertificateName,
    /// The server wants a certificate of ours, or another one.
    TlsRefused,
    /// There is no version of TLS, or no cipher, that the server and we both know.
    TlsVersion,
    /// The server ended TLS for another reason, and will do so again.
    TlsAlert,
    /// The proxy cannot be reached, or opens no way to the host.
    Proxy,
    /// The proxy wants a login, or another one.
    ProxyLogin,
    /// The peer does not speak TLS: most likely plain HTTP.
    NotTls,
    /// TLS failed otherwise.
    Tls,
    /// No answer within the time (first byte).
    FirstByteTimeout,
    /// Bytes stopped coming or going.
    Stalled,
    /// Bytes came, but too few in too much time.
    Slow,
    /// The connection broke.
    Broken,
    /// Too many redirects, or one that leads nowhere.
    Redirect,
    /// The answer is not HTTP, or has a head that is none.
    NotHttp,
    /// Anything else.
    Other,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the host has no address",
            Self::Refused => "connection refused",
            Self::Connect => "no connection",
            Self::ConnectTimeout => "no connection within the time limit",
            Self::Certificate => "the server's certificate is not trusted",
            Self::CertificateTime => "the server's certificate is for another time",
            Self::CertificateName => "the server's certificate is for another name",
            Self::Proxy => "no way through the proxy",
            Self::ProxyLogin => "the proxy wants a login",
            Self::TlsRefused | Self::TlsAlert => "the server refuses this TLS connection",
            Self::TlsVersion => "the server speaks no TLS that can be used",
            Self::NotTls => "the server does not speak HTTPS",
            Self::Tls => "TLS failed",
            Self::FirstByteTimeout => "no answer within the time limit",
            Self::Stalled => "the transfer stalled",
            Self::Slow => "the transfer is too slow to end",
            Self::Broken => "the connection broke",
            Self::Redirect => "redirected too often or nowhere",
            Self::NotHttp => "the answer is not HTTP",
            Self::Other => "the request failed",
        })
    }
}

/// An answer that is an error, with what its body said.
#[derive(Clone, Debug)]
pub struct StatusError {
    /// HTTP method.
    pub method: String,
    /// URL without secrets.
    pub url: String,
    /// HTTP status.
    pub status: u16,
    /// The registry's own code, such as `NAME_UNKNOWN`, where the body had one.
    pub code: Option<String>,
    /// The message, shortened, where the body had one.
    pub message: Option<String>,
    /// How long the registry asked us to wait.
    pub retry_after: Option<Duration>,
    /// Of a refusal: the user whom we had logged in as, empty where the login names none.
    pub login: Option<String>,
    /// Of a refusal: why what it asks for (`WWW-Authenticate`) cannot be given, whoever is logged in.
    pub challenge: Option<String>,
}

impl StatusError {
    /// Reads the error body of a registry (distribution specification, "Error codes") or of a token
    /// server, or takes the first line of any other text.
    pub(crate) fn read_body(&mut self, body: &[u8], secrets: &Secrets) {
        let body = body.get(..body.len().min(ERROR_BODY_CAP)).unwrap_or_default();
        // Masked before it is cut: half a secret would not be known again.
        let clean = |text: &str| clean(&secrets.mask(text));
        let text = |v: &serde_json::Value| v.as_str().map(clean).filter(|s| !s.is_empty());
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
            let first = json.get("errors").and_then(|e| e.get(0)).unwrap_or(&json);
            let get = |key: &str| first.get(key).and_then(text);
            self.code = get("code").or_else(|| get("error"));
            self.message = get("message").or_else(|| get("error_description")).or_else(|| get("details"));
            return;
        }
        let line = String::from_utf8_lossy(body);
        let line = line.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().trim();
        if !line.is_empty() && !line.starts_with('<') {
            self.message = Some(clean(line));
        }
    }
}

/// Foreign text made fit to print: one line, no control characters, no more than 300 characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect::<String>().trim().to_owned()
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.status)?;
        match &self.code {
            Some(code) => write!(f, " {code}")?,
            None => {
                let status = reqwest::StatusCode::from_u16(self.status).ok();
                if let Some(reason) = status.and_then(|s| s.canonical_reason()) {
                    write!(f, " {reason}")?;
                }
            }
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(challenge) = &self.challenge {
            write!(f, "; {challenge}")?;
        }
        if self.method == "HEAD" {
            write!(f, " (an answer to HEAD gives no reason)")?;
        }
        Ok(())
    }
}

impl Error {
    /// Whether the same request may well succeed a little later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status(e) => {
                matches!(e.status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
                    || e.code.as_deref() == Some("TOOMANYREQUESTS")
            }
            Self::Transport { kind, .. } => matches!(
                kind,
                TransportKind::Connect
                    | TransportKind::Refused
                    | TransportKind::Resolve
                    | TransportKind::ConnectTimeout
                    | TransportKind::Proxy
                    | TransportKind::FirstByteTimeout
                    | TransportKind::Stalled
                    | TransportKind::Slow
                    | TransportKind::NotHttp
                    | TransportKind::Broken
                    | TransportKind::Tls
            ),
            Self::Auth { source: Some(source), .. } => source.is_temporary(),
            Self::Mirrors { last, .. } => last.is_temporary(),
            _ => false,
        }
    }

    /// The error with what lies below it, in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Auth { source: Some(source), .. } => format!("{self}: {}", source.line()),
            _ => self.to_string(),
        }
    }

    /// The HTTP status, where the registry or its token server gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(e) => Some(e.status),
            Self::Auth { source: Some(source), .. } => source.status(),
            Self::Mirrors { last, .. } => last.status(),
            _ => None,
        }
    }

    /// The registry's own error code, such as `MANIFEST_UNKNOWN`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status(e) => e.code.as_deref(),
            Self::Auth { source: Some(source), .. } => source.code(),
            Self::Mirrors { last, .. } => last.code(),
            _ => None,
        }
    }

    /// Whether a time limit was waited out for it.
    pub(crate) fn is_timeout(&self) -> bool {
        use TransportKind::{ConnectTimeout, FirstByteTimeout, Slow, Stalled};
        matches!(self.transport_kind(), Some(ConnectTimeout | FirstByteTimeout | Slow | Stalled))
    }

    /// What broke, where there was no answer.
    pub fn transport_kind(&self) -> Option<TransportKind> {
        match self {
            Self::Transport { kind, .. } => Some(*kind),
            Self::Auth { source: Some(source), .. } => source.transport_kind(),
            Self::Mirrors { last, .. } => last.transport_kind(),
            _ => None,
        }
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404) && !matches!(self, Self::Auth { .. })
    }

    /// How long the registry asked us to wait before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(e) => e.retry_after,
            Self::Auth { source: Some(source), .. } => source.retry_after(),
            _ => None,
        }
    }

    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Status(e) => status_hint(e),
            Self::Transport { kind, url, .. } => transport_hint(*kind, url),
            Self::Digest { .. } | Self::Size { .. } => Some(
                "a proxy or mirror in between may hold damaged content; try again or another mirror".into(),
            ),
            Self::Downgrade { host, .. } => Some(format!(
                "if `{host}` may be spoken to by plain HTTP, say so with `--insecure-registry {host}`"
            )),
            Self::ForeignHost { host, .. } => {
                Some(format!("if you trust that host, say so with `--foreign-layers-from {host}`"))
            }
            Self::NoPlatform { .. } => {
                Some("choose one of them with `--platform`, for one stage with `FROM --platform=…`".into())
            }
            Self::Auth { registry, source, .. } => match source {
                None => Some(format!(
                    "if the way there may be trusted all the same, say so with `--insecure-registry {registry}`"
                )),
                // The token server's name is not the one to log in to.
                Some(source) if !matches!(source.status(), Some(400 | 401 | 403)) => source.hint(),
                Some(_) => Some(login_hint(registry)),
            },
            Self::Config { name, what } if name.starts_with("docker-credential-") => helper_hint(name, what),
            Self::Certificate { hint, .. } => Some(hint.clone()),
            Self::Blocked { file, .. } => Some(format!("see `blocked` in `{file}`")),
            Self::Ambiguous { .. } => Some("write one of them in full".into()),
            Self::Mirrors { last, .. } => last.hint(),
            _ => None,
        }
    }

    /// Without our own secrets, whoever sent them back to us.
    pub(crate) fn masked(mut self, secrets: &Secrets) -> Self {
        let mask = |text: &mut String| *text = secrets.mask(text);
        match &mut self {
            Self::Status(e) => {
                mask(&mut e.url);
                e.code.iter_mut().chain(&mut e.message).chain(&mut e.challenge).for_each(mask);
            }
            Self::Transport { url, source, .. } => {
                mask(url);
                let shown = source.as_ref().map(|source| secrets.mask(&source.to_string()));
                if source.as_ref().map(ToString::to_string) != shown {
                    *source = shown.map(Into::into);
                }
            }
            Self::Protocol { url, what, .. } => [url, what].into_iter().for_each(mask),
            Self::Downgrade { url, what, to, host, .. } => [url, what, to, host].into_iter().for_each(mask),
            Self::Digest { url, .. } | Self::Size { url, .. } => mask(url),
            Self::Manifest { name, what } | Self::Config { name, what } => {
                [name, what].into_iter().for_each(mask);
            }
            Self::NoPlatform { available, .. } => mask(available),
            Self::ForeignHost { host, .. } => mask(host),
            Self::Auth { what, source, .. } => {
                mask(what);
                *source = source.take().map(|source| Box::new(source.masked(secrets)));
            }
            Self::Mirrors { last, before } => {
                mask(before);
                let inner = std::mem::replace(&mut **last, Self::Cancelled);
                **last = inner.masked(secrets);
            }
            Self::Certificate { .. }
            | Self::Blocked { .. }
            | Self::Ambiguous { .. }
            | Self::Source { .. }
            | Self::Cancelled => {}
        }
        self
    }

    /// As an [`io::Error`] that carries this error inside.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Digest { .. } | Self::Size { .. } | Self::Protocol { .. } | Self::Downgrade { .. } => {
                io::ErrorKind::InvalidData
            }
            Self::Transport { kind: TransportKind::Refused, .. } => io::ErrorKind::ConnectionRefused,
            Self::Transport { kind: TransportKind::Stalled | TransportKind::FirstByteTimeout, .. } => {
                io::ErrorKind::TimedOut
            }
            Self::Status(e) if e.status == 404 => io::ErrorKind::NotFound,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

fn login_hint(registry: &str) -> String {
    let registry = if registry == "registry-1.docker.io" { "docker.io" } else { registry };
    format!("log in with `orlop login {registry}`")
}

/// What to do about a credential helper.
fn helper_hint(name: &str, what: &str) -> Option<String> {
    let files = "`credsStore` and `credHelpers` in the file of credentials";
    if what.starts_with("not found") || what.starts_with("not the name") {
        return Some(format!("install `{name}`, or take it out of {files}"));
    }
    Some(format!("try it by itself: `{name} list`; or take it out of {files}"))
}

/// What to do about a refusal, by whom it refused.
fn refusal_hint(host: &str, login: Option<&str>) -> String {
    match login {
        None => format!("nobody is logged in to it: {}", login_hint(host)),
        Some("") => format!("this login does not do for that: {}", login_hint(host)),
        Some(user) => format!(
            "`{user}` may not do that, or the password is not right (any more); {} as somebody who may",
            login_hint(host)
        ),
    }
}

/// The host that answered, or should have.
fn host_of(url: &str) -> String {
    let url = url.rsplit(ON).next().unwrap_or_default();
    url::Url::parse(url)
        .ok()
        .and_then(|u| {
            let host = u.host_str()?.to_owned();
            Some(u.port().map_or(host.clone(), |port| format!("{host}:{port}")))
        })
        .unwrap_or_else(|| url.to_owned())
}

fn status_hint(e: &StatusError) -> Option<String> {
    let host = host_of(&e.url);
    if let Some(asked) = e.retry_after.filter(|asked| asked.as_secs() > 60) {
        return Some(format!(
            "the registry asks to come back in {}; log in, or use a mirror",
            minutes(asked)
        ));
    }
    match (e.status, e.code.as_deref()) {
        (401 | 403, _) if e.url.contains(ON) => Some(format!(
            "the registry sent us on to `{host}`, which refuses; its links do not last long: try again"
        )),
        (401 | 403, _) if e.challenge.is_some() => Some(format!(
            "no login helps there: `{host}`, or a proxy before it, has to ask for `Basic`, or for `Bearer` with the \
             URL of a token server"
        )),
        (401 | 403, _) => Some(refusal_hint(&host, e.login.as_deref())),
        (404, Some("NAME_UNKNOWN")) => {
            Some("check the repository's name; private ones may need a login".into())
        }
        (404, Some("MANIFEST_UNKNOWN")) => {
            Some("check the tag or digest: the repository has no such one".into())
        }
        (404, None) => Some(format!("check that `{host}` is a registry, and the name")),
        (405, _) if e.method == "DELETE" && !e.url.contains("/sha256:") => {
            Some("this registry has deletion switched off, or deletes by digest alone".into())
        }
        (405, _) if e.method == "DELETE" => Some("this registry has deletion switched off".into()),
        (429, _) => Some("the registry limits requests; wait, log in, or use a mirror".into()),
        (500..=599, _) => Some(format!("`{host}`, or a proxy before it, is in trouble: try again later")),
        (413, _) => Some("the registry, or a proxy before it, limits the size of uploads".into()),
        _ => None,
    }
}

/// A long time as people say it.
fn minutes(time: Duration) -> String {
    match time.as_secs().div_ceil(60) {
        m @ 0..=119 => format!("{m} minutes"),
        525_600.. => "more than a year".to_owned(),
        m => format!("{} hours", m.div_ceil(60)),
    }
}

fn transport_hint(kind: TransportKind, url: &str) -> Option<String> {
    let host = host_of(url);
    Some(match kind {
        TransportKind::Resolve => format!("check the name `{host}`, the network and the proxy settings"),
        TransportKind::Refused => format!("check that a registry listens on `{host}`"),
        TransportKind::Certificate => {
            format!("put the certificate of its authority into `/etc/containers/certs.d/{host}/ca.crt`")
        }
        TransportKind::CertificateTime => {
            format!("the certificate of `{host}` has to be renewed, or the clock here is wrong")
        }
        TransportKind::CertificateName => "use a name that the certificate is for".to_owned(),
        TransportKind::Proxy => {
            format!("check `http_proxy` and `https_proxy`, or reach `{host}` directly with `no_proxy={host}`")
        }
        TransportKind::ProxyLogin => {
            "write it into the proxy's URL: `https_proxy=http://USER:PASSWORD@PROXY:PORT`".to_owned()
        }
        TransportKind::TlsRefused => format!(
            "if it wants a certificate of yours, put it and its key into \
             `/etc/containers/certs.d/{host}/client.cert` and `client.key`"
        ),
        TransportKind::TlsVersion => {
            format!("`{host}`, or a proxy before it, has to speak TLS 1.2 or 1.3, with a cipher of today")
        }
        TransportKind::NotTls => format!(
            "if `{host}` may be used over plain HTTP, add to registries.conf: \
             `[[registry]] location = \"{host}\" insecure = true`"
        ),
        TransportKind::Stalled | TransportKind::Slow | TransportKind::FirstByteTimeout => {
            format!("`{host}`, or a proxy before it, is overloaded or stuck: try again later")
        }
        TransportKind::ConnectTimeout | TransportKind::Connect => {
            "check the network, the firewall and the proxy settings".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, status: u16, body: &[u8]) -> StatusError {
        let url = "https://r.example/v2/x/manifests/1".to_owned();
        let mut e = StatusError {
            method: method.into(),
            url,
            status,
            code: None,
            message: None,
            retry_after: None,
            login: None,
            challenge: None,
        };
        e.read_body(body, &Secrets::default());
        e
    }

    #[test]
    fn says_method_url_status_code_and_message() {
        for (body, text) in [
            (
                &br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no\nsuch\u001b repo","detail":{}}]}"#[..],
                "GET https://r.example/v2/x/manifests/1: 404 NAME_UNKNOWN: no such  repo",
            ),
            (b"", "GET https://r.example/v2/x/manifests/1: 404 Not Found"),
            (b"<html>x", "GET https://r.example/v2/x/manifests/1: 404 Not Found"),
            (
                b"404 page not found\n",
                "GET https://r.example/v2/x/manifests/1: 404 Not Found: 404 page not found",
            ),
            (br#"{"errors":[]}"#, "GET https://r.example/v2/x/manifests/1: 404 Not Found"),
            (
                br#"{"details":"incorrect username"}"#,
                "GET https://r.example/v2/x/manifests/1: 404 Not Found: incorrect username",
            ),
        ] {
            assert_eq!(status("GET", 404, body).to_string(), text);
        }
        assert!(status("HEAD", 404, b"").to_string().contains("HEAD gives no reason"));
    }

    #[test]
    fn temporary_is_what_may_pass() {
        for (code, temporary) in
            [(429, true), (500, true), (503, true), (404, false), (401, false), (501, false)]
        {
            assert_eq!(Error::Status(Box::new(status("GET", code, b""))).is_temporary(), temporary, "{code}");
        }
    }

    #[test]
    fn hints_name_the_host() {
        let hint = Error::Status(Box::new(status("GET", 401, b""))).hint().unwrap();
        assert!(hint.contains("nobody is logged in") && hint.contains("orlop login r.example"), "{hint}");
        let refused = Error::Transport {
            method: "GET".into(),
            url: "http://127.0.0.1:5/v2/".into(),
            kind: TransportKind::Refused,
            source: None,
        };
        assert!(refused.hint().unwrap().contains("127.0.0.1:5"));
    }
}
