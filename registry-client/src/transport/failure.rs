//! What a failed request means, found in the layers of errors below it.

use std::error::Error as StdError;
use std::io;

use reqwest::Method;
use rustls::{AlertDescription, CertificateError};
use url::Url;

use crate::error::{Error, TransportKind};

/// Query parameters that are part of the protocol and no secret.
const PLAIN_PARAMETERS: [&str; 7] = ["digest", "mount", "from", "n", "last", "scope", "artifactType"];

/// A URL fit to print: no user, no password, and of the query only what the protocol itself puts
/// there, because signed URLs carry their signature in it.
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    // Both only fail for URLs that can have no user anyway.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    let plain: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(k, _)| PLAIN_PARAMETERS.contains(&k.as_ref()))
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    shown.set_query(None);
    let mut text = shown.to_string();
    let mut sign = '?';
    for (k, v) in plain {
        text.push(sign);
        text.push_str(&format!("{k}={v}"));
        sign = '&';
    }
    text
}

/// All messages of an error, outermost first.
pub(crate) fn chain(e: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(e);
    while let Some(e) = next {
        let text = e.to_string();
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = e.source();
    }
    parts.join(": ")
}

/// The innermost message.
#[derive(Debug)]
pub(super) struct Cause(String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

/// Why a server that wants a certificate of ours refuses.
pub(super) fn no_certificate() -> Cause {
    Cause("it asks for a certificate of ours, or for another one".to_owned())
}

/// Makes our error of reqwest's.
pub(crate) fn classify(method: &Method, url: String, e: reqwest::Error) -> Error {
    let connecting = e.is_connect();
    let timeout = e.is_timeout();
    // reqwest's own message has the URL in it, secrets and all.
    let e = e.without_url();
    let kind = kind(&e, connecting, timeout);
    // Older TLS, and Go's with it, has the second word for both.
    let wants = [AlertDescription::CertificateRequired, AlertDescription::BadCertificate];
    let cause = match layers(&e).iter().find_map(|e| e.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) if wants.contains(alert) => no_certificate(),
        _ => Cause(layers(&e).last().map(ToString::to_string).unwrap_or_default()),
    };
    Error::Transport { method: method.to_string(), url, kind, source: Some(Box::new(cause)) }
}

/// Names the proxy in an error of the way to it.
pub(crate) fn at_proxy(error: Error, proxy: &str) -> Error {
    let Error::Transport { method, url, kind, source } = error else { return error };
    let kind = match kind {
        TransportKind::Refused
        | TransportKind::Resolve
        | TransportKind::Connect
        | TransportKind::ConnectTimeout
        | TransportKind::Proxy => TransportKind::Proxy,
        TransportKind::ProxyLogin => TransportKind::ProxyLogin,
        _ => return Error::Transport { method, url, kind, source },
    };
    let said = source.map(|source| format!(": {source}")).unwrap_or_default();
    let source = Some(Box::new(Cause(format!("proxy `{proxy}`{said}"))) as _);
    Error::Transport { method, url, kind, source }
}

/// All errors of a chain, those inside of [`io::Error`]s too: `source()` of such a one goes past the
/// error that it holds.
fn layers<'a>(e: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut out = Vec::new();
    let mut next = Some(e);
    while let Some(e) = next {
        out.push(e);
        let held = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map_or_else(|| e.source(), |held| Some(held as &(dyn StdError + 'static)));
    }
    out
}

fn kind(e: &reqwest::Error, connecting: bool, timeout: bool) -> TransportKind {
    let all = layers(e);
    if let Some(tls) = all.iter().find_map(|e| e.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::InvalidCertificate(what) => certificate(what),
            rustls::Error::InvalidMessage(_) => TransportKind::NotTls,
            rustls::Error::AlertReceived(what) => alert(*what),
            rustls::Error::PeerIncompatible(_) => TransportKind::TlsVersion,
            rustls::Error::NoApplicationProtocol => TransportKind::TlsAlert,
            _ => TransportKind::Tls,
        };
    }
    for io in all.iter().filter_map(|e| e.downcast_ref::<io::Error>()) {
        match io.kind() {
            io::ErrorKind::ConnectionRefused => return TransportKind::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof => return TransportKind::Broken,
            io::ErrorKind::TimedOut if connecting => return TransportKind::ConnectTimeout,
            _ => {}
        }
    }
    let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    // hyper-util's words about a proxy that was asked for a way.
    if texts.iter().any(|t| t == "tunnel error: proxy authorization required") {
        return TransportKind::ProxyLogin;
    }
    if texts.iter().any(|t| t.starts_with("tunnel error") || t.starts_with("SOCKS error")) {
        return TransportKind::Proxy;
    }
    if texts.iter().any(|t| t == "dns error") {
        return TransportKind::Resolve;
    }
    // hyper's own words for an answer that it cannot read.
    let unread =
        ["invalid HTTP", "invalid content-length", "invalid transfer-encoding", "message head is too large"];
    if texts.iter().any(|t| unread.iter().any(|u| t.contains(u))) {
        return TransportKind::NotHttp;
    }
    // hyper's own words for a connection that ended in the middle of an answer.
    let broken = [
        "connection closed before message completed",
        "end of file before message length reached",
        "error reading a body from connection",
        "channel closed",
        "connection error",
        "connection was not ready",
    ];
    if texts.iter().any(|t| broken.iter().any(|b| t.contains(b))) {
        return TransportKind::Broken;
    }
    match (connecting, timeout) {
        (true, true) => TransportKind::ConnectTimeout,
        (true, false) => TransportKind::Connect,
        (false, true) => TransportKind::FirstByteTimeout,
        (false, false) => TransportKind::Other,
    }
}

fn certificate(what: &CertificateError) -> TransportKind {
    match what {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TransportKind::CertificateTime,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TransportKind::CertificateName
        }
        _ => TransportKind::Certificate,
    }
}

/// What a server means by ending TLS, and whether it will say the same next time.
fn alert(alert: AlertDescription) -> TransportKind {
    use AlertDescription as Alert;
    match alert {
        Alert::CloseNotify | Alert::UserCanceled | Alert::InternalError => TransportKind::Tls,
        Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::InappropriateFallback => {
            TransportKind::TlsVersion
        }
        // With TLS 1.2 the first is also what OpenSSL says for want of a certificate.
        Alert::HandshakeFailure
        | Alert::NoCertificate
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::CertificateRequired => TransportKind::TlsRefused,
        _ => TransportKind::TlsAlert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        let url = "https://user:hunter2@r.example:5/v2/x/blobs/uploads/1?_state=hunter2&digest=sha256:ab&X-Amz-Signature=hunter2#hunter2";
        assert_eq!(
            redact(&Url::parse(url).unwrap()),
            "https://r.example:5/v2/x/blobs/uploads/1?digest=sha256:ab"
        );
    }
}
