//! Values of instructions that need more than expansion: ports, signals, paths.

/// The ports that one word of EXPOSE means, as keys of the config's `ExposedPorts`: `80` is
/// `80/tcp`, `8000-8002/udp` three ports, and a host's port (`1234:80`) is left out.
///
/// # Errors
/// A sentence, when the word is no port.
pub(crate) fn exposed_ports(word: &str) -> Result<Vec<String>, String> {
    let bad = |why: &str| Err(format!("invalid port `{word}` in EXPOSE: {why}"));
    let (range, protocol) = match word.split_once('/') {
        Some((range, protocol)) => (range, protocol.to_ascii_lowercase()),
        None => (word, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return bad("the protocol is `tcp`, `udp` or `sctp`");
    }
    let range = range.rsplit(':').next().unwrap_or_default();
    let port =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (port(first), port(last)),
        None => (port(range), port(range)),
    };
    match (first, last) {
        (Some(first), Some(last)) if first <= last => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        (Some(_), Some(_)) => bad("the range ends before it begins"),
        _ => bad("expected a number up to 65535 or a range such as `8000-8010`"),
    }
}

/// Names of Linux signals without `SIG`, by number from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Checks the word of a STOPSIGNAL; it goes into the config as it is.
///
/// # Errors
/// A sentence, when the word is no signal.
pub(crate) fn check_signal(word: &str) -> Result<(), String> {
    if let Ok(number) = word.parse::<i64>() {
        return match number {
            1..=64 => Ok(()),
            _ => Err(format!("invalid signal number `{word}`: signals go from 1 to 64")),
        };
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = name.strip_prefix("RTMIN").or_else(|| name.strip_prefix("RTMAX")).is_some_and(|rest| {
        rest.is_empty()
            || rest.strip_prefix(['+', '-']).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| n <= 30)
    });
    if realtime || SIGNALS.contains(&name) || matches!(name, "IOT" | "CLD" | "POLL" | "UNUSED") {
        return Ok(());
    }
    Err(format!("unknown signal `{word}`"))
}

/// An absolute, clean path: `path` below `base` unless it is absolute; `.`, `..` and double slashes
/// are resolved as text.
pub(crate) fn join_path(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let both = [if path.starts_with('/') { "" } else { base }, path];
    for part in both.iter().flat_map(|p| p.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!(exposed_ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(exposed_ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(exposed_ports("8000-8002").unwrap(), ["8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(exposed_ports("127.0.0.1:1234:80/tcp").unwrap(), ["80/tcp"]);
        for bad in ["", "x", "80/xyz", "9-8", "70000", "-", "1-", "+1", "٣"] {
            assert!(exposed_ports(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals() {
        for good in ["9", "SIGTERM", "sigkill", "RTMIN+3", "SIGRTMAX-1", "64"] {
            check_signal(good).unwrap();
        }
        for bad in ["0", "65", "SIGFOO", "", "RTMIN+99", "-1"] {
            assert!(check_signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(join_path("/a/b", "c"), "/a/b/c");
        assert_eq!(join_path("/a/b", "/c/"), "/c");
        assert_eq!(join_path("/a/b", "../../../x/./y"), "/x/y");
        assert_eq!(join_path("", "a"), "/a");
        assert_eq!(join_path("/", ""), "/");
    }
}
