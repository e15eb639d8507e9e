//! The ports of EXPOSE, after expansion: `80`, `80/tcp`, `8000-8010/udp`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::error::clip;

/// What one word of EXPOSE means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPorts {
    /// The ports.
    pub ports: RangeInclusive<u16>,
    /// The protocol in lower case: `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// The protocol was not in lower case (BuildKit's lint `ExposeProtoCasing`).
    pub odd_case: bool,
    /// There is an address or a host's port before it, which means nothing (`ExposeInvalidFormat`).
    pub host: bool,
}

/// A word that names no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no port: {reason}", clip(.text))]
pub struct PortError {
    text: String,
    reason: &'static str,
}

impl PortError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        Some("write a port, a range and a protocol: `EXPOSE 80 443/tcp 8000-8010/udp`".to_owned())
    }
}

impl ExposedPorts {
    /// Reads one expanded word: `[[address:]host ports:]ports[/protocol]`.
    ///
    /// # Errors
    /// When the port or range is none, the protocol is unknown, or the address or the host's ports are wrong.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        let fail = |reason| PortError { text: text.to_owned(), reason };
        let mut parts = text.rsplitn(3, ':');
        let last = parts.next().unwrap_or_default();
        let host = parts.next().filter(|host| !host.is_empty());
        let address = parts.next().filter(|address| !address.is_empty());
        let (ports, protocol) = last.split_once('/').unwrap_or((last, ""));
        let lower = protocol.to_ascii_lowercase();
        let protocol_name = match lower.as_str() {
            "" | "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            _ => return Err(fail("the protocol is not `tcp`, `udp` or `sctp`")),
        };
        if let Some(address) = address {
            let inner =
                address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
            inner.parse::<IpAddr>().map_err(|_| fail("what stands before the ports is no address"))?;
        }
        let range = range(ports).ok_or_else(|| fail("a port is a number from 0 to 65535"))?;
        if let Some(host) = host {
            let host = self::range(host).ok_or_else(|| fail("a port is a number from 0 to 65535"))?;
            let length = |range: &RangeInclusive<u16>| range.end() - range.start();
            if length(&range) != 0 && length(&range) != length(&host) {
                return Err(fail("the two ranges differ in length"));
            }
        }
        Ok(Self {
            ports: range,
            protocol: protocol_name,
            odd_case: protocol != lower,
            host: host.is_some() || address.is_some(),
        })
    }

    /// The keys of the config's `ExposedPorts`: `80/tcp`.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        self.ports.clone().map(|port| format!("{port}/{}", self.protocol))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some(start..=end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_ranges_and_protocols() {
        let keys = |text: &str| ExposedPorts::parse(text).unwrap().keys().collect::<Vec<_>>().join(" ");
        assert_eq!(keys("80"), "80/tcp");
        assert_eq!(keys("80/"), "80/tcp");
        assert_eq!(keys("53/UDP"), "53/udp");
        assert_eq!(keys("8000-8002"), "8000/tcp 8001/tcp 8002/tcp");
        assert_eq!(keys("127.0.0.1:1234:80/tcp"), "80/tcp");
        assert_eq!(keys("8000-8002/sctp"), "8000/sctp 8001/sctp 8002/sctp");
        assert_eq!(keys("65535-65535"), "65535/tcp");
        assert_eq!(keys("8080:80"), "80/tcp");
        assert_eq!(keys("127.0.0.1::80"), "80/tcp");
        assert_eq!(keys("[::1]:1-2:3-4"), "3/tcp 4/tcp");
        assert!(ExposedPorts::parse("53/UDP").unwrap().odd_case);
        assert!(ExposedPorts::parse("8080:80").unwrap().host);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "a",
            "-1",
            "65536",
            "80-70",
            "80/http",
            "/tcp",
            "80/tcp/x",
            "x:80",
            "1-2:3-9",
            "300.0.0.1::80",
            "1-",
            "x",
            "80/xyz",
            "9-8",
            "70000",
            "-",
            "+1",
            "٣",
        ] {
            let error = ExposedPorts::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{text}` is no port: ")), "{error}");
        }
    }
}
