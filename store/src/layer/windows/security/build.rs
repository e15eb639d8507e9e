//! The descriptors that we give to files which have none of their own.

use super::{DACL_PRESENT, HEADER, SELF_RELATIVE, SecurityDescriptor, Sid};

/// `FILE_ALL_ACCESS`.
const ALL: u32 = 0x001f_01ff;
/// `FILE_GENERIC_READ | FILE_GENERIC_EXECUTE`.
const READ_EXECUTE: u32 = 0x0012_00a9;
/// `OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE`.
const INHERIT: u8 = 0x03;

impl SecurityDescriptor {
    /// Of a directory: `O:BA G:SY D:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)`. What is made in it
    /// later gets the same.
    pub fn directory() -> Self {
        Self::build(&Sid::administrators(), INHERIT, None)
    }

    /// Of a file: the same without inheritance.
    pub fn file() -> Self {
        Self::build(&Sid::administrators(), 0, None)
    }

    /// Of a directory that belongs to `user`, who may do everything in it.
    pub fn directory_of(user: &Sid) -> Self {
        Self::build(user, INHERIT, Some(user))
    }

    /// Of a file that belongs to `user`, who may do everything with it.
    pub fn file_of(user: &Sid) -> Self {
        Self::build(user, 0, Some(user))
    }

    fn build(owner: &Sid, flags: u8, user: Option<&Sid>) -> Self {
        let system = Sid::system();
        let mut who = vec![(system.clone(), ALL), (Sid::administrators(), ALL)];
        who.extend(user.map(|user| (user.clone(), ALL)));
        who.push((Sid::users(), READ_EXECUTE));
        let mut list = Vec::new();
        for (sid, mask) in &who {
            let sid = sid.to_bytes();
            // ACCESS_ALLOWED_ACE_TYPE
            list.extend_from_slice(&[0, flags]);
            list.extend_from_slice(&(8 + sid.len() as u16).to_le_bytes());
            list.extend_from_slice(&mask.to_le_bytes());
            list.extend_from_slice(&sid);
        }
        let (owner, group) = (owner.to_bytes(), system.to_bytes());
        let at_group = HEADER + owner.len();
        let at_list = at_group + group.len();
        let mut bytes = vec![1, 0];
        bytes.extend_from_slice(&(SELF_RELATIVE | DACL_PRESENT).to_le_bytes());
        for offset in [HEADER, at_group, 0, at_list] {
            bytes.extend_from_slice(&(offset as u32).to_le_bytes());
        }
        bytes.extend_from_slice(&owner);
        bytes.extend_from_slice(&group);
        // ACL_REVISION
        bytes.extend_from_slice(&[2, 0]);
        bytes.extend_from_slice(&(8 + list.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(who.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&list);
        Self { bytes }
    }
}
