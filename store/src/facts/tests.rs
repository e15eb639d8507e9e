use super::*;

fn count(facts: &Facts) -> i64 {
    facts.read("count", |c| c.query_row("SELECT count(*) FROM sources", [], |r| r.get(0))).unwrap()
}

fn put(facts: &Facts, n: u32) {
    let digest = Digest::of(&n.to_le_bytes()).to_string();
    facts
        .write("put", |tx| tx.execute("INSERT INTO sources VALUES (?, 'r', 1)", [digest]).map(drop))
        .unwrap();
}

#[test]
fn many_writers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("facts.sqlite");
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let path = &path;
            scope.spawn(move || {
                let facts = Facts::open(path).unwrap();
                for n in 0..50 {
                    put(&facts, thread * 1000 + n);
                }
            });
        }
    });
    assert_eq!(count(&Facts::open(&path).unwrap()), 200);
}

#[test]
fn a_failed_write_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let facts = Facts::open(&dir.path().join("f")).unwrap();
    let result = facts.write("put", |tx| {
        tx.execute("INSERT INTO sources VALUES ('x', 'r', 1)", [])?;
        tx.execute("INSERT INTO nothing VALUES (1)", [])
    });
    assert!(result.unwrap_err().to_string().starts_with("cannot put in"));
    assert_eq!(count(&facts), 0);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("facts.sqlite");
    std::fs::write(&path, vec![b'x'; 5000]).unwrap();
    let facts = Facts::open(&path).unwrap();
    let aside = facts.set_aside().unwrap().to_owned();
    assert_eq!(std::fs::read(aside).unwrap(), vec![b'x'; 5000]);
    put(&facts, 1);
    assert!(facts.check().unwrap());
    assert_eq!(count(&Facts::open(&path).unwrap()), 1);
}

#[test]
fn an_unknown_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("facts.sqlite");
    drop(Facts::open(&path).unwrap());
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let error = Facts::open(&path).unwrap_err();
    assert!(matches!(error, Error::UnknownFormat { .. }), "{error}");
    assert!(error.to_string().contains("version 99"), "{error}");
    assert!(error.hint().is_some());
}
