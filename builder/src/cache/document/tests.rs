use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn blob(text: &str) -> Descriptor {
    let mut blob = Descriptor::of(media_type::OCI_LAYER_GZIP, text.as_bytes());
    blob.annotations.insert(UNCOMPRESSED.to_owned(), digest(&format!("{text} unpacked")).to_string());
    blob
}

fn layer(text: &str, parent: Option<usize>) -> Layer {
    let blob = Descriptor { annotations: Default::default(), ..blob(text) };
    Layer { blob, diff_id: digest(&format!("{text} unpacked")), parent }
}

fn record(key: &str, made: Made, used: i64) -> Record {
    Record { key: digest(key), made, created: 1_700_000_000_123, used }
}

fn sample() -> Document {
    Document {
        layers: vec![layer("one", None), layer("two", Some(0))],
        records: vec![
            record("a", Made::Layer(0), 5),
            record("b", Made::Layer(1), 6),
            record("c", Made::Nothing, 7),
            record("d", Made::Absent(digest("elsewhere")), 8),
        ],
        ours: true,
    }
}

/// The layers that a written document names.
fn layers_of(written: &Written) -> Vec<Descriptor> {
    let manifest: json::Manifest = serde_json::from_slice(&written.manifest).unwrap();
    manifest.layers.into_iter().chain(manifest.manifests).flatten().collect()
}

#[test]
fn what_is_written_is_read_in_both_forms() {
    for image_manifest in [true, false] {
        let written = sample().write(image_manifest);
        assert_eq!(Document::parse(&written.config, &layers_of(&written)), Ok(sample()));
        let manifest: json::Manifest = serde_json::from_slice(&written.manifest).unwrap();
        let config = match image_manifest {
            true => manifest.config.unwrap(),
            false => manifest.manifests.iter().flatten().next_back().unwrap().clone(),
        };
        assert_eq!((config.media_type.as_str(), config.digest), (CONFIG, Digest::of(&written.config)));
        for descriptor in layers_of(&written).iter().filter(|d| d.media_type != CONFIG) {
            assert!(descriptor.annotations.contains_key(UNCOMPRESSED), "{descriptor:?}");
            assert_eq!(descriptor.annotations[CREATED], "2023-11-14T22:13:20.123Z");
        }
    }
}

/// BuildKit reads each list by the names of its own description, and refuses a document whose layers go round in a
/// circle, lead outside the list, or are missing among the descriptors.
#[test]
fn what_is_written_is_what_buildkit_reads() {
    let written = sample().write(true);
    let config: serde_json::Value = serde_json::from_slice(&written.config).unwrap();
    let named = layers_of(&written);
    let layers = config["layers"].as_array().unwrap();
    for (place, layer) in layers.iter().enumerate() {
        assert!(named.iter().any(|d| d.digest.to_string() == layer["blob"]), "{layer}");
        let parent = layer["parent"].as_i64().unwrap();
        assert!(parent == -1 || (0..place as i64).contains(&parent), "{layer}");
    }
    for record in config["records"].as_array().unwrap() {
        assert!(record["digest"].as_str().unwrap().starts_with("sha256:"));
        for made in record["layers"].as_array().into_iter().flatten() {
            assert!((0..layers.len() as i64).contains(&made["layer"].as_i64().unwrap()));
            assert!(made["createdAt"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        }
    }
    assert!(written.config.len() < 1 << 20);
}

/// A document as the description in BuildKit's package has it.
fn buildkits() -> (String, Vec<Descriptor>) {
    let (one, two) = (blob("one"), blob("two"));
    let config = format!(
        r#"{{
          "layers": [
            {{"blob": "{}", "parent": -1}},
            {{"blob": "{}", "annotations": {{"mediaType": "x", "diffID": "{}", "size": 3,
              "createdAt": "2024-01-02T03:04:05.678901234Z"}}}}
          ],
          "records": [
            {{"digest": "{}"}},
            {{"digest": "{}", "output": 1, "layers": [{{"createdAt": "2024-01-02T03:04:05.678901234+02:00", "layer": 1}}],
              "inputs": [[{{"selector": "sel", "link": 0}}, {{"link": 1}}], null]}},
            {{"digest": "{}", "chains": [{{"layers": [0, 1], "createdAt": "2024-01-02T03:04:05Z"}}]}},
            {{"digest": "{}", "layers": [{{"createdAt": "0001-01-01T00:00:00Z"}}]}},
            {{"digest": "random:abc", "layers": [{{"layer": 0, "createdAt": "2024-01-02T03:04:05Z"}}]}}
          ]
        }}"#,
        one.digest,
        two.digest,
        digest("two unpacked"),
        digest("k0"),
        digest("k1"),
        digest("k2"),
        digest("k3"),
    );
    (config, vec![one, two])
}

