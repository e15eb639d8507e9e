//! Uploads to a registry that misbehaves.

use std::io::{self, Read};

use crate::{client, config, fake, layer, noise, push, repo, watched};
use orlop_registry_client::fake::{FakeConfig, FakeRegistry, Fault};
use orlop_registry_client::{Client, Error, PushOutcome, TagOrDigest};
use orlop_store::{Digest, media_type};

fn refused(registry: &FakeRegistry) -> Vec<u16> {
    registry.log().iter().map(|l| l.status).filter(|s| matches!(s, 400 | 416)).collect()
}

#[test]
fn one_put_and_nothing_when_it_is_there() {
    let registry = fake(FakeConfig::default());
    let (client, repo, bytes) = (client(), repo(&registry, "a/b"), noise(3_000_000));
    assert_eq!(push(&client, &repo, &bytes, &[]).unwrap(), PushOutcome::Uploaded);
    assert_eq!(registry.blob("a/b", Digest::of(&bytes)).unwrap(), bytes);
    let put = registry.logged("PUT", "/blobs/");
    assert_eq!((put.len(), put[0].body), (1, 3_000_000));
    assert_eq!(put[0].header("content-length"), Some("3000000"));
    assert!(
        put[0].target.contains("_state=") && put[0].target.contains("&digest=sha256"),
        "{}",
        put[0].target
    );
    assert_eq!(push(&client, &repo, &bytes, &[]).unwrap(), PushOutcome::Existed);
    assert_eq!(registry.logged("POST", "").len(), 1);
    assert!(client.has_blob(&repo, Digest::of(&bytes)).unwrap());
    assert!(!client.has_blob(&repo, Digest::of(b"no")).unwrap());
    assert_eq!(push(&client, &repo, b"", &[]).unwrap(), PushOutcome::Uploaded);
    assert_eq!(refused(&registry), [0; 0]);
}

#[test]
fn mounts_and_their_refusal() {
    let bytes = noise(1000);
    for (answer, outcome, posts) in [
        (201, PushOutcome::Mounted, 1),
        // The session that came with the refusal is used.
        (202, PushOutcome::Uploaded, 1),
        (404, PushOutcome::Uploaded, 2),
        (405, PushOutcome::Uploaded, 2),
        (401, PushOutcome::Uploaded, 2),
    ] {
        let registry = fake(FakeConfig { mount: answer, ..FakeConfig::default() });
        registry.put_blob("base", &bytes);
        assert_eq!(push(&client(), &repo(&registry, "out"), &bytes, &["base"]).unwrap(), outcome, "{answer}");
        assert_eq!(registry.logged("POST", "").len(), posts, "{answer}");
        assert_eq!(registry.blob("out", Digest::of(&bytes)).unwrap(), bytes);
    }
    // Of several, the one that has it; the sessions of the others are given back.
    let registry = fake(FakeConfig::default());
    registry.put_blob("two", &bytes);
    let outcome = push(&client(), &repo(&registry, "out"), &bytes, &["out", "one", "two"]).unwrap();
    assert_eq!(outcome, PushOutcome::Mounted);
    assert_eq!(registry.logged("DELETE", "/uploads/").len(), 1);
}

#[test]
fn a_registry_that_refuses_the_whole_gets_chunks() {
    let bytes = noise(40_000_000);
    for status in [400, 404, 405, 411, 413, 501] {
        let registry = fake(FakeConfig { refuse_whole: Some(status), ..FakeConfig::default() });
        assert_eq!(
            push(&client(), &repo(&registry, "x"), &bytes, &[]).unwrap(),
            PushOutcome::Uploaded,
            "{status}"
        );
        assert_eq!(registry.blob("x", Digest::of(&bytes)).unwrap(), bytes);
        let patches = registry.logged("PATCH", "");
        assert_eq!(patches.len(), 3, "{status}");
        assert_eq!(patches[0].header("content-range"), Some("0-16777215"));
        assert_eq!(patches[2].header("content-range"), Some("33554432-39999999"));
    }
}

