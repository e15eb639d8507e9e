use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Every byte of the descriptor that directories get, spelled out from [MS-DTYP].
#[test]
fn directory_byte_by_byte() {
    #[rustfmt::skip]
    let expected = [
        // Revision, Sbz1, Control: SE_SELF_RELATIVE | SE_DACL_PRESENT; offsets of owner, group, SACL, DACL.
        0x01, 0x00, 0x04, 0x80, 0x14, 0, 0, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0,
        // Owner S-1-5-32-544.
        0x01, 0x02, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, 0x20, 0x02, 0, 0,
        // Group S-1-5-18.
        0x01, 0x01, 0, 0, 0, 0, 0, 5, 0x12, 0, 0, 0,
        // ACL: revision 2, Sbz1, size 8 + 20 + 24 + 24 = 76, 3 entries, Sbz2.
        0x02, 0x00, 0x4c, 0x00, 0x03, 0x00, 0x00, 0x00,
        // Allow, OICI, 20 bytes, FILE_ALL_ACCESS, S-1-5-18.
        0x00, 0x03, 0x14, 0x00, 0xff, 0x01, 0x1f, 0x00, 0x01, 0x01, 0, 0, 0, 0, 0, 5, 0x12, 0, 0, 0,
        // Allow, OICI, 24 bytes, FILE_ALL_ACCESS, S-1-5-32-544.
        0x00, 0x03, 0x18, 0x00, 0xff, 0x01, 0x1f, 0x00, 0x01, 0x02, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, 0x20, 0x02, 0, 0,
        // Allow, OICI, 24 bytes, read and execute, S-1-5-32-545.
        0x00, 0x03, 0x18, 0x00, 0xa9, 0x00, 0x12, 0x00, 0x01, 0x02, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, 0x21, 0x02, 0, 0,
    ];
    assert_eq!(SecurityDescriptor::directory().as_bytes(), expected);
    let mut file = expected;
    for ace in [57, 77, 101] {
        file[ace] = 0;
    }
    assert_eq!(SecurityDescriptor::file().as_bytes(), file);
}

#[test]
fn what_a_user_owns() {
    let user = Sid::container_user();
    let read = SecurityDescriptor::parse(SecurityDescriptor::directory_of(&user).as_bytes()).unwrap();
    assert_eq!(read.owner().unwrap().to_string(), "S-1-5-93-2-2");
    let dacl = read.dacl().unwrap();
    assert_eq!(dacl.len(), 4);
    assert_eq!(dacl[2], Ace { kind: 0, flags: 3, mask: Some(0x1f_01ff), who: Some(user.clone()) });
    assert!(SecurityDescriptor::file_of(&user).dacl().unwrap().iter().all(|ace| ace.flags == 0));
}

/// What other builders write for a directory when they cross-build: seven entries, creator owner among them.
#[test]
fn a_foreign_one_is_read() {
    let text = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA";
    let read = SecurityDescriptor::parse(&STANDARD.decode(text).unwrap()).unwrap();
    assert_eq!(read.owner(), Some(Sid::administrators()));
    assert_eq!(read.group(), Some(Sid::system()));
    let dacl = read.dacl().unwrap();
    assert_eq!(dacl.len(), 7);
    assert_eq!(dacl[3].who.as_ref().unwrap().to_string(), "S-1-3-0");
}

#[test]
fn damage_is_refused() {
    let good = SecurityDescriptor::directory().as_bytes().to_vec();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        SecurityDescriptor::parse(&bytes)
    };
    assert_eq!(with(0, 2), Err(SecurityError::Header));
    assert_eq!(with(3, 0), Err(SecurityError::Header));
    assert_eq!(with(4, 1), Err(SecurityError::Outside("owner")));
    assert_eq!(with(11, 0xff), Err(SecurityError::Outside("group")));
    assert_eq!(with(20, 9), Err(SecurityError::Sid("owner")));
    assert_eq!(with(21, 16), Err(SecurityError::Sid("owner")));
    assert_eq!(with(48, 7), Err(SecurityError::Acl("DACL")));
    assert_eq!(with(52, 200), Err(SecurityError::Acl("DACL")));
    assert_eq!(with(58, 1), Err(SecurityError::Acl("DACL")));
    assert_eq!(SecurityDescriptor::parse(&[]), Err(SecurityError::Length(0)));
    assert_eq!(SecurityDescriptor::parse(&vec![1; 1 << 20]), Err(SecurityError::Length(1 << 20)));
}

/// Cut off anywhere, or with any one byte changed: refused or read, never a panic.
#[test]
fn nothing_panics() {
    let good = SecurityDescriptor::directory_of(&Sid::container_user()).as_bytes().to_vec();
    for end in 0..good.len() {
        let _ = SecurityDescriptor::parse(&good[..end]);
    }
    for at in 0..good.len() {
        for value in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(read) = SecurityDescriptor::parse(&bytes) {
                let _ = (format!("{read:?}"), read.dacl());
            }
        }
    }
}
