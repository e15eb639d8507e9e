use super::*;
use crate::session::Session;
use crate::work::Work;

struct Bench {
    facts: Facts,
    session: Session,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = Work::open(&dir.path().join("work")).unwrap();
        let session = Session::new(work, dir.path().join("gc.lock"));
        Self { facts: Facts::open(&dir.path().join("facts")).unwrap(), session, _dir: dir }
    }

    fn steps(&self) -> Steps<'_> {
        Steps { facts: &self.facts, session: &self.session }
    }
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn record(scope: &str, created: i64, parts: &[KeyPart]) -> StepRecord {
    StepRecord {
        key: StepKey::of(parts),
        parts: parts.to_vec(),
        scope: scope.into(),
        description: "RUN make".into(),
        parent: digest("parent"),
        layer: Some(digest("layer")),
        created,
        duration: 7,
    }
}

#[test]
fn keys_tell_lists_apart() {
    let part = KeyPart::new;
    let lists = [
        vec![],
        vec![part("", "", "")],
        vec![part("a", "b", "c")],
        vec![part("ab", "", "c")],
        vec![part("a", "b", "c"), part("", "", "")],
        vec![part("x", "", ""), part("y", "", "")],
        vec![part("y", "", ""), part("x", "", "")],
    ];
    let keys: std::collections::BTreeSet<_> = lists.iter().map(StepKey::of).collect();
    assert_eq!(keys.len(), lists.len());
}

#[test]
fn records_come_back_and_hold_their_layer() {
    let bench = Bench::new();
    let record = record("app", 5, &[KeyPart::new("instruction", "", "make")]);
    assert_eq!(bench.steps().lookup(&record.key).unwrap(), None);
    bench.steps().put(&record).unwrap();
    let result = StepResult { layer: record.layer, created: 5 };
    assert_eq!(bench.steps().lookup(&record.key).unwrap(), Some(result));
    let uses = std::fs::read_to_string(bench.session.dir().unwrap().join(crate::session::USES)).unwrap();
    assert!(uses.contains(&digest("layer").to_string()) && uses.contains(&record.chain().to_string()));
    bench.steps().forget(&record.key).unwrap();
    assert_eq!(bench.steps().lookup(&record.key).unwrap(), None);
}

#[test]
fn explain_compares_with_the_record_that_differs_least() {
    let bench = Bench::new();
    let parts = |arg: &str, file: &str| vec![KeyPart::new("arg", "A", arg), KeyPart::new("file", "f", file)];
    let near = record("app", 1, &parts("1", "old"));
    bench.steps().put(&near).unwrap();
    bench.steps().put(&record("app", 2, &parts("2", "other"))).unwrap();
    bench.steps().put(&record("else", 3, &parts("1", "new"))).unwrap();
    let now = parts("1", "new");
    assert_eq!(bench.steps().nearest("app", &now).unwrap().unwrap(), near);
    bench.steps().put(&record("app", 9, &now)).unwrap();
    assert_eq!(bench.steps().nearest("app", &now).unwrap().unwrap(), near, "not with itself");
    assert_eq!(bench.steps().nearest("none", &now).unwrap(), None);
}

fn count(bench: &Bench, table: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table}");
    bench.facts.read("count", |c| c.query_row(&query, [], |r| r.get(0))).unwrap()
}

#[test]
fn a_scope_keeps_a_bounded_number_of_records() {
    let bench = Bench::new();
    let key = |n: i64| StepKey::of(&[KeyPart::new("n", "", n.to_string())]);
    for n in 0..300 {
        bench.steps().put(&record("s", n, &[KeyPart::new("n", "", n.to_string())])).unwrap();
    }
    bench.steps().put(&record("other", 1, &[])).unwrap();
    assert_eq!(count(&bench, "steps"), 301, "a stage may have many steps");
    bench.facts.write("make room", |tx| trim(tx, "s", 100, 20)).unwrap();
    assert_eq!((count(&bench, "steps"), count(&bench, "parts")), (101, 21));
    assert!(bench.steps().lookup(&key(299)).unwrap().is_some());
    assert!(bench.steps().lookup(&key(100)).unwrap().is_none());
    assert_eq!(bench.steps().nearest("s", &[]).unwrap().unwrap().created, 299);
}

