//! PAX extended header records (POSIX.1-2017, pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`, where the
//! value may hold any bytes, newlines included, and LENGTH alone says where it ends.

use std::collections::BTreeMap;

/// One record.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits a block of records. The error says what is wrong.
pub(super) fn records(mut block: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut out = Vec::new();
    while !block.is_empty() {
        let space = block.iter().take(20).position(|b| *b == b' ').ok_or("a PAX record has no length")?;
        let length = super::number::decimal(&block[..space])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or("the length of a PAX record is no number")?;
        if length > block.len() || length < space + 3 {
            return Err("the length of a PAX record is wrong");
        }
        let (record, rest) = block.split_at(length);
        let body = record[space + 1..].strip_suffix(b"\n").ok_or("a PAX record has no end")?;
        let equals = body.iter().position(|b| *b == b'=').ok_or("a PAX record has no value")?;
        let (key, value) = (&body[..equals], &body[equals + 1..]);
        if key.is_empty() || key.contains(&0) {
            return Err("a PAX record has no proper key");
        }
        out.push((key, value));
        block = rest;
    }
    Ok(out)
}

/// Appends one record.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |n| n as usize + 1)
}

/// What the records say about extended attributes: `SCHILY.xattr.NAME` (star, Go, GNU tar: raw bytes) and
/// `LIBARCHIVE.xattr.NAME` (bsdtar: name with `%XX`, value in base64). The former win. As a PAX record with
/// an empty value takes back what was said before, such an attribute of the first form is one with no value.
pub(super) fn xattrs(records: &[Record<'_>]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut out = BTreeMap::new();
    for (key, value) in records {
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.")
            && let Some(value) = base64(value)
        {
            out.insert(percent(name), value);
        }
    }
    for (key, value) in records {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            out.insert(name.to_vec(), value.to_vec());
        }
    }
    out.retain(|name, _| !name.is_empty() && !name.contains(&0));
    out
}

fn percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let code = (byte == b'%')
            .then(|| text.get(i + 1..i + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                i += 3;
            }
            None => {
                out.push(byte);
                i += 1;
            }
        }
    }
    out
}

/// The name of an attribute as `LIBARCHIVE.xattr.` has it.
pub(super) fn percent_encoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'=' | b'%' | 0..=0x20 | 0x7f.. => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// The value of an attribute as `LIBARCHIVE.xattr.` has it: base64 without padding.
pub(super) fn base64_encoded(value: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(value.len().div_ceil(3) * 4);
    for group in value.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            out.push(DIGITS[(bits >> (18 - 6 * i) & 63) as usize]);
        }
    }
    out
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for &byte in text.iter().take_while(|b| **b != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_counts_itself() {
        for length in [1, 5, 6, 89, 90, 91, 92, 985, 986, 987, 988, 9980, 9990] {
            let mut block = Vec::new();
            push(&mut block, b"k", &vec![b'v'; length]);
            assert_eq!(records(&block).unwrap(), [(&b"k"[..], &vec![b'v'; length][..])]);
        }
    }

    #[test]
    fn binary_values_are_exact() {
        let value = b"\0\x01\n9 a=b\n=\xff";
        let mut block = Vec::new();
        push(&mut block, b"SCHILY.xattr.user.x", value);
        push(&mut block, b"LIBARCHIVE.xattr.user.%79", b"AAE=");
        let found = xattrs(&records(&block).unwrap());
        assert_eq!(found[&b"user.x"[..]], value);
        assert_eq!(found[&b"user.y"[..]], [0, 1]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"3 \n",
            b"4 =\n",
            b"6 ab\n",
            b"6 a=bc",
            b"18446744073709551616 a=b\n",
            b"0 a=b\n",
            b"-6 a=b\n",
        ] {
            assert!(records(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
