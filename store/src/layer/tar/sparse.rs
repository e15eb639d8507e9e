//! Maps of sparse files: where the data of a file with holes belongs. GNU tar has had four forms of them.

use super::number;

/// The parts of a file that have data, in order, as (offset, length); the rest is holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) parts: Vec<(u64, u64)>,
    /// Size of the file with its holes.
    pub(super) size: u64,
}

impl Map {
    /// Checks the parts against the file's size and the size of the data in the archive.
    pub(super) fn checked(parts: Vec<(u64, u64)>, size: u64, data: u64) -> Result<Self, &'static str> {
        let (mut end, mut total) = (0u64, 0u64);
        for &(offset, length) in &parts {
            let next = offset.checked_add(length).ok_or("a sparse map overflows")?;
            if offset < end || next > size {
                return Err("a sparse map leaves its file");
            }
            end = next;
            // Cannot overflow: parts do not overlap and end before `size`.
            total += length;
        }
        if total != data {
            return Err("a sparse map does not fit its data");
        }
        Ok(Self { parts, size })
    }

    /// The four pairs in an old GNU header, or the 21 in an extension block: fields of 12 bytes.
    pub(super) fn old_pairs(fields: &[u8], parts: &mut Vec<(u64, u64)>) -> Result<(), &'static str> {
        for pair in fields.chunks_exact(24) {
            if pair[0] == 0 && pair[12] == 0 {
                break;
            }
            let value = |field| number::field(field).and_then(|n| u64::try_from(n).ok());
            let (Some(offset), Some(length)) = (value(&pair[..12]), value(&pair[12..])) else {
                return Err("a sparse map has no number where one belongs");
            };
            parts.push((offset, length));
        }
        Ok(())
    }

    /// Form 0.1: `offset,length,offset,length,…`.
    pub(super) fn commas(text: &[u8]) -> Result<Vec<(u64, u64)>, &'static str> {
        let numbers = if text.is_empty() {
            Vec::new()
        } else {
            text.split(|b| *b == b',').map(number::decimal).collect::<Option<Vec<_>>>().unwrap_or(vec![0])
        };
        Self::pairs(&numbers)
    }

    /// Numbers two by two.
    pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, &'static str> {
        if !numbers.len().is_multiple_of(2) {
            return Err("a sparse map has no number where one belongs");
        }
        Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_lie_are_refused() {
        assert!(Map::checked(vec![(0, 4), (8, 4)], 12, 8).is_ok());
        assert!(Map::checked(vec![], 1 << 40, 0).is_ok());
        for (parts, size, data) in [
            (vec![(0, 4), (2, 4)], 12, 8),
            (vec![(8, 8)], 12, 8),
            (vec![(u64::MAX, 2)], u64::MAX, 2),
            (vec![(0, 4)], 12, 8),
            (vec![(8, 2), (0, 2)], 12, 4),
        ] {
            assert!(Map::checked(parts.clone(), size, data).is_err(), "{parts:?}");
        }
        assert!(Map::commas(b"0,1,2").is_err());
        assert!(Map::commas(b"0,x").is_err());
        assert_eq!(Map::commas(b"0,1,5,2").unwrap(), [(0, 1), (5, 2)]);
    }
}
