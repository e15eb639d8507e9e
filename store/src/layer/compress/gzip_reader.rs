//! One member of a gzip file (RFC 1952).

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::DeflateDecoder;
use libdeflater::Crc;

/// Flags of the header: what follows its fixed part.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Reads the content of a member. The end of file is reported once size and checksum were found right; the next byte
/// of what was read from is the first one after the member then.
pub(super) struct Member<R> {
    content: DeflateDecoder<R>,
    crc: Crc,
    size: u32,
    is_over: bool,
}

impl<R: BufRead> Member<R> {
    /// Reads the header.
    pub(super) fn start(mut inner: R) -> io::Result<Self> {
        let mut fixed = [0; 10];
        inner.read_exact(&mut fixed)?;
        let [0x1f, 0x8b, 8, flags, ..] = fixed else { return Err(invalid("this is no gzip header")) };
        if flags & RESERVED != 0 {
            return Err(invalid("the gzip header has flags that nobody knows"));
        }
        if flags & EXTRA != 0 {
            let mut size = [0; 2];
            inner.read_exact(&mut size)?;
            skip(&mut inner, u64::from(u16::from_le_bytes(size)))?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                skip_text(&mut inner)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            skip(&mut inner, 2)?;
        }
        Ok(Self { content: DeflateDecoder::new(inner), crc: Crc::new(), size: 0, is_over: false })
    }

    /// What follows the member, once it was read to its end.
    pub(super) fn into_inner(self) -> R {
        self.content.into_inner()
    }
}

impl<R: BufRead> Read for Member<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.is_over {
            return Ok(0);
        }
        let n = self.content.read(buf).map_err(|e| match e.kind() {
            ErrorKind::InvalidInput => invalid("the compressed data is damaged"),
            _ => e,
        })?;
        if n > 0 {
            self.crc.update(&buf[..n]);
            // Modulo 2^32, as the trailer has it.
            self.size = self.size.wrapping_add(u32::try_from(n % (1 << 32)).unwrap_or_default());
            return Ok(n);
        }
        let mut trailer = [0; 8];
        self.content.get_mut().read_exact(&mut trailer)?;
        let (crc, size) = trailer.split_at(4);
        if crc != self.crc.sum().to_le_bytes() || size != self.size.to_le_bytes() {
            return Err(invalid("the checksum of the compressed data is wrong"));
        }
        self.is_over = true;
        Ok(0)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn skip(reader: &mut impl BufRead, bytes: u64) -> io::Result<()> {
    match io::copy(&mut reader.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Skips a text that ends with a zero.
fn skip_text(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let end = bytes.iter().position(|byte| *byte == 0);
        let skipped = end.map_or(bytes.len(), |end| end + 1);
        reader.consume(skipped);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut content, mut rest) = (Vec::new(), Vec::new());
        // Few bytes at a time: everything is cut somewhere.
        let mut member = Member::start(io::BufReader::with_capacity(3, bytes))?;
        member.read_to_end(&mut content)?;
        member.into_inner().read_to_end(&mut rest)?;
        Ok((content, rest))
    }

    /// A header with all there may be in it, and its length.
    fn member() -> (Vec<u8>, usize) {
        let mut encoder = flate2::GzBuilder::new()
            .extra(vec![7; 300])
            .filename("layer.tar")
            .comment("made by hand")
            .write(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(b"content").unwrap();
        let mut bytes = encoder.finish().unwrap();
        let header = 10 + 2 + 300 + 10 + 13;
        bytes[3] |= HEADER_CRC;
        bytes.splice(header..header, [0xaa, 0xbb]);
        (bytes, header + 2)
    }

    #[test]
    fn a_member_ends_where_it_ends() {
        let (bytes, _) = member();
        let (content, rest) = read(&[&bytes[..], b"next"].concat()).unwrap();
        assert_eq!((&content[..], &rest[..]), (&b"content"[..], &b"next"[..]));
    }

    #[test]
    fn every_cut_is_noticed() {
        let (bytes, _) = member();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "at {cut}");
        }
    }

    #[test]
    fn every_damage_behind_the_header_is_noticed() {
        let (bytes, header) = member();
        for at in header..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x11;
            assert!(read(&damaged).is_err(), "at {at}");
        }
        for (at, value) in [(0, 0), (1, 0), (2, 7), (3, 0xff)] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            assert_eq!(read(&damaged).unwrap_err().kind(), ErrorKind::InvalidData, "at {at}");
        }
    }
}
