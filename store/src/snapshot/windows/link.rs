//! Junctions and symbolic links: between the bytes of the file system and the text of a layer.

use crate::nt::tag;

/// What a link is, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// A junction and no symbolic link.
    pub(crate) mount_point: bool,
    pub(crate) target: String,
}

/// What reparse data says; none where it is no link, or malformed.
pub(crate) fn parse(data: &[u8]) -> Option<Link> {
    let u16_at = |at: usize| Some(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]));
    let which = u32::from_le_bytes([*data.first()?, *data.get(1)?, *data.get(2)?, *data.get(3)?]);
    let names = match which {
        tag::MOUNT_POINT => 16,
        tag::SYMLINK => 20,
        _ => return None,
    };
    let name = |offset: usize, length: usize| -> Option<String> {
        let from = names + usize::from(u16_at(offset)?);
        let bytes = data.get(from..)?.get(..usize::from(u16_at(length)?))?;
        let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let substitute = name(8, 10)?;
    // What is followed is the substitute name; the other is for people.
    let target = substitute.strip_prefix(r"\??\").filter(|rest| !rest.is_empty()).unwrap_or(&substitute);
    Some(Link { mount_point: which == tag::MOUNT_POINT, target: target.to_owned() })
}

/// The reparse data of a link; none where the target is too long for one.
pub(crate) fn build(link: &Link) -> Option<Vec<u8>> {
    let text = &link.target;
    let is_relative = !(text.starts_with('\\') || text.chars().nth(1) == Some(':'));
    let device = text.starts_with(r"\??\") || text.starts_with(r"\\?\");
    let bare = if device { &text[4..] } else { text };
    let absolute = text.chars().nth(1) == Some(':') || text.starts_with("Volume{") || device;
    let (substitute, flags) = match (link.mount_point || absolute, is_relative) {
        (true, _) => (format!(r"\??\{bare}"), 0u32),
        // From the drive's root, or from here.
        (false, _) => (text.clone(), 1),
    };
    let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (substitute, print) = (units(&substitute), units(bare));
    let length = |bytes: usize| u16::try_from(bytes).ok().filter(|n| *n < 16_000);
    let mut names = substitute.clone();
    names.extend([0, 0]);
    let print_at = names.len();
    names.extend(&print);
    names.extend([0, 0]);
    let mut body = Vec::new();
    for number in [0, substitute.len(), print_at, print.len()] {
        body.extend(length(number)?.to_le_bytes());
    }
    if !link.mount_point {
        body.extend(flags.to_le_bytes());
    }
    body.extend(&names);
    let which = if link.mount_point { tag::MOUNT_POINT } else { tag::SYMLINK };
    let mut out = which.to_le_bytes().to_vec();
    out.extend(length(body.len())?.to_le_bytes());
    out.extend([0, 0]);
    out.extend(body);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_junction_are_those_of_the_documentation() {
        let link = Link { mount_point: true, target: r"C:\a".to_owned() };
        let data = build(&link).unwrap();
        let text = |s: &str| s.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        // Tag, length, reserved, offset and length of the substitute name and of the print name.
        let mut expected = vec![3, 0, 0, 0xA0, 36, 0, 0, 0, 0, 0, 16, 0, 18, 0, 8, 0];
        expected.extend(text("\\??\\C:\\a\0C:\\a\0"));
        assert_eq!(data, expected);
        assert_eq!(parse(&data), Some(link));
    }

    #[test]
    fn links_come_back_as_they_were() {
        for target in [r"..\x", "name", r"C:\Users\x", r"\from\root", r"D:\", "Volume{0-1}\\"] {
            for mount_point in [false, true] {
                let link = Link { mount_point, target: target.to_owned() };
                let data = build(&link).unwrap();
                assert_eq!(parse(&data).unwrap(), link, "{target}");
                for cut in 0..16 {
                    assert_eq!(parse(&data[..cut]), None);
                }
            }
        }
        let relative = build(&Link { mount_point: false, target: r"..\x".into() }).unwrap();
        assert_eq!(relative[16], 1, "SYMLINK_FLAG_RELATIVE");
        assert_eq!(build(&Link { mount_point: true, target: "x".repeat(9000) }), None);
        assert_eq!(parse(&[0x17, 0, 0, 0x90, 0, 0, 0, 0]), None, "another kind of reparse point");
    }
}
