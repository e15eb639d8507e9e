//! Which security descriptor a layer gets for a file.

use crate::digest::Digest;
use crate::layer::windows::{SecurityDescriptor, security::Sid};

/// Entries with this flag came from the directory above.
const INHERITED: u8 = 0x10;

/// What a layer says of a file with the descriptor `actual`, when a step made the file or changed its descriptor;
/// none where the step has not said anything of its own, and the file is to have what is usual.
///
/// A file inherits what the store's directories and this step's own identity have: that is of this machine and not
/// of the image. So only a list with entries of its own counts, and only where all that those name exists on other
/// machines too.
pub(crate) fn for_layer(actual: &[u8]) -> Option<SecurityDescriptor> {
    let descriptor = SecurityDescriptor::parse(actual).ok()?;
    let mut list = Vec::new();
    let mut count = 0u16;
    for entry in descriptor.dacl()?.into_iter().filter(|entry| entry.flags & INHERITED == 0) {
        // Allowed or denied; others are of programs that know what they do on this machine.
        let (Some(sid), Some(mask), 0 | 1) = (entry.who.filter(is_everywhere), entry.mask, entry.kind) else {
            return None;
        };
        let sid = sid.to_bytes();
        list.extend([entry.kind, entry.flags]);
        list.extend(u16::try_from(8 + sid.len()).ok()?.to_le_bytes());
        list.extend(mask.to_le_bytes());
        list.extend(sid);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let owner = descriptor.owner().filter(is_everywhere).unwrap_or_else(Sid::administrators).to_bytes();
    let group = descriptor.group().filter(is_everywhere).unwrap_or_else(Sid::system).to_bytes();
    // Revision, control (self-relative, list present), and where the parts are.
    let mut bytes = vec![1, 0, 0x04, 0x80];
    for offset in [20, 20 + owner.len(), 0, 20 + owner.len() + group.len()] {
        bytes.extend(u32::try_from(offset).ok()?.to_le_bytes());
    }
    bytes.extend([owner, group].concat());
    bytes.extend([2, 0]);
    bytes.extend(u16::try_from(8 + list.len()).ok()?.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(list);
    SecurityDescriptor::parse(&bytes).ok()
}

/// What a table remembers of a descriptor: that which [`for_layer`] would say; none where that is nothing. What is
/// inherited, and what a step is given to work with, makes no difference.
pub(crate) fn mark(actual: &[u8]) -> Option<Digest> {
    for_layer(actual).map(|descriptor| Digest::of(descriptor.as_bytes()))
}

/// Whether a SID means the same on every Windows: no account of a machine or domain, no container, no capability, no
/// logon.
fn is_everywhere(sid: &Sid) -> bool {
    let bytes = sid.to_bytes();
    let parts: Vec<u32> = bytes
        .get(8..)
        .unwrap_or_default()
        .chunks_exact(4)
        .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
        .collect();
    let authority = bytes.get(2..8).unwrap_or_default().iter().fold(0u64, |all, b| all << 8 | u64::from(*b));
    match (authority, &parts[..]) {
        // World, creator.
        (1 | 3, _) => true,
        // Logons, and all that has a machine's or domain's number in it.
        (5, [5 | 21, ..]) => false,
        // Accounts of containers: ContainerAdministrator and ContainerUser are in every image.
        (5, [93, 2, _]) => true,
        (5, [93, ..]) => false,
        (5, _) => true,
        // All application packages, all restricted ones; others are one container's own.
        (15, [2, 1 | 2]) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor of SYSTEM's whose list has these entries: flags and SID.
    fn descriptor(entries: &[(u8, Sid)]) -> Vec<u8> {
        let system = Sid::system().to_bytes();
        let mut list = Vec::new();
        for (flags, sid) in entries {
            let sid = sid.to_bytes();
            list.extend([0, *flags, u8::try_from(8 + sid.len()).unwrap(), 0, 0xFF, 1, 0x1F, 0]);
            list.extend(sid);
        }
        let mut out = vec![1, 0, 4, 0x80, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0];
        out.extend([&system[..], &system].concat());
        let size = u8::try_from(8 + list.len()).unwrap();
        out.extend([2, 0, size, 0, u8::try_from(entries.len()).unwrap(), 0, 0, 0]);
        out.extend(list);
        out
    }

    #[test]
    fn only_what_a_step_said_itself_and_means_the_same_elsewhere() {
        let (users, machine) = (Sid::users(), Sid::new(5, &[21, 1, 2, 3, 1000]));
        let (package, all) = (Sid::new(15, &[2, 1, 2, 3, 4, 5, 6, 7]), Sid::new(15, &[2, 1]));
        for (entries, kept) in [
            (vec![(0, users.clone())], true),
            (vec![(3, Sid::container_user()), (0, all)], true),
            (vec![(INHERITED, users.clone())], false),
            (vec![(INHERITED, users.clone()), (0, users.clone())], true),
            (vec![(0, users.clone()), (INHERITED, package.clone())], true),
            (vec![(0, users.clone()), (0, machine)], false),
            (vec![(0, package)], false),
            (vec![(0, Sid::new(5, &[5, 0, 999]))], false),
            (vec![], false),
        ] {
            assert_eq!(for_layer(&descriptor(&entries)).is_some(), kept, "{entries:?}");
        }
        assert_eq!(for_layer(b"nothing"), None);
        let package = Sid::new(15, &[2, 1, 2, 3, 4, 5, 6, 7]);
        let plain = descriptor(&[(0, users.clone())]);
        let given = descriptor(&[(0, users.clone()), (INHERITED | 3, package)]);
        assert_eq!(
            for_layer(&plain),
            for_layer(&given),
            "what a step is given to work with is not its layer's"
        );
        assert_eq!(for_layer(&plain).unwrap().as_bytes(), plain);
        assert_eq!(mark(&plain), mark(&given));
        assert_ne!(mark(&plain), mark(&descriptor(&[(0, Sid::system())])));
        assert_eq!(mark(&descriptor(&[])), None);
    }
}
