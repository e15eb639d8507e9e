//! Source text with positions: what an error points at.

use std::fmt;
use std::ops::Range;

/// A range of bytes in a [`SourceFile`], end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The span as a range, to slice with.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Another value at the same place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A line and a column, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Bytes that cannot be a source file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The bytes are not UTF-8.
    #[error("`{name}` is not UTF-8: byte {offset} on line {line} is 0x{byte:02x}")]
    NotUtf8 {
        /// The name of the file.
        name: String,
        /// The offset of the first bad byte.
        offset: usize,
        /// Its line, from 1.
        line: usize,
        /// The byte itself.
        byte: u8,
    },
    /// The bytes are UTF-16, as PowerShell's `>` writes them.
    #[error("`{name}` is UTF-16 and not UTF-8")]
    Utf16 {
        /// The name of the file.
        name: String,
    },
    /// There are too many bytes.
    #[error("`{name}` has {size} bytes, more than the {limit} that a Dockerfile may have")]
    TooLarge {
        /// The name of the file.
        name: String,
        /// Its size in bytes.
        size: usize,
        /// The most we take.
        limit: usize,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotUtf8 { .. } => Some("save the file as UTF-8".to_owned()),
            Self::Utf16 { name } => Some(format!(
                "PowerShell's `>` writes UTF-16: save the file as UTF-8, or in PowerShell type \
                 `(Get-Content {name}) | Set-Content -Encoding utf8 {name}`"
            )),
            Self::TooLarge { .. } => Some("is this really a Dockerfile? COPY large data instead".to_owned()),
        }
    }
}

/// Whether bytes begin as UTF-16 does: with its mark, or with characters of which every other byte is zero.
fn is_utf16(bytes: &[u8]) -> bool {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [a, b, c, d, ..] => matches!(
            [*a == 0, *b == 0, *c == 0, *d == 0],
            [false, true, false, true] | [true, false, true, false]
        ),
        _ => false,
    }
}

/// A named text and the places of its lines.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    /// Where bytes that are no UTF-8 were replaced, in order.
    replaced: Vec<usize>,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).field("bytes", &self.text.len()).finish()
    }
}

impl SourceFile {
    /// The most bytes that a source file may have: 16 MiB.
    pub const MAX_BYTES: usize = 16 << 20;