#[test]
fn chunks_as_large_and_as_small_as_the_registry_wants() {
    let bytes = noise(45_000_000);
    let registry =
        fake(FakeConfig { refuse_whole: Some(405), min_chunk: 20_000_000, ..FakeConfig::default() });
    push(&client(), &repo(&registry, "x"), &bytes, &[]).unwrap();
    let sizes: Vec<u64> = registry.logged("PATCH", "").iter().map(|l| l.body).collect();
    assert_eq!(sizes, [20_000_000, 20_000_000, 5_000_000]);
    let registry = fake(FakeConfig { max_body: Some(5_000_000), ..FakeConfig::default() });
    push(&client(), &repo(&registry, "x"), &bytes, &[]).unwrap();
    assert_eq!(registry.blob("x", Digest::of(&bytes)).unwrap(), bytes);
    let registry = fake(FakeConfig { max_body: Some(1), ..FakeConfig::default() });
    let e = push(&client(), &repo(&registry, "x"), &bytes[..100_000], &[]).unwrap_err();
    assert_eq!(e.status(), Some(413));
}

#[test]
fn broken_uploads_end_well() {
    let bytes = noise(5_000_000);
    for (name, faults, patches) in [
        ("cut and forgotten", vec![("PUT", Fault::CutUpload(1_000_000, false))], 0),
        ("cut and kept", vec![("PUT", Fault::CutUpload(1_000_000, true))], 1),
        (
            "cut again and again",
            vec![("PUT", Fault::CutUpload(1_000_000, true)), ("PATCH", Fault::CutUpload(2_000_000, true))],
            2,
        ),
        ("closed before", vec![("PUT", Fault::Close), ("PUT", Fault::Close)], 0),
        ("taken, answer lost", vec![("PUT", Fault::Forget)], 0),
        ("bad gateway", vec![("PUT", Fault::Status(502, "BAD", vec![]))], 0),
        ("session refused once", vec![("POST", Fault::Status(503, "UNAVAILABLE", vec![]))], 0),
        ("session lost", vec![("PUT", Fault::Status(404, "BLOB_UPLOAD_UNKNOWN", vec![]))], 0),
        ("damaged once", vec![("PUT", Fault::Status(400, "DIGEST_INVALID", vec![]))], 0),
        ("existence unknown", vec![("HEAD", Fault::Status(403, "DENIED", vec![]))], 0),
        ("no answer to HEAD", vec![("HEAD", Fault::Close)], 0),
        (
            "status not told",
            vec![
                ("PUT", Fault::CutUpload(9, true)),
                ("GET", Fault::Status(404, "BLOB_UPLOAD_UNKNOWN", vec![])),
            ],
            0,
        ),
    ] {
        let registry = fake(FakeConfig::default());
        for (method, fault) in faults {
            registry.fault(method, "/blobs/", 0, 1, fault);
        }
        let outcome = push(&client(), &repo(&registry, "x"), &bytes, &[]);
        assert_eq!(outcome.unwrap_or_else(|e| panic!("{name}: {e}")), PushOutcome::Uploaded, "{name}");
        assert_eq!(registry.blob("x", Digest::of(&bytes)).unwrap(), bytes, "{name}");
        assert_eq!(registry.logged("PATCH", "").len(), patches, "{name}: {:#?}", registry.log());
        let log = registry.log();
        let bad: Vec<_> = log.iter().filter(|l| l.status == 416).collect();
        assert!(bad.is_empty(), "{name}: {bad:?}");
    }
}

