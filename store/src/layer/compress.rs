//! Compressing layers, and reading them whatever they are compressed with.
//!
//! Compressed bytes are named by their digest, so the same layer must give the same bytes on any number of
//! cores: gzip is cut into independent members (RFC 1952 allows several, and every reader of layers takes them),
//! zstd always works in its multi-threaded mode, whose bytes do not depend on how many threads there are.

mod gzip_reader;
mod gzip_writer;

use std::io::{self, BufRead, BufReader, Read, Write};

use self::gzip_reader::Member;

/// How to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level of libdeflate, 0 to 12. Outside it the nearest is taken.
    Gzip(u8),
    /// zstd at a level, 1 to 22. Outside it the nearest is taken.
    Zstd(u8),
}

impl Compression {
    /// gzip where nobody says how hard: the first level is two to three times as fast as the sixth, and its
    /// layers are a tenth larger, about as large as those of zlib's sixth, which other builders write.
    pub const GZIP: Self = Self::Gzip(1);
    /// zstd where nobody says how hard.
    pub const ZSTD: Self = Self::Zstd(3);

    /// What compressed bytes depend on beside the content and the library, in a word.
    pub(crate) fn recipe(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Gzip(level) => format!("gzip-{level}-{}", gzip_writer::EDITION),
            Self::Zstd(level) => format!("zstd-{level}"),
        }
    }
}

/// Compresses all of `reader` into `writer`.
///
/// # Errors
/// When reading or writing fails.
pub fn compress(
    mut reader: impl Read + Send,
    compression: Compression,
    mut writer: impl Write,
) -> io::Result<()> {
    match compression {
        Compression::None => drop(io::copy(&mut reader, &mut writer)?),
        Compression::Gzip(level) => gzip_writer::write(&mut reader, level, &mut writer)?,
        Compression::Zstd(level) => {
            let level = i32::from(level.clamp(1, 22));
            let mut encoder = zstd::stream::write::Encoder::new(&mut writer, level)?;
            encoder.include_checksum(true)?;
            // At least one: with none the bytes are others than with any number.
            let workers = rayon::current_num_threads().clamp(1, 64);
            encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
            io::copy(&mut reader, &mut encoder)?;
            encoder.finish()?;
        }
    }
    writer.flush()
}

/// What a stream is compressed with, by its first bytes; media types are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zstd,
    Plain,
}

fn magic(start: &[u8]) -> Magic {
    match start {
        [0x1f, 0x8b, ..] => Magic::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Magic::Zstd,
        // A skippable frame, which some writers put first.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Magic::Zstd,
        _ => Magic::Plain,
    }
}

/// The content of `reader`, which is gzip (of any number of members), zstd (of any number of frames) or not
/// compressed. Zeros after the end are ignored, as gzip(1) does; anything else there, and an end that is
/// missing, is an error of kind `InvalidData` or `UnexpectedEof`.
///
/// # Errors
/// When the first bytes can not be read.
pub fn decompress<'a>(reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    let mut reader = reader;
    (&mut reader).take(4).read_to_end(&mut start)?;
    let kind = magic(&start);
    let whole = BufReader::with_capacity(64 * 1024, io::Cursor::new(start).chain(reader));
    Ok(match kind {
        Magic::Gzip => Box::new(Parts::new(whole, Magic::Gzip)),
        Magic::Zstd => Box::new(Parts::new(whole, Magic::Zstd)),
        Magic::Plain => Box::new(whole),
    })
}

/// Members or frames after each other.
struct Parts<R: BufRead> {
    part: Part<R>,
    kind: Magic,
}

enum Part<R: BufRead> {
    Gzip(Box<Member<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
    Between(R),
    Over,
}

impl<R: BufRead> Parts<R> {
    fn new(inner: R, kind: Magic) -> Self {
        Self { part: Part::Between(inner), kind }
    }
}

/// Whether nothing but zeros is left.
fn only_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        let n = bytes.len();
        reader.consume(n);
    }
}

