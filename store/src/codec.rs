//! Stand-in until layer::compress is there.
use std::io::{self, BufRead, Read, Write};

/// Compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// Gzip.
    Gzip(u32),
    /// Zstd.
    Zstd(i32),
}

pub(crate) fn decompress<'a>(mut reader: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let head = reader.fill_buf()?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(reader)?)
    } else {
        Box::new(reader)
    })
}

pub(crate) fn compress(mut tar: impl Read, out: impl Write, how: Compression) -> io::Result<()> {
    match how {
        Compression::None => {
            let mut out = out;
            io::copy(&mut tar, &mut out)?;
        }
        Compression::Gzip(level) => {
            let mut gz = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
            io::copy(&mut tar, &mut gz)?;
            gz.finish()?;
        }
        Compression::Zstd(level) => zstd::stream::copy_encode(tar, out, level)?,
    }
    Ok(())
}
