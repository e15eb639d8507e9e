//! The texts of `--ulimit` and `--add-host`.

use std::str::FromStr;

use super::{HostAddress, HostEntry, Ulimit, UlimitKind};
use crate::SpecError;

impl UlimitKind {
    /// All of them with their names.
    pub const ALL: &[(UlimitKind, &str)] = &[
        (UlimitKind::Core, "core"),
        (UlimitKind::Cpu, "cpu"),
        (UlimitKind::Data, "data"),
        (UlimitKind::Fsize, "fsize"),
        (UlimitKind::Locks, "locks"),
        (UlimitKind::Memlock, "memlock"),
        (UlimitKind::Msgqueue, "msgqueue"),
        (UlimitKind::Nice, "nice"),
        (UlimitKind::Nofile, "nofile"),
        (UlimitKind::Nproc, "nproc"),
        (UlimitKind::Rss, "rss"),
        (UlimitKind::Rtprio, "rtprio"),
        (UlimitKind::Rttime, "rttime"),
        (UlimitKind::Sigpending, "sigpending"),
        (UlimitKind::Stack, "stack"),
    ];

    /// The name, as in `--ulimit nofile=…`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Ulimit {
    type Err = SpecError;

    /// Reads `NAME=SOFT[:HARD]`; `-1` and `unlimited` mean no limit, the hard limit is the soft one when missing.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = || SpecError::Ulimit(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(error)?;
        let kind = UlimitKind::ALL.iter().find(|(_, known)| *known == name).ok_or_else(error)?.0;
        let value = |text: &str| match text {
            "-1" | "unlimited" => Ok(None),
            _ => text.parse::<u64>().map(Some).map_err(|_| error()),
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (value(soft)?, value(hard)?),
            None => (value(values)?, value(values)?),
        };
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(error());
        }
        Ok(Self { kind, soft, hard })
    }
}

impl FromStr for HostEntry {
    type Err = SpecError;

    /// Reads `NAME:ADDRESS` or `NAME=ADDRESS`; the address may stand in brackets and may be `host-gateway`.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let error = || SpecError::AddHost(text.to_owned());
        let cut = text.find(['=', ':']).ok_or_else(error)?;
        let (name, address) = (&text[..cut], &text[cut + 1..]);
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(good) {
            return Err(error());
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => HostAddress::HostGateway,
            _ => HostAddress::Ip(bare.parse().map_err(|_| error())?),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hostname;

    #[test]
    fn ulimits() {
        let parse = |text: &str| text.parse::<Ulimit>().map(|u| (u.kind, u.soft, u.hard));
        assert_eq!(parse("nofile=1024:2048"), Ok((UlimitKind::Nofile, Some(1024), Some(2048))));
        assert_eq!(parse("core=0"), Ok((UlimitKind::Core, Some(0), Some(0))));
        assert_eq!(parse("memlock=-1"), Ok((UlimitKind::Memlock, None, None)));
        for bad in ["", "nofile", "nofile=", "nofile=x", "nofile=3:2", "nofile=-2", "nosuch=1", "nofile=-1:5"]
        {
            assert_eq!(parse(bad), Err(SpecError::Ulimit(bad.into())), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        let parse = |text: &str| text.parse::<HostEntry>().map(|entry| (entry.name, entry.address));
        let ip = |text: &str| HostAddress::Ip(text.parse().expect("the test's own address"));
        assert_eq!(parse("db:10.1.2.3"), Ok(("db".into(), ip("10.1.2.3"))));
        assert_eq!(parse("db=[2001:db8::1]"), Ok(("db".into(), ip("2001:db8::1"))));
        assert_eq!(parse("db:2001:db8::1"), Ok(("db".into(), ip("2001:db8::1"))));
        assert_eq!(parse("me=host-gateway"), Ok(("me".into(), HostAddress::HostGateway)));
        for bad in ["", "db", ":1.2.3.4", "db:", "db:nowhere", "a b:1.2.3.4", "a\nb:1.2.3.4"] {
            assert_eq!(parse(bad), Err(SpecError::AddHost(bad.into())), "{bad:?}");
        }
    }

    #[test]
    fn host_names() {
        assert!("buildkitsandbox".parse::<Hostname>().is_ok());
        for bad in ["", "-x", "a b", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }
}
