//! Numbers as headers and PAX records spell them.

use super::Time;

/// A numeric field of a header: octal digits with spaces or NULs around them, or base-256 where the first
/// bit is set. Nothing at all is 0. None where the field is neither, or too large.
pub(super) fn field(bytes: &[u8]) -> Option<i128> {
    let (&first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        // Two's complement over all bits but the first.
        let mut value = i128::from(first & 0x3f) - if first & 0x40 != 0 { 0x40 } else { 0 };
        for &byte in rest {
            value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
        }
        return Some(value);
    }
    let is_padding = |b: &u8| *b == b' ' || *b == 0;
    let start = bytes.iter().position(|b| !is_padding(b)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(is_padding).unwrap_or(digits.len());
    let (digits, tail) = digits.split_at(end);
    if !tail.iter().all(is_padding) {
        return None;
    }
    digits.iter().try_fold(0i128, |value, &digit| match digit {
        b'0'..=b'7' => Some(value * 8 + i128::from(digit - b'0')),
        _ => None,
    })
}

/// A whole number in decimal digits, as PAX records have them.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A PAX time: seconds in decimal, with a sign and a fraction where there is one. Digits beyond nanoseconds
/// are cut off.
pub(super) fn time(bytes: &[u8]) -> Option<Time> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let mut parts = digits.splitn(2, |b| *b == b'.');
    let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or(b"");
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        (0..9).fold(0u32, |value, i| value * 10 + fraction.get(i).map_or(0, |digit| u32::from(digit - b'0')));
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Time { seconds: whole, nanoseconds },
        (true, 0) => Time { seconds: -whole, nanoseconds: 0 },
        (true, nanoseconds) => Time { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// The PAX spelling of a time.
pub(super) fn time_text(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, n) => ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - n),
        (false, n) => ("", time.seconds.unsigned_abs(), n),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{}", format!("{nanoseconds:09}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"77777777777"), Some(0o77_777_777_777));
        assert_eq!(field(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(field(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        for bad in [&b"98"[..], b"12x\0", b"1 2 ", b"-1", b""] {
            assert_eq!(field(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1.5", -2, 500_000_000),
            ("-0.000000001", -1, 999_999_999),
            ("1350244992.023960108", 1_350_244_992, 23_960_108),
            ("-7", -7, 0),
        ] {
            let parsed = time(text.as_bytes()).unwrap();
            assert_eq!(parsed, Time { seconds, nanoseconds }, "{text}");
            assert_eq!(time_text(parsed), text);
        }
        assert_eq!(time(b"1.0000000019").unwrap(), Time { seconds: 1, nanoseconds: 1 });
        assert_eq!(time(b"3.").unwrap(), Time { seconds: 3, nanoseconds: 0 });
        for bad in ["", "-", "1.x", "+1", "99999999999999999999", "1e3"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
        let earliest = Time { seconds: i64::MIN, nanoseconds: 0 };
        assert_eq!(time_text(earliest), "-9223372036854775808");
    }
}