#[test]
fn uploads_that_cannot_end_well_say_why() {
    let bytes = noise(100_000);
    for (name, method, fault, status) in [
        ("denied", "PUT", Fault::Status(403, "DENIED", vec![]), 403),
        ("down", "PUT", Fault::Status(503, "UNAVAILABLE", vec![]), 503),
        ("damaged", "PUT", Fault::Status(400, "DIGEST_INVALID", vec![]), 400),
        ("unknown name", "POST", Fault::Status(404, "NAME_UNKNOWN", vec![]), 404),
        ("no session lives", "PUT", Fault::Status(404, "BLOB_UPLOAD_UNKNOWN", vec![]), 404),
    ] {
        let registry = fake(FakeConfig::default());
        registry.fault(method, "/blobs/", 0, 999, fault);
        let e = push(&client(), &repo(&registry, "x"), &bytes, &[]).expect_err(name);
        assert_eq!(e.status(), Some(status), "{name}: {e}");
        assert!(e.to_string().contains("/v2/x/blobs/uploads/") && !e.to_string().contains("_state"), "{e}");
    }
}

#[test]
fn a_location_on_another_host_gets_the_bytes_and_no_login() {
    use orlop_registry_client::Credential;
    use orlop_registry_client::fake::FakeAuth;
    let auth = FakeAuth::Basic("u".into(), "hunter2".into());
    let registry = fake(FakeConfig { auth, ..FakeConfig::default() });
    let elsewhere = fake(FakeConfig::default());
    let to = format!("http://{}/v2/x/blobs/uploads/1?sig=s3cret", elsewhere.host());
    registry.fault("POST", "", 1, 1, Fault::Header("Location", to));
    elsewhere.fault("PUT", "", 0, 9, Fault::Status(403, "DENIED", vec![]));
    let mut config = config();
    config
        .credentials
        .add(&registry.host(), Credential::Basic { user: "u".into(), password: "hunter2".into() });
    let (client, _) = watched(config);
    // The first POST is a plain push, so that the fault comes with the second.
    push(&client, &repo(&registry, "x"), b"first", &[]).unwrap();
    let e = push(&client, &repo(&registry, "x"), b"second", &[]).unwrap_err().to_string();
    assert!(e.contains(&elsewhere.host()) && !e.contains("s3cret"), "{e}");
    let put = elsewhere.logged("PUT", "sig=s3cret");
    assert_eq!(put.len(), 1);
    assert!(put[0].header("authorization").is_none());
}

#[test]
fn sources_that_are_not_what_they_should_be() {
    let registry = fake(FakeConfig::default());
    let (client, repo, bytes) = (client(), repo(&registry, "x"), noise(1_000_000));
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    type Made = Box<dyn Fn() -> Box<dyn Read + Send>>;
    let longer = [bytes.clone(), vec![1]].concat();
    let shorter = bytes[..999_999].to_vec();
    let sources: [(Made, &str); 3] = [
        (Box::new(move || Box::new(io::Cursor::new(longer.clone()))), "longer than"),
        (Box::new(move || Box::new(io::Cursor::new(shorter.clone()))), "ended after 999999 of 1000000"),
        (Box::new(|| Box::new(Fails)), "the disk is gone"),
    ];
    for (source, says) in sources {
        let e = client.push_blob(&repo, &layer(&bytes), &|| Ok(source()), &[], &|_| {}).unwrap_err();
        let Error::Source { source, .. } = &e else { panic!("{e:?}") };
        assert!(source.to_string().contains(says), "{source}");
    }
    let other = noise(999_999);
    let other = [&other[..], b"x"].concat();
    let source = || Ok(Box::new(io::Cursor::new(other.clone())) as Box<dyn Read + Send>);
    let e = client.push_blob(&repo, &layer(&bytes), &source, &[], &|_| {}).unwrap_err();
    assert_eq!(e.code(), Some("DIGEST_INVALID"), "{e}");
    assert!(registry.blob("x", Digest::of(&bytes)).is_none());
}

