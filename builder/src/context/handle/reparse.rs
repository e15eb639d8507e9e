//! Links of Windows as the file system has them: the data of reparse points, `REPARSE_DATA_BUFFER` in Microsoft's
//! documentation.

/// `IO_REPARSE_TAG_MOUNT_POINT`: a junction.
const MOUNT_POINT: u32 = 0xA000_0003;
/// `IO_REPARSE_TAG_SYMLINK`.
const SYMLINK: u32 = 0xA000_000C;
/// `SYMLINK_FLAG_RELATIVE`.
const RELATIVE: u32 = 1;

/// Where a symbolic link or junction leads, as its data says; `None` for data of another kind, or damaged.
pub(super) fn target(data: &[u8]) -> Option<Vec<u16>> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?));
    let tag = u32::from_le_bytes(data.get(..4)?.try_into().ok()?);
    let names = match tag {
        MOUNT_POINT => 16,
        SYMLINK => 20,
        _ => return None,
    };
    // The name that is shown, where there is one: free of the object manager's prefix.
    let part = |offset: usize, length: usize| {
        let start = names + usize::from(u16_at(offset)?);
        let bytes = data.get(start..start + usize::from(u16_at(length)?))?;
        Some(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<u16>>())
    };
    let shown = part(12, 14)?;
    if shown.is_empty() { part(8, 10) } else { Some(shown) }
}

/// The data of a symbolic link to `target`; `None` for one that is too long.
pub(super) fn symlink(target: &[u16]) -> Option<Vec<u8>> {
    let slash = |unit: &u16| *unit == u16::from(b'/') || *unit == u16::from(b'\\');
    // Forward slashes are nothing to the file system.
    let target: Vec<u16> =
        target.iter().map(|unit| if slash(unit) { u16::from(b'\\') } else { *unit }).collect();
    let drive = target.get(1) == Some(&u16::from(b':'));
    let substitute: Vec<u16> = match drive {
        true => r"\??\".encode_utf16().chain(target.iter().copied()).collect(),
        false => target.clone(),
    };
    let bytes = |units: &[u16]| units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>();
    let (substitute, shown) = (bytes(&substitute), bytes(&target));
    let length = |n: usize| u16::try_from(n).ok().map(u16::to_le_bytes);
    let mut out = SYMLINK.to_le_bytes().to_vec();
    out.extend(length(12 + substitute.len() + shown.len())?);
    out.extend([0, 0]);
    out.extend([0, 0]);
    out.extend(length(substitute.len())?);
    out.extend(length(substitute.len())?);
    out.extend(length(shown.len())?);
    out.extend(if drive { 0 } else { RELATIVE }.to_le_bytes());
    out.extend(substitute);
    out.extend(shown);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn a_link_leads_where_it_was_made_to() {
        for (text, target_text) in
            [("a/b", r"a\b"), (r"..\x", r"..\x"), (r"\app", r"\app"), (r"C:\app", r"C:\app"), ("é", "é")]
        {
            assert_eq!(target(&symlink(&wide(text)).unwrap()), Some(wide(target_text)), "{text}");
        }
        assert_eq!(symlink(&vec![65; 1 << 15]), None);
    }

    #[test]
    fn the_data_is_as_documented() {
        let data = symlink(&wide("x")).unwrap();
        #[rustfmt::skip]
        assert_eq!(data, [
            0x0c, 0, 0, 0xa0, 16, 0, 0, 0,
            0, 0, 2, 0, 2, 0, 2, 0, 1, 0, 0, 0,
            b'x', 0, b'x', 0,
        ]);
        let mut junction = vec![3, 0, 0, 0xa0, 20, 0, 0, 0, 0, 0, 8, 0, 10, 0, 0, 0];
        junction.extend(r"\??\".encode_utf16().flat_map(u16::to_le_bytes));
        junction.extend([0; 4]);
        assert_eq!(target(&junction), Some(wide(r"\??\")));
    }

    #[test]
    fn damage_is_no_link() {
        let good = symlink(&wide("abc")).unwrap();
        for length in 0..good.len() {
            assert_eq!(target(&good[..length]), None, "{length}");
        }
        let mut other = good.clone();
        other[0] = 1;
        assert_eq!(target(&other), None);
        let mut far = good;
        far[12] = 0xff;
        far[13] = 0xff;
        assert_eq!(target(&far), None);
    }
}
