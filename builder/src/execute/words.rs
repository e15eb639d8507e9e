//! Values of instructions that need more than expansion.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for good in ["9", "SIGTERM", "sigkill", "RTMIN+3", "SIGRTMAX-1", "64"] {
            check_signal(good).unwrap();
        }
        for bad in ["0", "65", "SIGFOO", "", "RTMIN+99", "-1"] {
            assert!(check_signal(bad).is_err(), "{bad}");
        }
    }
}