    /// A source from text. `name` is how errors call it, for example the path of the Dockerfile.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i + 1));
        let line_starts = line_starts.collect();
        Self { name: name.into(), text, line_starts, replaced: Vec::new() }
    }

    /// A source from bytes. What is not UTF-8 in a line that begins with `#` is replaced by U+FFFD: comments of
    /// old files are in any encoding. [`Self::has_replaced`] tells whether such a line is one after all.
    ///
    /// # Errors
    /// When other lines are not UTF-8, or there are more than [`Self::MAX_BYTES`].
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, SourceError> {
        let name = name.into();
        if bytes.len() > Self::MAX_BYTES {
            return Err(SourceError::TooLarge { name, size: bytes.len(), limit: Self::MAX_BYTES });
        }
        if is_utf16(&bytes) {
            return Err(SourceError::Utf16 { name });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => Self::with_comments_replaced(name, error.as_bytes()),
        }
    }

    fn with_comments_replaced(name: String, bytes: &[u8]) -> Result<Self, SourceError> {
        let (mut text, mut replaced) = (String::with_capacity(bytes.len()), Vec::new());
        let mut offset = 0;
        for (line, raw) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
            let comment = raw.trim_ascii_start().starts_with(b"#");
            for chunk in raw.utf8_chunks() {
                text.push_str(chunk.valid());
                offset += chunk.valid().len();
                let Some(&byte) = chunk.invalid().first() else { continue };
                if !comment {
                    return Err(SourceError::NotUtf8 { name, offset, line: line + 1, byte });
                }
                replaced.push(text.len());
                text.push(char::REPLACEMENT_CHARACTER);
                offset += chunk.invalid().len();
            }
        }
        Ok(Self { replaced, ..Self::new(name, text) })
    }

    /// Whether bytes at `span` were no UTF-8, so that the text is not what is in the file.
    pub fn has_replaced(&self, span: Span) -> bool {
        let first = self.replaced.partition_point(|&at| at < span.start);
        self.replaced.get(first).is_some_and(|&at| at < span.end)
    }

    /// How errors call this file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text at `span`; empty where the span is not of this file.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The number of lines; text after the last newline counts as one, even if empty.
    pub fn line_count(&self) -> usize {
        self.line_starts.len()
    }

    /// The line, from 1, that holds the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset).max(1)
    }

    /// Line and column of the byte at `offset`; past the end, the end.
    pub fn location(&self, offset: usize) -> Location {
        let line = self.line(offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let end = offset.min(self.text.len());
        let before = self.text.as_bytes().get(start..end).unwrap_or_default();
        // Bytes that do not continue a character start one.
        let column = 1 + before.iter().filter(|&&b| b & 0xC0 != 0x80).count();
        Location { line, column }
    }

    /// The bytes of a line, from 1, without its line break; `None` past the last line.
    pub fn line_span(&self, line: usize) -> Option<Span> {
        let start = *self.line_starts.get(line.checked_sub(1)?)?;
        let end = self.line_starts.get(line).map_or(self.text.len(), |&next| next - 1);
        let end = if self.text.as_bytes().get(start..end).is_some_and(|l| l.ends_with(b"\r")) {
            end - 1
        } else {
            end
        };
        Some(Span { start, end })
    }

    /// The text of a line, from 1, without its line break; `None` past the last line.
    pub fn line_text(&self, line: usize) -> Option<&str> {
        self.line_span(line).map(|span| self.slice(span))
    }

    /// The first and the last line, from 1, that `span` touches.
    pub fn lines_of(&self, span: Span) -> (usize, usize) {
        (self.line(span.start), self.line(span.end.saturating_sub(1).max(span.start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_in_characters() {
        let file = SourceFile::new("Dockerfile", "FROM a\r\nRUN é x\n");
        assert_eq!(file.line_count(), 3);
        assert_eq!(file.location(0), Location { line: 1, column: 1 });
        assert_eq!(file.location(8), Location { line: 2, column: 1 });
        let x = file.text().find('x').unwrap();
        assert_eq!(file.location(x), Location { line: 2, column: 7 });
        assert_eq!(file.line_text(1), Some("FROM a"));
        assert_eq!(file.line_text(3), Some(""));
        assert_eq!(file.line_text(4), None);
        assert_eq!(file.line_text(0), None);
        assert_eq!(file.location(9999).line, 3);
        assert_eq!(file.lines_of(Span::new(0, 10)), (1, 2));
        assert_eq!(file.lines_of(Span::new(0, 8)), (1, 1));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let error = SourceFile::from_bytes("D", b"FROM a\nRUN \xff".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "`D` is not UTF-8: byte 11 on line 2 is 0xff");
    }

    #[test]
    fn a_comment_may_be_in_any_encoding() {
        let file = SourceFile::from_bytes("D", b"FROM a\n # f\xfcr \xff\xfe\nRUN b\n".to_vec()).unwrap();
        let text = file.text();
        assert_eq!(text, "FROM a\n # f\u{fffd}r \u{fffd}\u{fffd}\nRUN b\n");
        let line = |n| file.line_span(n).unwrap();
        assert_eq!([line(1), line(2), line(3)].map(|l| file.has_replaced(l)), [false, true, false]);
        assert!(!file.has_replaced(Span::new(text.len(), text.len())));
    }

    #[test]
    fn what_powershell_redirects_is_known_as_utf16() {
        let units = |text: &str, big: bool| -> Vec<u8> {
            text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
        };
        for text in ["\u{feff}FROM a\r\n", "FROM a\r\n", "# é\n"] {
            for big in [false, true] {
                let error = SourceFile::from_bytes("D", units(text, big)).unwrap_err();
                assert_eq!(error.to_string(), "`D` is UTF-16 and not UTF-8", "{text:?}");
                assert!(error.hint().is_some_and(|hint| hint.contains("Set-Content -Encoding utf8 D")));
            }
        }
        for text in ["\u{feff}FROM a", "FROM a", "", "F", "FRO\0"] {
            assert!(SourceFile::from_bytes("D", text.as_bytes().to_vec()).is_ok(), "{text:?}");
        }
    }
}
