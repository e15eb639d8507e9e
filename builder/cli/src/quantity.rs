//! Quantities as people write them in flags and read them in messages: sizes, durations, processors.

use std::time::Duration;

/// Reads a size in bytes as Docker does: `64m`, `1.5GiB`, `1024`. Units are powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let fail =
        || format!("`{text}` is not a size (expected a number and `b`, `k`, `m`, `g` or `t`, as in `512m`)");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let shift = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit) {
        "" if unit == "ib" => return Err(fail()),
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(fail()),
    };
    let value: f64 = number.parse().map_err(|_| fail())?;
    let bytes = value * (1_u64 << shift) as f64;
    // 2^63: what the kernel takes for sizes.
    if !bytes.is_finite() || bytes >= 9_223_372_036_854_775_808.0 {
        return Err(format!("`{text}` is larger than any size here may be"));
    }
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift).ok_or_else(fail),
        Err(_) => Ok(bytes as u64),
    }
}

/// Reads a duration as Go does (`90s`, `1h30m`, `1.5h`, `500ms`); a number alone counts seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let fail = || format!("`{text}` is not a duration (expected one such as `90s`, `10m` or `1h30m`)");
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(fail()),
        };
        total += number.parse::<f64>().map_err(|_| fail())? * seconds;
        rest = next;
    }
    Duration::try_from_secs_f64(total).map_err(|_| fail())
}

/// Reads a number of processors, `1.5`.
pub(crate) fn parse_cpus(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.01..=8192.0).contains(&cpus) => Ok(cpus),
        _ => {
            Err(format!("`{text}` is not a number of processors (expected one such as `1.5`, at least 0.01)"))
        }
    }
}

/// `1.4s`, `2m 05s`, `1h 02m`: four to eight characters.
pub(crate) fn duration(value: Duration) -> String {
    let tenths = value.as_millis() / 100;
    let seconds = value.as_secs();
    match seconds {
        0..60 => format!("{}.{}s", tenths / 10, tenths % 10),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `512 B`, `3.4 kB`, `1.27 GB`: decimal units with three digits, as Docker shows sizes.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let places = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let shown = format!("{value:.places$}");
    let shown = if shown.contains('.') { shown.trim_end_matches('0').trim_end_matches('.') } else { &shown };
    format!("{shown} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, bytes) in [
            ("1024", 1024),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("2 k", 2048),
            ("0", 0),
            ("10b", 10),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "1ib", "1.2.3m", "99999999999999999999", "16000000t", "1e5", "nan"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in
            [("90s", 90_000), ("1h30m", 5_400_000), ("1.5s", 1500), ("250ms", 250), ("7", 7000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "1x", "1", "-1s", "1s2", "99999999999999999999h"] {
            assert_eq!(parse_duration(bad).is_err(), bad != "1", "{bad}");
        }
    }

    #[test]
    fn processors() {
        assert_eq!(parse_cpus("1.5"), Ok(1.5));
        for bad in ["0", "-1", "nan", "inf", "x", "1e9"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_short_enough_for_a_column() {
        let d = |ms| duration(Duration::from_millis(ms));
        assert_eq!([d(0), d(1_449), d(125_000), d(3_720_000)], ["0.0s", "1.4s", "2m 05s", "1h 02m"]);
        assert_eq!([size(0), size(999), size(1000), size(3_400)], ["0 B", "999 B", "1 kB", "3.4 kB"]);
        assert_eq!([size(999_999), size(1_270_000_000), size(u64::MAX)], ["1 MB", "1.27 GB", "18.4 EB"]);
    }
}