#[test]
fn manifests_tags_referrers_deletion() {
    let registry = fake(FakeConfig::default());
    let (client, repo) = (client(), repo(&registry, "x"));
    let image = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    for tag in ["a", "b", "c", "d", "e"] {
        registry.fault("PUT", "/manifests/", 0, 1, Fault::Forget);
        let which = TagOrDigest::Tag(tag.to_owned());
        let digest = client.push_manifest(&repo, &which, media_type::OCI_MANIFEST, image).unwrap();
        assert_eq!(registry.tag("x", tag), Some(digest));
    }
    assert_eq!(client.tags(&repo).unwrap(), ["a", "b", "c", "d", "e"]);
    let digest = Digest::of(image);
    assert!(client.push_manifest(&repo, &Digest::of(b"?").into(), media_type::OCI_MANIFEST, image).is_err());
    let about = format!(
        r#"{{"schemaVersion":2,"artifactType":"application/x.sbom","config":{{}},"layers":[],"subject":{{"digest":"{digest}"}}}}"#
    );
    let sbom = client.push_manifest(
        &repo,
        &Digest::of(about.as_bytes()).into(),
        media_type::OCI_MANIFEST,
        about.as_bytes(),
    );
    let found = client.referrers(&repo, digest, Some("application/x.sbom")).unwrap();
    assert_eq!(found.iter().map(|d| d.digest).collect::<Vec<_>>(), [sbom.unwrap()]);
    assert!(client.referrers(&repo, digest, Some("application/x.other")).unwrap().is_empty());
    client.delete(&repo, &digest.into()).unwrap();
    assert!(client.delete(&repo, &digest.into()).unwrap_err().is_not_found());
    assert!(client.tags(&repo).unwrap_err().is_not_found());
    let other = Digest::of(b"another").to_string();
    registry.fault("PUT", "/manifests/", 0, 9, Fault::Header("Docker-Content-Digest", other));
    let e = client
        .push_manifest(&repo, &TagOrDigest::Tag("z".into()), media_type::OCI_MANIFEST, image)
        .unwrap_err();
    assert!(matches!(e, Error::Protocol { .. }), "{e}");
}

#[test]
fn a_manifest_while_the_registry_links_a_blob_anew() {
    let (client, image) = (client(), br#"{"schemaVersion":2,"config":{},"layers":[]}"#);
    for (times, ends_well) in [(1, true), (2, false)] {
        let registry = fake(FakeConfig::default());
        let (repo, which) = (repo(&registry, "x"), TagOrDigest::Tag("a".into()));
        registry.fault("PUT", "/manifests/", 0, times, Fault::Status(400, "DIGEST_INVALID", vec![]));
        let pushed = client.push_manifest(&repo, &which, media_type::OCI_MANIFEST, image);
        assert_eq!(pushed.is_ok(), ends_well, "{times}: {pushed:?}");
        assert_eq!(registry.tag("x", "a").is_some(), ends_well, "{times}");
        assert_eq!(registry.logged("PUT", "").len(), 2, "{times}");
    }
}

#[test]
fn referrers_by_tag_where_there_is_no_api() {
    let registry = fake(FakeConfig { referrers: false, ..FakeConfig::default() });
    let (client, repo, subject) = (client(), repo(&registry, "x"), Digest::of(b"s"));
    assert!(client.referrers(&repo, subject, None).unwrap().is_empty());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{}","size":1,"artifactType":"a/b"}}]}}"#,
        media_type::OCI_MANIFEST,
        Digest::of(b"r")
    );
    let tag = format!("sha256-{}", subject.hex());
    registry.put_manifest("x", Some(&tag), media_type::OCI_INDEX, index.as_bytes());
    assert_eq!(client.referrers(&repo, subject, Some("a/b")).unwrap()[0].digest, Digest::of(b"r"));
}

/// A manifest that refers to `subject`, told from others by a word.
fn about(subject: Digest, word: &str) -> Vec<u8> {
    format!(
        r#"{{"schemaVersion":2,"artifactType":"a/{word}","config":{{}},"layers":[],"subject":{{"digest":"{subject}"}}}}"#
    )
    .into_bytes()
}

