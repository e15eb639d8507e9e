//! A Windows layer, read by the rules that Windows hosts read it by, and by nothing of orlop: tar headers and PAX
//! records as POSIX has them, then what hcsshim's importer asks of each entry.

use std::collections::{BTreeMap, BTreeSet};

/// One entry.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) flag: u8,
    pub(crate) link: String,
    pub(crate) pax: BTreeMap<String, String>,
    pub(crate) data: Vec<u8>,
    pub(crate) owner: (u64, u64),
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8(field[..end].to_vec()).unwrap()
}

fn octal(field: &[u8]) -> u64 {
    u64::from_str_radix(text(field).trim(), 8).unwrap()
}

/// All entries in order.
pub(crate) fn read(tar: &[u8]) -> Vec<Record> {
    let mut out = Vec::new();
    let mut pax = BTreeMap::new();
    let mut at = 0;
    while tar[at..at + 512].iter().any(|b| *b != 0) {
        let header = &tar[at..at + 512];
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) })
            .sum();
        assert_eq!(octal(&header[148..156]), sum, "checksum of `{}`", text(&header[..100]));
        let size = octal(&header[124..136]) as usize;
        let data = tar[at + 512..at + 512 + size].to_vec();
        at += 512 + size.next_multiple_of(512);
        if header[156] == b'x' {
            pax = records(&data);
            continue;
        }
        let said = std::mem::take(&mut pax);
        out.push(Record {
            name: said.get("path").cloned().unwrap_or_else(|| text(&header[..100])),
            flag: header[156],
            link: said.get("linkpath").cloned().unwrap_or_else(|| text(&header[157..257])),
            owner: (octal(&header[108..116]), octal(&header[116..124])),
            pax: said,
            data,
        });
    }
    assert!(tar[at..].len() >= 1024 && tar[at..].iter().all(|b| *b == 0), "two blocks of zeros at the end");
    out
}

fn records(mut block: &[u8]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    while !block.is_empty() {
        let space = block.iter().position(|b| *b == b' ').unwrap();
        let length: usize = text(&block[..space]).parse().unwrap();
        let record = String::from_utf8(block[space + 1..length - 1].to_vec()).unwrap();
        let (key, value) = record.split_once('=').unwrap();
        assert!(out.insert(key.to_owned(), value.to_owned()).is_none(), "`{key}` is said once");
        block = &block[length..];
    }
    out
}

/// What an importer relies on.
pub(crate) fn check(all: &[Record]) {
    assert_eq!((all[0].name.as_str(), all[1].name.as_str()), ("Files", "Hives"));
    let mut there = BTreeSet::new();
    let mut folded = BTreeSet::new();
    for record in all {
        let name = &record.name;
        assert!(there.insert(name.clone()), "`{name}` comes once");
        assert!(folded.insert(name.to_uppercase()), "`{name}` is another's name in another case");
        assert!(!name.ends_with('/') && !name.contains('\\'), "`{name}`");
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(parent.is_empty() || there.contains(parent), "`{name}` comes after its directory");
        assert_eq!(record.owner, (0, 0), "`{name}`");
        assert!(record.pax.keys().all(|key| !key.contains("SCHILY")), "`{name}`: {:?}", record.pax);
        match record.flag {
            b'1' => assert!(there.contains(&record.link), "`{name}` is a link to `{}`", record.link),
            b'0' if name.contains("/.wh.") => assert!(record.data.is_empty() && record.pax.is_empty()),
            b'0' | b'2' | b'5' => {
                let bits: u32 = record.pax["MSWINDOWS.fileattr"].parse().unwrap();
                assert_eq!(
                    bits & 0x10 != 0,
                    record.flag == b'5' || (record.flag == b'2' && bits & 0x10 != 0)
                );
                assert_eq!(bits & 0x400 != 0, record.flag == b'2', "`{name}`");
                assert!(record.pax.contains_key("MSWINDOWS.rawsd"), "`{name}` has a descriptor");
            }
            other => panic!("`{name}` is of type {}", other as char),
        }
    }
}
