//! The files by which a job finds names and addresses.

use std::fs;
use std::io;

use super::mounts::setup;
use crate::{HostAddress, HostEntry, Hostname, Network, RunError};

/// Where systemd-resolved keeps the real name servers.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The job's `/etc/resolv.conf`: the host's. systemd-resolved's local address is kept on the host network, where it
/// answers, and replaced by the servers behind it elsewhere.
pub(super) fn resolv_conf(network: Network) -> Result<Vec<u8>, RunError> {
    let host = read("/etc/resolv.conf")?;
    if network == Network::Host || !is_local_stub(&host) {
        return Ok(host);
    }
    let behind = read(RESOLVED)?;
    Ok(if behind.is_empty() { host } else { behind })
}

fn read(path: &str) -> Result<Vec<u8>, RunError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| setup(format!("read `{path}`"), error)),
    }
}

fn is_local_stub(content: &[u8]) -> bool {
    String::from_utf8_lossy(content).lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("nameserver") && matches!(words.next(), Some("127.0.0.53" | "127.0.0.54"))
    })
}

/// The job's `/etc/hosts`.
pub(super) fn hosts(hostname: &Hostname, entries: &[HostEntry]) -> Vec<u8> {
    let mut text = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
        hostname.as_str()
    );
    for HostEntry { name, address } in entries {
        let line = match address {
            HostAddress::Ip(ip) => format!("{ip}\t{name}\n"),
            // On the host network the host is ourselves; without a network there is nobody else.
            HostAddress::HostGateway => format!("127.0.0.1\t{name}\n"),
        };
        text.push_str(&line);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_resolver_is_recognised() {
        assert!(is_local_stub(b"# made by systemd\nnameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_local_stub(b"nameserver 192.0.2.53\n#nameserver 127.0.0.53\n"));
    }

    #[test]
    fn hosts_has_the_name_and_what_was_added() {
        let entries = ["db:10.1.2.3", "me:host-gateway"].map(|text| text.parse().expect("an entry"));
        let text = String::from_utf8(hosts(&Hostname::default(), &entries)).expect("text");
        assert!(text.starts_with("127.0.0.1\tlocalhost orlop\n"), "{text}");
        assert!(text.ends_with("10.1.2.3\tdb\n127.0.0.1\tme\n"), "{text}");
    }
}
