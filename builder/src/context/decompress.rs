//! Streams of any of the compressions that archives come in, told by their first bytes.

use std::io::{self, BufReader, Cursor, Read};

/// More memory than this an xz stream may not ask for, in KiB; `xz -9` asks for 65 MiB.
const XZ_LIMIT: u32 = 512 * 1024;
/// The same for zstd, as a power of two; `zstd --ultra -22` asks for 128 MiB, `--long=31` for more.
const ZSTD_WINDOW_LOG: u32 = 29;

/// Undoes gzip, bzip2, xz or zstd, several streams one after the other included. A stream that begins
/// like none of them is passed through.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompress<'a>(mut stream: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut head = [0; 6];
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let begin = head.get(..filled).unwrap_or_default();
    let skippable = matches!(begin, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    let whole = BufReader::with_capacity(128 * 1024, Cursor::new(begin.to_vec()).chain(stream));
    Ok(if begin.starts_with(&[0x1f, 0x8b, 0x08]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(whole))
    } else if begin.starts_with(b"BZh") {
        Box::new(bzip2::bufread::MultiBzDecoder::new(whole))
    } else if begin.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_LIMIT))
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
        let mut decoder = zstd::Decoder::with_buffer(whole)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        Box::new(decoder)
    } else {
        Box::new(whole)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn undone(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    /// The same text in every compression.
    pub(crate) fn compressed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(text).unwrap();
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(text).unwrap();
        vec![
            ("none", text.to_vec()),
            ("gzip", gzip.finish().unwrap()),
            ("bzip2", bzip2.finish().unwrap()),
            ("xz", xz.finish().unwrap()),
            ("zstd", zstd::encode_all(text, 1).unwrap()),
        ]
    }

    #[test]
    fn every_compression_is_undone() {
        let text = b"some text that is not short at all, some text that is not short at all";
        for (name, bytes) in compressed(text) {
            assert_eq!(undone(&bytes).unwrap(), text, "{name}");
            // Cut off, it is an error or shorter, but no crash and nothing else.
            for n in 0..bytes.len() {
                if let Ok(part) = undone(&bytes[..n]) {
                    assert!(text.starts_with(&part) || bytes.starts_with(&part), "{name} {n}");
                }
            }
        }
    }

    #[test]
    fn streams_in_a_row_are_one() {
        for (name, bytes) in compressed(b"twice") {
            assert_eq!(undone(&[&bytes[..], &bytes[..]].concat()).unwrap(), b"twicetwice", "{name}");
        }
    }

    #[test]
    fn an_xz_stream_that_asks_for_gigabytes_is_refused() {
        let mut bytes = compressed(b"x").remove(3).1;
        // The dictionary size is the one byte of the LZMA2 filter's properties, in the block's header, of
        // which the last four bytes are a checksum.
        assert_eq!(&bytes[12..16], &[2, 0, 0x21, 1]);
        bytes[16] = 40;
        let sum = crc32(&bytes[12..20]);
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        let error = undone(&bytes).unwrap_err();
        assert!(error.to_string().contains("memory") || error.to_string().contains("mem_limit"), "{error}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
