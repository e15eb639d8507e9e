//! Digests: what content is called.
//!
//! To others orlop speaks sha256 only, the one algorithm that every registry and every tool of the field
//! implements (OCI image specification, "Descriptors", registered algorithms).

mod background;
mod file;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

pub(crate) use background::BackgroundDigester;
pub use file::{FileDigest, FileDigester};

/// The sha256 of some bytes. Displayed and parsed as `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is no sha256 digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a digest (expected `sha256:` and 64 lower-case hex digits)")]
pub struct DigestParseError {
    text: String,
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 64 hex digits without the algorithm: the name of a blob's file.
    pub fn hex(&self) -> String {
        self.digits().into_iter().map(char::from).collect()
    }

    /// The same as bytes.
    pub(crate) fn digits(&self) -> [u8; 64] {
        let mut out = [0; 64];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = b"0123456789abcdef"[usize::from(nibble)];
            }
        }
        out
    }

    /// The first twelve hex digits, as image IDs are shown to people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from 64 hex digits without the algorithm.
    ///
    /// # Errors
    /// When the text is anything but 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestParseError> {
        let fail = || DigestParseError { text: hex.chars().take(80).collect() };
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(fail());
        }
        let mut out = [0u8; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(fail()),
            };
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(out))
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Self, DigestParseError> {
        text.strip_prefix("sha256:")
            .and_then(|hex| Self::from_hex(hex).ok())
            .ok_or_else(|| DigestParseError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A digest in the making. Also a [`Write`], so that it can stand at the end of a stream.
#[derive(Clone, Default)]
pub struct Digester {
    state: Sha256,
    size: u64,
}

impl Digester {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes `bytes` after everything before.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes hashed so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a stream was not what its descriptor says. Found inside an [`io::Error`] of kind
/// `InvalidData` that a [`VerifiedReader`] returned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// More bytes than the descriptor says.
    #[error("content of {digest} is longer than the {size} bytes that its descriptor says")]
    TooLong {
        /// What was asked for.
        digest: Digest,
        /// The size that its descriptor says, in bytes.
        size: u64,
    },
    /// The stream ended early.
    #[error("content of {digest} ended after {got} of {size} bytes")]
    TooShort {
        /// What was asked for.
        digest: Digest,
        /// The size that its descriptor says, in bytes.
        size: u64,
        /// Bytes that arrived.
        got: u64,
    },
    /// The right number of bytes, but other ones.
    #[error("content of {expected} has digest {found}")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
}

/// Passes bytes through and fails, at the latest at their end, when they are not the content that
/// a digest and a size name. End of file is only ever reported after both were found right.
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    digest: Digest,
    size: u64,
    digester: Option<Digester>,
}

impl<R: Read> VerifiedReader<R> {
    /// Verifies what `inner` yields against `digest` and `size` bytes.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, digest, size, digester: Some(Digester::new()) }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let Some(digester) = &mut self.digester else {
            return Ok(0);
        };
        let n = self.inner.read(buf)?;
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let (digest, size) = (self.digest, self.size);
        if n > 0 {
            digester.update(&buf[..n]);
            if digester.size() > size {
                return invalid(VerifyError::TooLong { digest, size });
            }
            return Ok(n);
        }
        let got = digester.size();
        if got < size {
            return invalid(VerifyError::TooShort { digest, size, got });
        }
        let found = digester.clone().finish();
        if found != digest {
            return invalid(VerifyError::WrongDigest { expected: digest, found });
        }
        self.digester = None;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest_of_nothing() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for bad in ["", "sha256:", "sha512:00", &digest.hex(), &digest.to_string().to_uppercase(), "sha256:é"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    fn verify(content: &[u8], digest: Digest, size: u64) -> Result<Vec<u8>, VerifyError> {
        let mut out = Vec::new();
        match VerifiedReader::new(content, digest, size).read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(e) => Err(*e.into_inner().unwrap().downcast().unwrap()),
        }
    }

    #[test]
    fn verified_reader_passes_only_the_named_content() {
        let digest = Digest::of(b"abc");
        assert_eq!(verify(b"abc", digest, 3).unwrap(), b"abc");
        assert_eq!(verify(b"abc", digest, 2), Err(VerifyError::TooLong { digest, size: 2 }));
        assert_eq!(verify(b"ab", digest, 3), Err(VerifyError::TooShort { digest, size: 3, got: 2 }));
        assert_eq!(
            verify(b"abd", digest, 3),
            Err(VerifyError::WrongDigest { expected: digest, found: Digest::of(b"abd") })
        );
    }
}
