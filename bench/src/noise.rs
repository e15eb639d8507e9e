//! Bytes that are the same in every run: noise, and text that compresses as text does.

const WORDS: [&str; 32] = [
    "return",
    "value",
    "const",
    "function",
    "index",
    "module",
    "require",
    "exports",
    "length",
    "object",
    "string",
    "number",
    "default",
    "import",
    "static",
    "result",
    "error",
    "buffer",
    "stream",
    "callback",
    "undefined",
    "prototype",
    "this",
    "if",
    "else",
    "for",
    "in",
    "of",
    "the",
    "and",
    "a",
    "x",
];

/// SplitMix64: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Noise(u64);

impl Noise {
    /// What this seed gives.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// That many bytes which do not shrink.
    pub(crate) fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 8);
        while out.len() < size {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(size);
        out
    }

    /// That many bytes of words and lines.
    pub(crate) fn text(&mut self, size: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 64);
        while out.len() < size {
            let mut bits = self.next();
            for _ in 0..8 {
                out.extend_from_slice(WORDS[(bits & 31) as usize].as_bytes());
                out.push(if bits & 0xe0 == 0 { b'\n' } else { b' ' });
                bits >>= 8;
            }
            out.extend_from_slice(format!("{:04x};\n", self.next() & 0xffff).as_bytes());
        }
        out.truncate(size);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_for_ever() {
        assert_eq!(Noise::new(1).next(), 0x910a_2dec_8902_5cc1);
        assert_eq!(orlop_fixtures::sha256(&Noise::new(7).bytes(1000))[..8], *"c924b7af");
        assert_eq!(orlop_fixtures::sha256(&Noise::new(7).text(1000))[..8], *"89130529");
    }
}
