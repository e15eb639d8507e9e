//! Which requests go by a proxy, and by which.

use std::net::IpAddr;

use url::{Host, Url};

use super::Proxies;
use crate::error::Error;
use crate::hosts::is_loopback;

/// Which of the two proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Http,
    Https,
}

impl Proxies {
    /// The proxy for a URL, if it goes by one.
    pub(super) fn way(&self, url: &Url) -> Option<Way> {
        if url.host_str().is_none_or(is_loopback) || self.leaves_out(url) {
            return None;
        }
        let way = if url.scheme() == "https" { Way::Https } else { Way::Http };
        self.value(way).is_some().then_some(way)
    }

    fn value(&self, way: Way) -> Option<&str> {
        let value = match way {
            Way::Http => &self.http,
            Way::Https => &self.https,
        };
        value.as_deref().map(str::trim).filter(|value| !value.is_empty())
    }

    /// The proxy's URL; its user and password may be in there.
    pub(super) fn url(&self, way: Way) -> Result<Url, Error> {
        let value = self.value(way).unwrap_or_default();
        let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let known = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
        let url = Url::parse(&text).ok().filter(|url| url.has_host());
        let name = match way {
            Way::Http => "http_proxy",
            Way::Https => "https_proxy",
        };
        // The value may hold a password: it is not shown.
        let bad = |what: String| Error::Config { name: name.to_owned(), what };
        let url = url.ok_or_else(|| bad("not the URL of a proxy".into()))?;
        match known.contains(&url.scheme()) {
            true => Ok(url),
            false => {
                Err(bad(format!("`{}` is no kind of proxy; there are {}", url.scheme(), known.join(", "))))
            }
        }
    }

    /// Host and port of the proxy, for messages.
    pub(super) fn shown(&self, way: Way) -> String {
        self.url(way)
            .map(|url| format!("{}:{}", url.host_str().unwrap_or_default(), port(&url)))
            .unwrap_or_default()
    }

    /// Whether `NO_PROXY` is about the host: names with all that is below them, `.below.only`, `*`, addresses,
    /// networks, each with a port or for all.
    fn leaves_out(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let list = self.no_proxy.as_deref().unwrap_or_default();
        list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            if entry == "*" {
                return true;
            }
            let (name, wanted) = split_port(entry);
            wanted.is_none_or(|wanted| wanted == port(url)) && is_about(name, &host)
        })
    }
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(if url.scheme().starts_with("socks") { 1080 } else { 80 })
}

/// `host:port`, `[v6]:port`; everything else is a host alone.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn is_about(entry: &str, host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => {
            let (entry, name) = (entry.to_ascii_lowercase(), name.trim_end_matches('.').to_ascii_lowercase());
            let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(&entry);
            let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            return match entry.strip_prefix('.') {
                Some(domain) => below(domain),
                None => name == entry || below(entry),
            };
        }
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
    };
    let entry = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    let Some((network, bits)) = entry.split_once('/') else {
        return entry.parse::<IpAddr>().is_ok_and(|entry| entry == address);
    };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => (u128::from(n.to_bits()), u128::from(a.to_bits()), 32),
        (IpAddr::V6(n), IpAddr::V6(a)) => (n.to_bits(), a.to_bits(), 128),
        _ => return false,
    };
    // A network of no bits is all addresses, and a shift by the whole width is none in Rust.
    bits <= width && (bits == 0 || (network ^ address) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(no_proxy: &str, url: &str) -> bool {
        let proxy = Some("http://p.example".to_owned());
        let no_proxy = Some(no_proxy.to_owned());
        Proxies { http: proxy.clone(), https: proxy, no_proxy }.way(&Url::parse(url).unwrap()).is_none()
    }

    #[test]
    fn hosts_that_are_left_out() {
        for (no_proxy, url, left_out) in [
            ("", "https://r.io/", false),
            ("*", "https://r.io/", true),
            ("r.io", "https://r.io/", true),
            ("R.IO", "https://a.r.io/", true),
            ("r.io", "https://ar.io/", false),
            (".r.io", "https://r.io/", false),
            (".r.io", "https://a.r.io/", true),
            ("*.r.io", "https://a.b.r.io/", true),
            ("a.io, b.io c.io", "https://c.io/", true),
            ("r.io:5000", "https://r.io:5000/", true),
            ("r.io:5000", "https://r.io/", false),
            ("r.io:443", "https://r.io/", true),
            ("r.io:80", "http://r.io/", true),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.0.0.0/8", "http://r.io/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("10.1.2.3", "http://10.1.2.3:5000/", true),
            ("10.1.2.3:1", "http://10.1.2.3:5000/", false),
            ("fd00::/8", "http://[fd00::1]/", true),
            ("fd00::1", "http://[fd00::1]/", true),
            ("[fd00::1]:80", "http://[fd00::1]/", true),
            ("fd00::/129", "http://[fd00::1]/", false),
            ("10.0.0.0/33", "http://10.0.0.0/", false),
            ("::/0", "http://10.0.0.0/", false),
            ("/,:,[]", "http://r.io/", false),
            ("", "http://127.0.0.1:5000/", true),
            ("", "http://localhost/", true),
        ] {
            assert_eq!(direct(no_proxy, url), left_out, "{no_proxy} {url}");
        }
    }

    #[test]
    fn kinds_of_proxies() {
        for (value, shown) in [
            ("p.example", Some("p.example:80")),
            ("p.example:3128", Some("p.example:3128")),
            ("http://u:secret@p.example:3128/", Some("p.example:3128")),
            ("https://p.example", Some("p.example:443")),
            ("socks5://p.example", Some("p.example:1080")),
            ("socks5h://u:p@p.example:9", Some("p.example:9")),
            ("ftp://u:secret@p.example", None),
            ("http://", None),
            ("://", None),
        ] {
            let proxies = Proxies { http: Some(value.to_owned()), ..Proxies::default() };
            match (proxies.url(Way::Http), shown) {
                (Ok(_), Some(shown)) => assert_eq!(proxies.shown(Way::Http), shown),
                (Err(e), None) => assert!(!e.to_string().contains("secret"), "{e}"),
                (other, _) => panic!("{value}: {other:?}"),
            }
        }
    }
}