#[test]
fn the_same_content_over_the_same_parent_is_the_same_result() {
    let bench = Bench::new();
    let (parent, content, layer) = (digest("p"), digest("c"), digest("l"));
    assert_eq!(bench.steps().content_result(&parent, &content).unwrap(), None);
    bench.steps().put_content_result(&parent, &content, &layer, 7).unwrap();
    assert_eq!(bench.steps().content_result(&parent, &content).unwrap(), Some((layer, 7)));
    assert_eq!(bench.steps().content_result(&content, &parent).unwrap(), None);
}

#[test]
fn the_chain_after_a_step() {
    let on_nothing = StepRecord { parent: chain_id(&[]), ..record("s", 1, &[]) };
    assert_eq!(on_nothing.chain(), chain_id(&[digest("layer")]));
    let on_base = StepRecord { parent: chain_id(&[digest("base")]), ..record("s", 1, &[]) };
    assert_eq!(on_base.chain(), chain_id(&[digest("base"), digest("layer")]));
    let nothing_changed = StepRecord { layer: None, ..on_base.clone() };
    assert_eq!(nothing_changed.chain(), on_base.parent);
}

#[test]
fn what_a_layer_was_made_of_is_found_by_it() {
    let bench = Bench::new();
    let (parent, other, layer) = (digest("parent"), digest("other"), digest("layer"));
    bench.steps().put_content_result(&parent, &digest("content"), &layer, 5).unwrap();
    assert_eq!(bench.steps().content_of(&parent, &layer).unwrap(), Some(digest("content")));
    assert_eq!(
        bench.steps().content_of(&other, &layer).unwrap(),
        None,
        "over something else it is another step's"
    );
    assert_eq!(bench.steps().content_of(&parent, &digest("content")).unwrap(), None);
    assert_ne!(StepKey::of_result(&parent, &layer), StepKey::of_result(&layer, &parent));
}

#[test]
fn records_of_the_first_days_are_read() {
    let bench = Bench::new();
    let parts = [KeyPart::new("file", "f", "x"), KeyPart::new("file", "g", "y")];
    let record = record("app", 5, &parts);
    bench.steps().put(&record).unwrap();
    bench
        .facts
        .write("make it old", |tx| {
            tx.execute("DELETE FROM parts", ())?;
            tx.execute("UPDATE steps SET parts = ?", [serde_json::to_string(&parts).unwrap()]).map(drop)
        })
        .unwrap();
    assert!(bench.steps().lookup(&record.key).unwrap().is_some());
    assert_eq!(bench.steps().nearest("app", &[]).unwrap(), Some(record));
}

#[test]
fn parts_go_with_their_record() {
    let bench = Bench::new();
    for n in 0..3 {
        bench.steps().put(&record("s", n, &[KeyPart::new("n", "", n.to_string())])).unwrap();
    }
    bench.steps().forget(&StepKey::of(&[KeyPart::new("n", "", "1")])).unwrap();
    assert_eq!((count(&bench, "steps"), count(&bench, "parts")), (2, 2));
}

#[test]
fn many_parts_are_kept_in_pieces() {
    let bench = Bench::new();
    let many = |seed: &str| -> Vec<KeyPart> {
        let part = |n: u32| KeyPart::new("file", n.to_string(), digest(&format!("{seed}{n}")).to_string());
        (0..40_000).map(part).collect()
    };
    let (one, other) = (record("app", 1, &many("one")), record("app", 2, &many("other")));
    bench.steps().put(&one).unwrap();
    let pieces = count(&bench, "parts");
    assert!(pieces > 2, "{pieces}");
    assert_eq!(bench.steps().nearest("app", &[]).unwrap().as_ref(), Some(&one));
    // In the place of the same.
    bench.steps().put(&one).unwrap();
    assert_eq!(count(&bench, "parts"), pieces);
    bench.steps().put(&other).unwrap();
    let mut near = one.parts.clone();
    near[7].value.clear();
    assert_eq!(bench.steps().nearest("app", &near).unwrap().as_ref(), Some(&one));
    // A record whose parts are gone cannot be compared with; those of another stay.
    bench.facts.write("trim", |tx| trim(tx, "app", 2, 1)).unwrap();
    assert_eq!(bench.steps().nearest("app", &near).unwrap().as_ref(), Some(&other));
    bench.steps().forget(&other.key).unwrap();
    assert_eq!((count(&bench, "steps"), count(&bench, "parts")), (1, 0));
}