#[test]
fn buildkits_document_is_read_and_is_not_ours() {
    let (config, layers) = buildkits();
    let read = Document::parse(config.as_bytes(), &layers).unwrap();
    assert!(!read.ours);
    assert_eq!(read.layers, [layer("one", None), layer("two", Some(0))], "a parent that is left out is 0");
    let [record] = read.records.as_slice() else { panic!("{read:?}") };
    assert_eq!((record.key, record.made), (digest("k1"), Made::Layer(1)));
    assert_eq!(record.created, 1_704_157_445_678, "of another zone, to the millisecond");
}

#[test]
fn an_inline_cache_is_of_the_images_own_layers() {
    let (layers, diff_ids) = ([blob("one"), blob("two")], [digest("one unpacked"), digest("two unpacked")]);
    let records = serde_json::to_vec(&sample().json_records(false)).unwrap();
    let read = Document::inline(&records, &diff_ids, &layers).unwrap();
    let mut expected = Document { ours: false, ..sample() };
    expected.records.iter_mut().for_each(|record| record.used = 0);
    assert_eq!(read, expected);
    assert!(Document::inline(&records, &diff_ids[..1], &layers).is_err());
    assert_eq!(Document::inline(b"[]", &[], &[]), Ok(Document::default()));
}

#[test]
fn what_cannot_be_meant_is_passed_over() {
    let (one, bad) = (blob("one"), Digest::of(b"bad"));
    let read = |layers: &str, records: &str, descriptors: &[Descriptor]| {
        let config = format!(r#"{{"layers":[{layers}],"records":[{records}]}}"#);
        Document::parse(config.as_bytes(), descriptors).unwrap()
    };
    let good = format!(r#"{{"blob":"{}","parent":-1}}"#, one.digest);
    let made = |layer: &str| {
        format!(r#"{{"digest":"{bad}","layers":[{{"layer":{layer},"createdAt":"2024-01-02T03:04:05Z"}}]}}"#)
    };
    assert_eq!(read(&good, &made("0"), std::slice::from_ref(&one)).records.len(), 1);
    for layer in ["1", "-1", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(read(&good, &made(layer), std::slice::from_ref(&one)).records, [], "{layer}");
    }
    // Layers that lead to each other, to themselves, and far away.
    for parents in [[1, 0], [0, 1], [7, -7], [i64::MAX, i64::MIN]] {
        let two = blob("two");
        let layers = format!(
            r#"{{"blob":"{}","parent":{}}},{{"blob":"{}","parent":{}}}"#,
            one.digest, parents[0], two.digest, parents[1]
        );
        let read = read(&layers, &made("1"), &[one.clone(), two]);
        for (place, layer) in read.layers.iter().enumerate() {
            assert!(layer.parent.is_none_or(|parent| parent < place), "{parents:?}: {read:?}");
        }
        read.with(&read, 0).write(true);
    }
    // Layers that are none, or none that a registry keeps.
    let with = |change: &dyn Fn(&mut Descriptor)| {
        let mut changed = one.clone();
        change(&mut changed);
        read(&good, &made("0"), &[changed]).records.len()
    };
    assert_eq!(with(&|_| ()), 1);
    assert_eq!(with(&|d| d.media_type = media_type::DOCKER_LAYER_GZIP.to_owned()), 1);
    assert_eq!(with(&|d| d.media_type = "text/plain".to_owned()), 0);
    assert_eq!(with(&|d| d.media_type = media_type::OCI_FOREIGN_LAYER_GZIP.to_owned()), 0);
    assert_eq!(with(&|d| d.size = u64::MAX), 0);
    assert_eq!(with(&|d| d.annotations.clear()), 0);
    assert_eq!(with(&|d| drop(d.annotations.insert(UNCOMPRESSED.to_owned(), "sha256:xyz".to_owned()))), 0);
    let mut elsewhere = one.clone();
    elsewhere.urls = vec!["http://169.254.169.254/".to_owned()];
    assert!(read(&good, &made("0"), &[elsewhere]).layers[0].blob.urls.is_empty());
    // Times that are none.
    for time in ["", "yesterday", "1969-12-31T23:59:59Z", "99999-01-01T00:00:00Z"] {
        let record = made("0").replace("2024-01-02T03:04:05Z", time);
        assert_eq!(read(&good, &record, std::slice::from_ref(&one)).records, [], "{time}");
    }
}

#[test]
fn lists_without_end_are_refused() {
    let many = |item: &str, count: usize| vec![item; count].join(",");
    for (layers, records, fits) in
        [(MANY, 0, true), (0, MANY, true), (MANY + 1, 0, false), (0, MANY + 1, false)]
    {
        let config = format!(r#"{{"layers":[{}],"records":[{}]}}"#, many("{}", layers), many("{}", records));
        assert_eq!(Document::parse(config.as_bytes(), &[]).is_ok(), fits, "{layers} {records}");
    }
    assert!(Document::parse(br#"{"layers":null,"records":null}"#, &[]).is_ok());
    let deep = "[".repeat(100_000);
    assert!(Document::parse(deep.as_bytes(), &[]).is_err());
}

const MANY: usize = json::MOST;

/// Whatever is done to a document, it is read or refused, and what is made of it has every promise of ours.
#[test]
fn a_damaged_document_is_read_or_refused() {
    let written = sample().write(true);
    let ours = (written.config.clone(), layers_of(&written));
    let (config, layers) = buildkits();
    for (config, layers) in [ours, (config.into_bytes(), layers)] {
        // Of each place some changes, of all places all of them.
        let bytes = [b'0', b'9', b'-', b'"', b'{', b']', b',', b'e', 0xff];
        for at in 0..config.len() {
            let mut changed = config.clone();
            changed[at] = bytes[at % bytes.len()];
            check(&changed, &layers);
            if at % 7 == 0 {
                check(&config[..at], &layers);
            }
        }
    }
}

fn check(config: &[u8], layers: &[Descriptor]) {
    let Ok(read) = Document::parse(config, layers) else { return };
    for (place, layer) in read.layers.iter().enumerate() {
        assert!(layer.parent.is_none_or(|parent| parent < place));
    }
    for record in &read.records {
        assert!(!matches!(record.made, Made::Layer(at) if at >= read.layers.len()));
        assert!(record.created >= 0);
    }
    let merged = sample().with(&read, 8);
    let written = merged.write(true);
    assert_eq!(Document::parse(&written.config, &layers_of(&written)), Ok(merged));
}

#[test]
fn what_others_wrote_stays_for_a_while() {
    let (ours, now) = (sample(), 100 * DAY);
    let theirs = Document {
        layers: vec![layer("zero", None), layer("one", Some(0)), layer("three", Some(1))],
        records: vec![
            record("x", Made::Layer(2), now - DAY),
            record("y", Made::Layer(0), now - KEPT),
            record("z", Made::Nothing, now - KEPT + 10),
            record("a", Made::Layer(0), now - 3),
            record("d", Made::Nothing, now - 3),
        ],
        ours: true,
    };
    let merged = ours.with(&theirs, now);
    let made = |key: &str| {
        let record = merged.records.iter().find(|record| record.key == digest(key))?;
        Some((merged.diff_id(record), record.used))
    };
    assert_eq!(made("a"), Some((Some(digest("one unpacked")), now - 3)), "ours, and a use of today");
    assert_eq!(made("b"), Some((Some(digest("two unpacked")), now)));
    assert_eq!(made("d"), Some((Some(digest("elsewhere")), now - 3)), "ours, though its layer is not here");
    assert_eq!(made("x"), Some((Some(digest("three unpacked")), now - DAY)));
    assert_eq!(made("y"), None, "nobody has used it");
    assert_eq!(made("z"), Some((None, now - KEPT + 10)));
    let chain = |key: &str| {
        let record = merged.records.iter().find(|record| record.key == digest(key)).unwrap();
        let Made::Layer(mut at) = record.made else { panic!("{record:?}") };
        let mut chain = vec![merged.layers[at].diff_id];
        while let Some(parent) = merged.layers[at].parent {
            chain.push(merged.layers[parent].diff_id);
            at = parent;
        }
        chain
    };
    assert_eq!(chain("x"), ["three", "one", "zero"].map(|name| digest(&format!("{name} unpacked"))));
    assert_eq!(chain("a"), [digest("one unpacked")], "the same layer over another is another");
    // The same again, in whatever order, is the same document.
    let mut turned = ours.clone();
    turned.records.reverse();
    let again = turned.with(&merged, now + 5);
    assert!(again.write(true).manifest == merged.write(true).manifest);
    assert!(ours.with(&merged, now + 2 * DAY).write(true).manifest != merged.write(true).manifest);
}

#[test]
fn a_layer_that_others_have_is_named_where_ours_is_absent() {
    let ours = Document {
        records: vec![record("d", Made::Absent(digest("one unpacked")), 0)],
        ..Document::default()
    };
    let theirs = Document {
        layers: vec![layer("one", None)],
        records: vec![record("d", Made::Layer(0), 0)],
        ours: true,
    };
    assert_eq!(ours.with(&theirs, 1).records[0].made, Made::Layer(0));
}

#[test]
fn no_more_is_written_than_buildkit_reads() {
    let many = |name: &str, used: i64| Document {
        layers: (0..MOST_WRITTEN).map(|n| layer(&format!("{name} {n}"), None)).collect(),
        records: (0..MOST_WRITTEN).map(|n| record(&format!("{name} {n}"), Made::Layer(n), used)).collect(),
        ours: true,
    };
    let merged = many("new", 0).with(&many("old", 9), 10);
    assert_eq!(merged.records.len(), MOST_WRITTEN);
    let new = many("new", 0);
    assert!(new.records.iter().all(|ours| merged.records.iter().any(|record| record.key == ours.key)));
    let written = merged.write(true);
    assert!(written.config.len() < 1 << 20, "{}", written.config.len());
    assert!(written.manifest.len() < 1 << 20, "{}", written.manifest.len());
}
