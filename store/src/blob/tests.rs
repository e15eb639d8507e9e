use super::*;
use crate::descriptor::media_type;
use crate::error::ErrorKind;
use crate::work::Work;

fn blobs() -> (tempfile::TempDir, Blobs) {
    let dir = tempfile::tempdir().unwrap();
    let work = Work::open(&dir.path().join("work")).unwrap();
    let session = Arc::new(Session::new(work, dir.path().join("gc.lock")));
    let blobs = Blobs::open(&dir.path().join("blobs/sha256"), session, Durability::Process).unwrap();
    (dir, blobs)
}

/// Half-made blobs in the store at `dir`.
fn half_made(dir: &Path) -> usize {
    let sessions = std::fs::read_dir(dir.join("work")).unwrap().flatten().filter(|e| e.path().is_dir());
    sessions
        .flat_map(|s| std::fs::read_dir(s.path()).unwrap())
        .filter(|e| e.as_ref().unwrap().file_name() != "uses")
        .count()
}

#[test]
fn written_verified_and_read_back() {
    let (dir, blobs) = blobs();
    let descriptor = blobs.put_bytes(media_type::OCI_CONFIG, b"content").unwrap();
    assert_eq!(descriptor.digest, Digest::of(b"content"));
    assert!(blobs.contains(&descriptor.digest));
    assert_eq!(blobs.size(&descriptor.digest).unwrap(), Some(7));
    assert_eq!(blobs.read_small(&descriptor.digest, 7).unwrap(), b"content");
    assert!(matches!(
        blobs.read_small(&descriptor.digest, 6),
        Err(Error::TooLarge { size: 7, limit: 6, .. })
    ));
    assert!(dir.path().join("blobs/sha256").join(descriptor.digest.hex()).is_file());
    assert_eq!(blobs.list().unwrap().len(), 1);
    assert_eq!(half_made(dir.path()), 0);
}

#[test]
fn what_is_not_what_was_asked_for_leaves_nothing() {
    let (dir, blobs) = blobs();
    let wanted = Descriptor::of("x", b"good");
    for (content, why) in
        [(&b"evil"[..], "has digest"), (b"goo", "ended after 3 of 4"), (b"good and more", "longer")]
    {
        let error = blobs.put(&wanted, &mut &content[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Content);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(why), "{source}");
        let mut writer = blobs.writer().unwrap();
        writer.write_all(content).unwrap();
        assert!(matches!(writer.finish("x", Some(&wanted)), Err(Error::Verify { .. })));
    }
    assert!(!blobs.contains(&wanted.digest));
    assert!(blobs.list().unwrap().is_empty());
    assert_eq!(half_made(dir.path()), 0);
}

#[test]
fn damage_on_the_disk_is_found_when_read() {
    let (_dir, blobs) = blobs();
    let digest = blobs.put_bytes("x", b"content").unwrap().digest;
    std::fs::write(blobs.path(&digest), b"c0ntent").unwrap();
    assert!(matches!(blobs.read_small(&digest, 100), Err(Error::Verify { .. })));
    std::fs::write(blobs.path(&digest), b"").unwrap();
    assert!(matches!(blobs.read_small(&digest, 100), Err(Error::Verify { .. })));
}

#[test]
fn missing_blobs_are_not_found() {
    let (_dir, blobs) = blobs();
    let descriptor = Descriptor::of("x", b"nothing");
    assert!(matches!(blobs.file(&descriptor.digest), Err(Error::NotFound { what: "blob", .. })));
    let error = blobs.open_blob(&descriptor).map(drop).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(blobs.size(&descriptor.digest).unwrap(), None);
}

#[test]
fn writers_of_the_same_blob_all_win() {
    let (dir, blobs) = blobs();
    let content = vec![7; 300_000];
    let wanted = Descriptor::of("x", &content);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| blobs.put_blob(&wanted, &mut content.as_slice()).unwrap());
        }
    });
    assert_eq!(blobs.read_small(&wanted.digest, 1 << 20).unwrap(), content);
    assert_eq!(half_made(dir.path()), 0);
}

#[test]
fn a_blob_is_read_along_with_its_writer() {
    let (dir, blobs) = blobs();
    let content: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
    let mut writer = blobs.writer().unwrap();
    writer.append(&content[..1000]).unwrap();
    let growing = writer.growing().unwrap();
    let along = |growing: GrowingBlob| {
        move || {
            let mut all = Vec::new();
            growing.open().read_to_end(&mut all).map(|_| (all, growing.whole().unwrap()))
        }
    };
    let readers = [std::thread::spawn(along(growing.clone())), std::thread::spawn(along(growing.clone()))];
    for piece in content[1000..].chunks(99_991) {
        writer.append(piece).unwrap();
    }
    let whole = writer.finish("x", None).unwrap();
    for reader in readers {
        assert_eq!(reader.join().unwrap().unwrap(), (content.clone(), whole.clone()));
    }
    // Also when it is in its place already.
    assert_eq!(along(growing)().unwrap().0, content);
    assert_eq!(half_made(dir.path()), 0);
}

#[test]
fn a_writer_that_fails_and_readers_that_go_away_tell_each_other() {
    let (dir, blobs) = blobs();
    let mut writer = blobs.writer().unwrap();
    let growing = writer.growing().unwrap();
    writer.append(b"some").unwrap();
    drop(writer);
    let mut read = Vec::new();
    assert_eq!(growing.open().read_to_end(&mut read).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((read, growing.whole().is_err()), (b"some".to_vec(), true));
    let mut writer = blobs.writer().unwrap();
    writer.growing().unwrap().abandon();
    assert!(writer.append(b"more").is_err());
    drop((writer, growing));
    assert_eq!(half_made(dir.path()), 0);
}
