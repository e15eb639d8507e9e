//! What a text says when its quoting is taken off: a server may send back what it was told inside of JSON, of HTML or of
//! a URL, and one inside of the other.

use std::collections::HashSet;
use std::ops::Range;

use super::secrets::SURE;

/// How many quotings may lie one inside of the other.
const DEPTH: usize = 3;

/// One way to read a text.
pub(super) struct Reading {
    bytes: Vec<u8>,
    /// Of each byte: the part of the text that it stands for; none where the text is read as it is.
    parts: Option<Vec<Range<usize>>>,
}

/// All ways to read a text: as it is, and with every quoting taken off that there may be.
pub(super) fn readings(text: &str) -> Vec<Reading> {
    let mut out = vec![Reading { bytes: text.as_bytes().to_vec(), parts: None }];
    let mut seen = HashSet::from([text.as_bytes().to_vec()]);
    let mut done = 0;
    for _ in 0..DEPTH {
        let level = out.len();
        for at in done..level {
            for (sign, unit) in QUOTINGS {
                if let Some(next) = out[at].without(sign, unit).filter(|next| seen.insert(next.bytes.clone()))
                {
                    out.push(next);
                }
            }
        }
        done = level;
    }
    out
}

/// Reads one quoted character after its sign: the bytes that it stands for, and how many it takes, the sign not counted.
type Unit = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

const QUOTINGS: [(u8, Unit); 3] = [(b'%', percent), (b'\\', backslash), (b'&', entity)];

impl Reading {
    /// The text with one quoting taken off; nothing where it has none.
    fn without(&self, sign: u8, unit: Unit) -> Option<Self> {
        if !self.bytes.contains(&sign) {
            return None;
        }
        let (mut bytes, mut parts, mut at) = (Vec::new(), Vec::new(), 0);
        while let Some(&byte) = self.bytes.get(at) {
            let quoted = (byte == sign).then(|| unit(&self.bytes[at + 1..])).flatten();
            let (said, taken) = quoted.map_or((vec![byte], 1), |(said, taken)| (said, taken + 1));
            let part = self.part(at..at + taken);
            parts.extend(std::iter::repeat_n(part, said.len()));
            bytes.extend(said);
            at += taken;
        }
        Some(Self { bytes, parts: Some(parts) })
    }

    /// The part of the text that some bytes stand for.
    fn part(&self, bytes: Range<usize>) -> Range<usize> {
        match &self.parts {
            None => bytes,
            Some(parts) => {
                let start = parts.get(bytes.start).map_or(0, |part| part.start);
                start..parts.get(bytes.end - 1).map_or(start, |part| part.end)
            }
        }
    }

    /// Adds the parts of the text that say the secret. A long one is found in large letters as in small ones, as names of
    /// hosts are shown in small ones; a short one as a word of its own.
    pub(super) fn find(&self, secret: &[u8], into: &mut Vec<Range<usize>>) {
        let long = secret.len() >= SURE;
        let is_it = |part: &[u8]| if long { part.eq_ignore_ascii_case(secret) } else { part == secret };
        let mut at = 0;
        while let Some(part) = self.bytes.get(at..at + secret.len()) {
            let end = at + secret.len();
            if is_it(part) && (long || self.is_word(at..end)) {
                into.push(self.part(at..end));
                at = end;
            } else {
                at += 1;
            }
        }
    }

    /// Whether neither letters nor digits stand beside it.
    fn is_word(&self, part: Range<usize>) -> bool {
        let (before, after) = (&self.bytes[..part.start], &self.bytes[part.end..]);
        // No character has more bytes.
        let before = String::from_utf8_lossy(&before[before.len().saturating_sub(4)..]);
        let after = String::from_utf8_lossy(&after[..after.len().min(4)]);
        !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
    }
}

/// `%41` (RFC 3986, 2.1).
fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let byte = u8::try_from(number(text.get(..2)?, 16)?).ok()?;
    Some((vec![byte], 2))
}

/// `\"`, `\n`, `\u0041` and pairs of them (RFC 8259, 7), and `\x41`, which programs write for people.
fn backslash(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let plain = |byte: u8| Some((vec![byte], 1));
    match text.first()? {
        byte @ (b'"' | b'\'' | b'\\' | b'/') => plain(*byte),
        b'b' => plain(8),
        b't' => plain(b'\t'),
        b'n' => plain(b'\n'),
        b'f' => plain(12),
        b'r' => plain(b'\r'),
        b'x' => {
            let byte = u8::try_from(number(text.get(1..3)?, 16)?).ok()?;
            Some((vec![byte], 3))
        }
        b'u' => {
            let first = number(text.get(1..5)?, 16)?;
            let second = || {
                let rest = text.get(5..11)?.strip_prefix(b"\\u")?;
                number(rest, 16).filter(|unit| (0xdc00..0xe000).contains(unit))
            };
            match first {
                0xd800..0xdc00 => {
                    let all = 0x10000 + ((first - 0xd800) << 10) + (second()? - 0xdc00);
                    Some((utf8(all)?, 11))
                }
                _ => Some((utf8(first)?, 5)),
            }
        }
        _ => None,
    }
}

/// `&amp;`, `&#65;`, `&#x41;` (HTML, "Character references"): of the names those that have to be written so.
fn entity(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    const NAMES: [(&[u8], u8); 5] =
        [(b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"quot", b'"'), (b"apos", b'\'')];
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let name = &text[..end];
    let said = match name {
        [b'#', b'x' | b'X', digits @ ..] => utf8(number(digits, 16)?)?,
        [b'#', digits @ ..] => utf8(number(digits, 10)?)?,
        name => vec![NAMES.iter().find(|(known, _)| *known == name)?.1],
    };
    Some((said, end + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let all = digits.iter().all(u8::is_ascii_alphanumeric);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| all)?, radix).ok()
}

fn utf8(code: u32) -> Option<Vec<u8>> {
    char::from_u32(code).map(|c| c.to_string().into_bytes())
}
