use super::*;

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn sids_are_read_as_they_are_written() {
    for text in ["S-1-1-0", "S-1-5-32-544", "S-1-15-2-1-2-3-4-5-6-7", "S-1-16-4096", "S-1-281474976710655-1"]
    {
        let sid: Sid = text.parse().expect(text);
        assert_eq!(sid.to_string(), text);
        assert_eq!(Sid::parse(&sid.to_bytes()), Some(sid));
    }
    let many = format!("S-1-5{}", "-1".repeat(16));
    for bad in
        ["", "S-1", "S-1-", "S-1-x", "S-2-5-1", "S-1-5-4294967296", "S-1-281474976710656-1", many.as_str()]
    {
        assert!(bad.parse::<Sid>().is_err(), "{bad}");
    }
}

#[test]
fn administrators_as_the_system_writes_them() {
    let published = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
    assert_eq!(Sid::administrators().to_bytes(), published);
}

#[test]
fn descriptors_are_read_as_they_are_written() {
    let step: Sid = "S-1-9-1869771376-1".parse().expect("a SID");
    let mut descriptor =
        SecurityDescriptor::only([&Sid::system(), &step]).owned_by(Some(Sid::administrators()));
    descriptor.label = Some(Entry::label(LOW_INTEGRITY, INHERIT));
    let words = descriptor.to_words();
    assert_eq!(SecurityDescriptor::parse(&bytes(&words)), Some(descriptor.clone()));
    assert!(descriptor.admits_only(&[Sid::system(), step.clone()]));
    assert!(!descriptor.admits_only(&[Sid::system()]));
    let open = SecurityDescriptor::default();
    assert_eq!(SecurityDescriptor::parse(&bytes(&open.to_words())), Some(open.clone()));
    assert!(!open.admits_only(&[Sid::system()]), "no list at all admits everybody");
}

#[test]
fn damaged_descriptors_do_not_panic() {
    let whole = bytes(&SecurityDescriptor::only([&Sid::system(), &Sid::users()]).to_words());
    for length in 0..whole.len() {
        let _ = SecurityDescriptor::parse(&whole[..length]);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] = 0xff;
        let _ = SecurityDescriptor::parse(&damaged);
    }
}

#[test]
fn unknown_entries_survive() {
    let object = [4, 0, 24, 0, 1, 0, 0, 0, 5, 0, 16, 0, 1, 2, 3, 4, 0, 0, 0, 0, 9, 9, 9, 9];
    let list = AccessList::parse(&object).expect("a list");
    assert_eq!(list.to_bytes(), object);
    assert!(list.admitted().is_empty());
}

#[test]
fn lists_that_are_inherited_say_so() {
    let control = |flags| {
        let entry = Entry::allow(&Sid::system(), 1, flags);
        let descriptor =
            SecurityDescriptor { access: Some(AccessList(vec![entry])), ..SecurityDescriptor::default() };
        descriptor.to_words()[0] >> 16
    };
    assert_eq!(control(0), 0x8004);
    // DI and DC of [MS-DTYP] 2.4.6: only both together leave DI on what they are set on.
    assert_eq!((control(INHERIT), control(INHERITED)), (0x8504, 0x8504));
}