#[test]
fn the_list_of_referrers_is_kept_where_the_registry_keeps_none() {
    for etags in [true, false] {
        let registry = fake(FakeConfig { referrers: false, etags, ..FakeConfig::default() });
        let (repo, subject) = (repo(&registry, "x"), Digest::of(b"s"));
        let list = format!("/manifests/sha256-{}", subject.hex());
        let push = |word: &str, client: &Client| {
            let bytes = about(subject, word);
            let which = Digest::of(&bytes).into();
            client.push_manifest(&repo, &which, media_type::OCI_MANIFEST, &bytes).unwrap();
        };
        // All at once: clients that know nothing of each other where the registry can tell that a list changed, else
        // threads of one.
        let one = client();
        std::thread::scope(|scope| {
            for i in 0..4 {
                let (push, one) = (&push, &one);
                scope.spawn(move || {
                    let own = if etags { client() } else { one.clone() };
                    push(&format!("t{i}"), &own);
                });
            }
        });
        registry.fault("PUT", &list, 0, 1, Fault::Status(412, "PRECONDITION_FAILED", vec![]));
        let last = about(subject, "last");
        let which = Digest::of(&last).into();
        client().push_manifest(&repo, &which, media_type::OCI_MANIFEST, &last).unwrap();
        let mut kinds: Vec<_> = client()
            .referrers(&repo, subject, None)
            .unwrap()
            .into_iter()
            .filter_map(|d| d.artifact_type)
            .collect();
        kinds.sort();
        assert_eq!(kinds, ["a/last", "a/t0", "a/t1", "a/t2", "a/t3"]);
        let puts = registry.logged("PUT", &list);
        assert_eq!(puts.last().unwrap().header("if-match").is_some(), etags);
        client().delete(&repo, &which).unwrap();
        assert_eq!(client().referrers(&repo, subject, None).unwrap().len(), 4);
    }
    // What stands under the tag and is no list is not overwritten.
    let registry = fake(FakeConfig { referrers: false, ..FakeConfig::default() });
    let subject = Digest::of(b"s");
    let tag = format!("sha256-{}", subject.hex());
    registry.put_manifest("x", Some(&tag), media_type::OCI_MANIFEST, br#"{"config":{},"layers":[]}"#);
    let bytes = about(subject, "t");
    let e = client()
        .push_manifest(&repo(&registry, "x"), &Digest::of(&bytes).into(), media_type::OCI_MANIFEST, &bytes)
        .unwrap_err();
    assert!(e.to_string().contains(&tag), "{e}");
}

#[test]
fn the_last_attempt_at_a_list_counts() {
    let registry = fake(FakeConfig { referrers: false, ..FakeConfig::default() });
    let (repo, subject) = (repo(&registry, "x"), Digest::of(b"s"));
    let list = format!("/manifests/sha256-{}", subject.hex());
    let bytes = about(subject, "t");
    let push = || client().push_manifest(&repo, &Digest::of(&bytes).into(), media_type::OCI_MANIFEST, &bytes);
    registry.fault("PUT", &list, 0, 8, Fault::Status(412, "PRECONDITION_FAILED", vec![]));
    assert!(push().unwrap_err().to_string().contains("all the time"));
    assert_eq!(registry.logged("PUT", &list).len(), 8);
    registry.fault("PUT", &list, 0, 7, Fault::Status(412, "PRECONDITION_FAILED", vec![]));
    push().unwrap();
}

#[test]
fn a_list_of_referrers_is_kept_where_a_page_for_people_is_the_answer() {
    let registry = fake(FakeConfig { referrers: false, ..FakeConfig::default() });
    let (repo, subject) = (repo(&registry, "x"), Digest::of(b"s"));
    let bytes = about(subject, "t");
    let which = Digest::of(&bytes).into();
    client().push_manifest(&repo, &which, media_type::OCI_MANIFEST, &bytes).unwrap();
    let page = registry.put_blob("x", b"<html>");
    registry.fault("GET", "/referrers/", 0, 1, Fault::Redirect(302, format!("/v2/x/blobs/{page}")));
    client().delete(&repo, &which).unwrap();
    assert!(client().referrers(&repo, subject, None).unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_just_now_is_not_deleted() {
    let registry = fake(FakeConfig { referrers: false, ..FakeConfig::default() });
    let (repo, subject) = (repo(&registry, "x"), Digest::of(b"s"));
    let bytes = about(subject, "t");
    let which = Digest::of(&bytes).into();
    client().push_manifest(&repo, &which, media_type::OCI_MANIFEST, &bytes).unwrap();
    registry.fault("GET", "/manifests/sha256:", 0, 4, Fault::Status(503, "UNAVAILABLE", vec![]));
    assert_eq!(client().delete(&repo, &which).unwrap_err().status(), Some(503));
    assert!(registry.logged("DELETE", "/").is_empty());
    registry.fault("GET", "/manifests/sha256:", 0, 1, Fault::Status(503, "UNAVAILABLE", vec![]));
    client().delete(&repo, &which).unwrap();
    assert!(client().referrers(&repo, subject, None).unwrap().is_empty(), "it was tried again");
    // What is damaged has no subject to be read, and goes.
    let digest = registry.put_manifest("x", None, media_type::OCI_MANIFEST, b"{}");
    client().delete(&repo, &digest.into()).unwrap();
}

#[test]
fn nothing_is_deleted_twice() {
    let registry = fake(FakeConfig::default());
    let (repo, gone) = (repo(&registry, "x"), Digest::of(b"gone"));
    registry.put_blob("x", b"something");
    registry.fault("DELETE", "/blobs/", 0, 1, Fault::Status(429, "TOOMANYREQUESTS", vec![]));
    assert!(client().delete_blob(&repo, gone).unwrap_err().is_not_found(), "nobody has done that");
    registry.fault("DELETE", "/blobs/", 0, 1, Fault::Forget);
    client().delete_blob(&repo, Digest::of(b"something")).expect("the attempt whose answer was lost did it");
}

#[test]
fn lists_are_read_from_the_registry_itself() {
    let config_of = || FakeConfig { referrers: false, ..FakeConfig::default() };
    let (mirror, registry) = (fake(config_of()), fake(config_of()));
    let subject = Digest::of(b"s");
    let tag = format!("sha256-{}", subject.hex());
    for (at, word) in [(&mirror, "old"), (&registry, "new")] {
        let entry = serde_json::json!({"mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(word.as_bytes()), "size": 1});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        at.put_manifest("x", Some(&tag), media_type::OCI_INDEX, index.as_bytes());
    }
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        registry.host(),
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let found = Client::new(config).referrers(&repo(&registry, "x"), subject, None).unwrap();
    assert_eq!(found.iter().map(|d| d.digest).collect::<Vec<_>>(), [Digest::of(b"new")]);
    assert!(mirror.log().is_empty());
}

#[test]
fn a_registry_with_a_list_of_its_own_keeps_it() {
    let registry = fake(FakeConfig::default());
    let repo = repo(&registry, "x");
    let bytes = about(Digest::of(b"s"), "t");
    client().push_manifest(&repo, &Digest::of(&bytes).into(), media_type::OCI_MANIFEST, &bytes).unwrap();
    assert!(registry.logged("*", "sha256-").is_empty() && registry.logged("PUT", "sha256-").is_empty());
    // A page for people where an index should be.
    registry.fault("GET", "/referrers/", 0, 1, Fault::Flip(0));
    assert!(client().referrers(&repo, Digest::of(b"s"), None).unwrap().is_empty());
    assert_eq!(client().referrers(&repo, Digest::of(b"s"), None).unwrap().len(), 1);
}

#[test]
fn lists_of_registries_that_do_not_know_their_own_name() {
    let registry = fake(FakeConfig { page: 50, ..FakeConfig::default() });
    for tag in ["a", "b"] {
        registry.put_manifest("x", Some(tag), media_type::OCI_MANIFEST, br#"{"config":{},"layers":[]}"#);
    }
    let link = "<http://inner.invalid:5000/v2/x/tags/list?next_page=z>; rel=\"next\"".to_owned();
    registry.fault("GET", "/tags/list", 0, 1, Fault::Header("Link", link));
    assert_eq!(client().tags(&repo(&registry, "x")).unwrap(), ["a", "b"]);
    assert_eq!(registry.logged("GET", "next_page=z").len(), 1);
}

#[test]
fn a_list_is_whole_or_an_error() {
    let registry = fake(FakeConfig::default());
    let image = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
    for tag in ["a", "b", "c"] {
        registry.put_manifest("x", Some(tag), media_type::OCI_MANIFEST, image);
    }
    let repo = repo(&registry, "x");
    let tags = |link: &str| {
        registry.fault("GET", "/tags/list", 0, 1, Fault::Header("Link", link.to_owned()));
        client().tags(&repo)
    };
    let asked = format!("GET http://{}/v2/x/tags/list: 200 OK: ", registry.host());
    for link in ["hello", "</v2/x/tags/list?last=b", "</v2/x/tags/list?last=b>", "<http://[>; rel=next"] {
        let e = tags(link).unwrap_err().to_string();
        assert!(e.starts_with(&asked) && e.contains(&format!("`Link: {link}`")), "{e}");
    }
    let e = tags("<file:///etc/passwd>; rel=\"next\"").unwrap_err().to_string();
    assert!(e.starts_with(&asked) && e.contains("no HTTP URL"), "{e}");
    for link in ["</v2/x/tags/list?last=b>; rel=\"last next\"", "<?last=b>; title=\"a,b\"; rel=next"] {
        assert_eq!(tags(link).unwrap(), ["a", "b", "c"], "{link}");
    }
    assert_eq!(tags("</>; rel=first, </style.css>; rel=preload").unwrap(), ["a", "b"]);
    // Half of what refers to something is no list of it either.
    let digest = layer(image).digest;
    registry.fault("GET", "/referrers/", 0, 1, Fault::Header("Link", "<".to_owned()));
    let e = client().referrers(&repo, digest, None).unwrap_err().to_string();
    assert!(e.contains("`Link: <`"), "{e}");
    assert!(client().referrers(&repo, digest, None).unwrap().is_empty());
}

#[test]
fn a_list_that_comes_round_again_says_why() {
    let registry = fake(FakeConfig::default());
    registry.put_manifest("x", Some("a"), media_type::OCI_INDEX, b"{}");
    let fault = |to: &str| Fault::Header("Link", format!("<{to}/v2/x/tags/list?last=0>; rel=next"));
    registry.fault("GET", "/tags/list", 0, 2, fault(""));
    let e = client().tags(&repo(&registry, "x")).unwrap_err().to_string();
    assert!(e.contains("the list has no end: this page comes a second time"), "{e}");
    registry.fault("GET", "/tags/list", 0, 2, fault("http://inner.invalid:5000"));
    let e = client().tags(&repo(&registry, "x")).unwrap_err().to_string();
    assert!(e.contains("`inner.invalid:5000`, which is another server") && !e.contains("no end"), "{e}");
    registry.fault("GET", "/tags/list", 0, 1, Fault::Redirect(200, "/".into()));
    let e = client().tags(&repo(&registry, "x")).unwrap_err().to_string();
    assert!(e.contains("/v2/x/tags/list: 200 OK: the answer is no list"), "{e}");
}