impl<R: BufRead> Read for Parts<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.part {
                Part::Gzip(decoder) => decoder.read(buf)?,
                Part::Zstd(decoder) => decoder.read(buf)?,
                Part::Over => return Ok(0),
                Part::Between(_) => 0,
            };
            if read > 0 {
                return Ok(read);
            }
            self.part = match std::mem::replace(&mut self.part, Part::Over) {
                Part::Gzip(decoder) => Part::Between(decoder.into_inner()),
                Part::Zstd(decoder) => Part::Between(decoder.finish()),
                Part::Over => return Ok(0),
                Part::Between(mut inner) => match (inner.fill_buf()?.first().copied(), self.kind) {
                    (None, _) => return Ok(0),
                    (Some(0x1f), Magic::Gzip) => Part::Gzip(Box::new(Member::start(inner)?)),
                    (Some(0x28 | 0x50..=0x5f), Magic::Zstd) => {
                        Part::Zstd(zstd::stream::read::Decoder::with_buffer(inner)?.single_frame())
                    }
                    _ if only_zeros(&mut inner)? => return Ok(0),
                    _ => {
                        let what = "something else follows the compressed data";
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Vec<u8> {
        (0..3_300_000u32).flat_map(|i| (i / 7).wrapping_mul(i).to_le_bytes()).take(3_300_000).collect()
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn pack(content: &[u8], how: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        compress(content, how, &mut out).unwrap();
        out
    }

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip(1),
        Compression::Gzip(6),
        Compression::Zstd(1),
        Compression::Zstd(3),
    ];

    #[test]
    fn everything_comes_back() {
        for how in ALL {
            for content in
                [&content()[..], b"", b"x", &vec![0; gzip_writer::BLOCK], &vec![7; gzip_writer::BLOCK + 1]]
            {
                assert!(unpack(&pack(content, how)).unwrap() == content, "{how:?}, {} bytes", content.len());
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte() {
        for how in ALL {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| pack(&content(), how))
            };
            let one = with(1);
            assert!(one == with(2) && one == with(7), "{how:?}");
        }
    }

    #[test]
    fn a_missing_end_is_an_error() {
        for how in ALL.into_iter().filter(|how| *how != Compression::None) {
            let packed = pack(&content(), how);
            for cut in [packed.len() - 1, packed.len() - 9, packed.len() / 2, 5] {
                let error = unpack(&packed[..cut]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{how:?} at {cut}: {error}");
            }
        }
    }

    #[test]
    fn several_parts_and_what_may_follow_them() {
        for how in [Compression::Gzip(6), Compression::Zstd(3)] {
            let (one, two) = (pack(b"one", how), pack(b"two", how));
            assert_eq!(unpack(&[&one[..], &two].concat()).unwrap(), b"onetwo");
            assert_eq!(unpack(&[&one[..], &two, &[0; 1000]].concat()).unwrap(), b"onetwo");
            let error = unpack(&[&one[..], b"garbage"].concat()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let zstd = pack(b"x", Compression::Zstd(3));
        let skippable = b"\x53\x2a\x4d\x18\x05\0\0\0hello";
        assert_eq!(unpack(&[&skippable[..], &zstd, skippable, &zstd].concat()).unwrap(), b"xx");
    }

    #[test]
    fn a_damaged_byte_is_noticed() {
        for how in [Compression::Gzip(6), Compression::Zstd(3)] {
            let mut packed = pack(&content(), how);
            let middle = packed.len() / 2;
            packed[middle] ^= 0x55;
            assert!(unpack(&packed).is_err(), "{how:?}");
        }
    }

    #[test]
    fn names_in_gzip_headers_are_passed_over() {
        let mut named = Vec::new();
        let mut encoder = flate2::GzBuilder::new()
            .filename("layer.tar")
            .comment("made by hand")
            .write(&mut named, flate2::Compression::new(6));
        encoder.write_all(b"content").unwrap();
        encoder.finish().unwrap();
        assert_eq!(unpack(&named).unwrap(), b"content");
    }
}
