//! Manifests and blobs from a registry that misbehaves.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::{client, config, fake, layer, noise, push, read, repo, watched};
use orlop_registry_client::fake::{FakeAuth, FakeConfig, FakeRegistry, Fault};
use orlop_registry_client::{Client, ClientConfig, Error, NoticeObserver, Stop, TagOrDigest, TransportKind};
use orlop_store::{Digest, media_type};

const IMAGE: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.to_owned())
}

fn inner(e: &std::io::Error) -> &Error {
    e.get_ref().and_then(|e| e.downcast_ref()).unwrap_or_else(|| panic!("no error of ours in {e:?}"))
}

#[test]
fn manifest_by_tag_and_by_digest() {
    let registry = fake(FakeConfig::default());
    let digest = registry.put_manifest("a/b", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let (client, repo) = (client(), repo(&registry, "a/b"));
    let got = client.manifest(&repo, &tag("1")).unwrap();
    assert_eq!((got.digest, got.bytes.as_slice()), (digest, IMAGE));
    assert_eq!(client.manifest(&repo, &digest.into()).unwrap(), got);
    let head = client.head_document(&repo, &tag("1")).unwrap();
    assert_eq!((head.digest, head.size), (digest, IMAGE.len() as u64));
    assert!(
        registry.logged("GET", "/manifests/1")[0].header("accept").unwrap().contains(media_type::DOCKER_LIST)
    );
    let e = client.manifest(&repo, &tag("2")).unwrap_err();
    let url = format!(
        "GET http://{}/v2/a/b/manifests/2: 404 MANIFEST_UNKNOWN: fake MANIFEST_UNKNOWN",
        registry.host()
    );
    assert_eq!(e.to_string(), url);
    assert!(e.is_not_found() && e.hint().is_some());
    let e = client.head_document(&repo, &tag("2")).unwrap_err();
    assert!(e.to_string().contains("MANIFEST_UNKNOWN"), "GET gives the reason that HEAD cannot: {e}");
}

#[test]
fn manifest_heads_where_head_is_refused_or_says_too_little() {
    for config in [
        FakeConfig { head: false, ..FakeConfig::default() },
        FakeConfig { digest_header: false, ..FakeConfig::default() },
    ] {
        let registry = fake(config);
        let digest = registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
        assert_eq!(client().head_document(&repo(&registry, "x"), &tag("1")).unwrap().digest, digest);
    }
}

#[test]
fn a_head_of_schema_one_is_refused_as_the_document_is() {
    let registry = fake(FakeConfig::default());
    for kind in ["v1+json", "v1+prettyjws"] {
        let kind = format!("application/vnd.docker.distribution.manifest.{kind}");
        registry.put_manifest("x", Some("1"), &kind, br#"{"schemaVersion":1,"fsLayers":[]}"#);
        let e = client().head_document(&repo(&registry, "x"), &tag("1")).unwrap_err();
        assert!(e.to_string().contains("schema 1"), "{e}");
    }
}

#[test]
fn manifest_media_types_as_registries_send_them() {
    let registry = fake(FakeConfig::default());
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let (client, repo) = (client(), repo(&registry, "x"));
    for (sent, bytes, found) in [
        ("", IMAGE, media_type::OCI_MANIFEST),
        ("application/json", &index[..], media_type::OCI_INDEX),
        (
            "application/vnd.docker.distribution.manifest.list.v2+json; charset=utf-8",
            index,
            media_type::DOCKER_LIST,
        ),
        ("text/plain", IMAGE, media_type::OCI_MANIFEST),
    ] {
        registry.put_manifest("x", Some("t"), sent, bytes);
        assert_eq!(client.manifest(&repo, &tag("t")).unwrap().media_type, found, "{sent}");
    }
    let old = br#"{"schemaVersion":1,"fsLayers":[],"signatures":[]}"#;
    registry.put_manifest("x", Some("old"), "application/vnd.docker.distribution.manifest.v1+prettyjws", old);
    let e = client.manifest(&repo, &tag("old")).unwrap_err().to_string();
    assert!(e.contains("schema 1") && e.contains("/x:old"), "{e}");
}

#[test]
fn wrong_digests_are_found() {
    let registry = fake(FakeConfig::default());
    let digest = registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let (client, repo) = (client(), repo(&registry, "x"));
    // Once is an accident, and the next attempt is right.
    registry.fault("GET", "/manifests/1", 0, 1, Fault::Flip(20));
    assert_eq!(client.manifest(&repo, &tag("1")).unwrap().digest, digest);
    let other = Digest::of(b"other").to_string();
    registry.fault("GET", "/manifests/1", 0, 9, Fault::Header("Docker-Content-Digest", other));
    assert!(matches!(client.manifest(&repo, &tag("1")), Err(Error::Digest { .. })));
    registry.fault("GET", "/manifests/sha256", 0, 9, Fault::Flip(3));
    assert!(matches!(client.manifest(&repo, &digest.into()), Err(Error::Digest { .. })));
}

#[test]
fn endless_and_oversized_manifests_end() {
    let registry = fake(FakeConfig::default());
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    registry.put_manifest("x", Some("big"), media_type::OCI_MANIFEST, &vec![b' '; 5 << 20]);
    registry.fault("GET", "/manifests/1", 0, 99, Fault::Endless);
    let (client, repo) = (client(), repo(&registry, "x"));
    for which in ["1", "big"] {
        let e = client.manifest(&repo, &tag(which)).unwrap_err().to_string();
        assert!(e.contains("longer than 4194304 bytes"), "{e}");
    }
}

#[test]
fn temporary_failures_pass_and_are_told() {
    let registry = fake(FakeConfig::default());
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let wait = vec![("Retry-After", "1".to_owned())];
    registry.fault("GET", "/manifests/1", 0, 1, Fault::Status(429, "TOOMANYREQUESTS", wait));
    registry.fault("GET", "/manifests/1", 0, 1, Fault::Status(503, "UNAVAILABLE", vec![]));
    registry.fault("GET", "/manifests/1", 0, 1, Fault::Close);
    let (client, told) = watched(config());
    let start = Instant::now();
    client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After was not waited for");
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("1/3 true") && told[0].contains("429 TOOMANYREQUESTS"), "{told:?}");
    registry.fault("GET", "/manifests/1", 0, 99, Fault::Status(500, "UNKNOWN", vec![]));
    let e = client.manifest(&repo(&registry, "x"), &tag("1")).unwrap_err();
    assert!(e.is_temporary() && e.status() == Some(500));
    assert_eq!(registry.logged("GET", "/manifests/1").len(), 4 + 4);
}

#[test]
fn retry_after_of_a_day_is_final() {
    let registry = fake(FakeConfig::default());
    let wait = vec![("Retry-After", "86400".to_owned())];
    registry.fault("GET", "/manifests/", 0, 99, Fault::Status(429, "TOOMANYREQUESTS", wait));
    assert_eq!(client().manifest(&repo(&registry, "x"), &tag("1")).unwrap_err().status(), Some(429));
    assert_eq!(registry.logged("GET", "/manifests/1").len(), 1);
}

#[test]
fn blob_arrives_whole_however_it_is_sent() {
    let bytes = noise(300_000);
    let cut = |n| Fault::Cut(n);
    for (name, config, faults) in [
        ("plain", FakeConfig::default(), vec![]),
        ("redirected", FakeConfig { redirect_blobs: true, ..FakeConfig::default() }, vec![]),
        ("no length", FakeConfig::default(), vec![Fault::NoLength]),
        ("chunked", FakeConfig::default(), vec![Fault::Chunked]),
        ("cut twice", FakeConfig::default(), vec![cut(100_000), cut(50_000)]),
        ("cut at once", FakeConfig::default(), vec![cut(0), Fault::Close]),
        (
            "cut, no ranges",
            FakeConfig { ranges: false, ..FakeConfig::default() },
            vec![cut(100_000), cut(299_999)],
        ),
        ("too short", FakeConfig::default(), vec![Fault::Shorten(1000), Fault::Shorten(10)]),
        ("stalled", FakeConfig::default(), vec![Fault::Stall(70_000)]),
        ("refused, then fine", FakeConfig::default(), vec![Fault::Status(502, "BAD", vec![]), cut(5)]),
        ("range refused", FakeConfig::default(), vec![cut(7), Fault::Status(416, "RANGE_INVALID", vec![])]),
        (
            "not HTTP once",
            FakeConfig::default(),
            vec![cut(10_000), Fault::Close, Fault::Close, cut(9_000), cut(7_000), cut(8_000)],
        ),
    ] {
        let redirected = config.redirect_blobs;
        let registry = fake(config);
        registry.put_blob("x", &bytes);
        for fault in faults {
            registry.fault("GET", "/blobs/", 0, 1, fault);
        }
        let got = read(&client(), &repo(&registry, "x"), &layer(&bytes));
        assert_eq!(got.unwrap_or_else(|e| panic!("{name}: {e}")), bytes, "{name}");
        assert_eq!(registry.log().iter().any(|l| l.storage), redirected, "{name}");
    }
}

#[test]
fn broken_download_goes_on_where_it_was() {
    let bytes = noise(300_000);
    let registry = fake(FakeConfig { redirect_blobs: true, ..FakeConfig::default() });
    registry.put_blob("x", &bytes);
    registry.fault("GET", "/store/", 0, 1, Fault::Cut(123_456));
    assert_eq!(read(&client(), &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    let store = registry.logged("GET", "/store/");
    assert_eq!(store.len(), 2);
    assert_eq!(store[1].header("range"), Some("bytes=123456-"));
}

#[test]
fn wrong_blobs_are_never_taken_for_right() {
    let bytes = noise(50_000);
    let descriptor = layer(&bytes);
    for (name, fault) in [
        ("another byte", Fault::Flip(40_000)),
        ("endless", Fault::Endless),
        ("shorter", Fault::Shorten(49_999)),
        ("wrong length", Fault::Header("Content-Length", "60000".to_owned())),
        ("404", Fault::Status(404, "BLOB_UNKNOWN", vec![])),
    ] {
        let registry = fake(FakeConfig { ranges: false, ..FakeConfig::default() });
        registry.put_blob("x", &bytes);
        registry.fault("GET", "/blobs/", 0, 99, fault);
        let e = read(&client(), &repo(&registry, "x"), &descriptor).expect_err(name);
        let text = e.to_string();
        assert!(
            text.contains("/v2/x/blobs/sha256:") || matches!(inner(&e), Error::Digest { .. }),
            "{name}: {text}"
        );
        // A reader that failed does not say later that it is at the end.
        let mut reader = client().blob(&repo(&registry, "x"), &descriptor).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(reader.read(&mut [0; 10]).is_err(), "{name}");
    }
}

#[test]
fn content_that_is_longer_or_shorter_than_its_descriptor() {
    let bytes = noise(50_000);
    let registry = fake(FakeConfig::default());
    registry.put_blob("x", &bytes);
    for size in [0, 49_999, 50_001] {
        let mut descriptor = layer(&bytes);
        descriptor.size = size;
        let e = read(&client(), &repo(&registry, "x"), &descriptor).unwrap_err();
        assert!(matches!(inner(&e), Error::Size { .. }), "{size}: {e}");
    }
    let empty = registry.put_blob("x", b"");
    assert_eq!(empty, layer(b"").digest);
    assert_eq!(read(&client(), &repo(&registry, "x"), &layer(b"")).unwrap(), b"");
}

#[test]
fn redirect_loops_and_redirects_to_nowhere_end() {
    let registry = fake(FakeConfig::default());
    let bytes = noise(10);
    registry.put_blob("x", &bytes);
    let loop_to = format!("http://{}/v2/x/blobs/{}", registry.host(), layer(&bytes).digest);
    registry.fault("GET", "/blobs/", 0, 99, Fault::Redirect(302, loop_to));
    let e = read(&client(), &repo(&registry, "x"), &layer(&bytes)).unwrap_err();
    assert!(matches!(inner(&e), Error::Transport { kind: TransportKind::Redirect, .. }), "{e}");
    let registry = fake(FakeConfig::default());
    registry.fault("GET", "/manifests/", 0, 99, Fault::Redirect(302, "file:///etc/passwd".to_owned()));
    let e = client().manifest(&repo(&registry, "x"), &tag("1")).unwrap_err();
    assert!(matches!(e, Error::Protocol { .. }), "{e}");
}

#[test]
fn nobody_listens() {
    let host = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let repo = orlop_registry_client::Repository::new(&host, "x").unwrap();
    let e = client().manifest(&repo, &tag("1")).unwrap_err();
    assert!(matches!(e, Error::Transport { kind: TransportKind::Refused, .. }), "{e:?}");
    assert!(e.hint().unwrap().contains(&host));
}

#[test]
fn a_wait_ends_by_the_stop_of_the_client_that_waits() {
    let registry = fake(FakeConfig::default());
    let bytes = noise(100_000);
    registry.put_blob("a/b", &bytes);
    registry.put_manifest("a/b", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let repo = repo(&registry, "a/b");
    let never = Client::new(ClientConfig { stop: Stop::new(|| true), ..config() });
    let lives = never.with_stop(Stop::default());
    // Nothing comes for longer than a stop may take, and then all does.
    let late = |method: &'static str, path: &str| {
        registry.fault(method, path, 0, 2, Fault::Delay(Duration::from_millis(400)));
    };
    late("GET", "/manifests/");
    assert!(matches!(never.manifest(&repo, &tag("1")), Err(Error::Cancelled)));
    assert_eq!(lives.manifest(&repo, &tag("1")).unwrap().bytes, IMAGE);
    late("GET", "/blobs/");
    let e = read(&never, &repo, &layer(&bytes)).unwrap_err();
    assert!(e.to_string().contains("cancel"), "{e}");
    assert_eq!(read(&lives, &repo, &layer(&bytes)).unwrap(), bytes);
    late("PUT", "/blobs/uploads/");
    assert!(matches!(push(&never, &repo, b"other bytes", &[]), Err(Error::Cancelled)));
    push(&lives, &repo, b"other bytes", &[]).unwrap();
}

#[test]
fn something_else_listens() {
    // A server that never answers, and one that speaks no HTTP.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config();
    config.timeouts.first_byte = Duration::from_millis(200);
    config.timeouts.connect = Duration::from_millis(200);
    config.retries.count = 0;
    let client = Client::new(config);
    let repo_of = |host: String| orlop_registry_client::Repository::new(host, "x").unwrap();
    let e = client.manifest(&repo_of(silent.local_addr().unwrap().to_string()), &tag("1")).unwrap_err();
    assert!(matches!(e, Error::Transport { .. }), "{e:?}");
    let registry = fake(FakeConfig::default());
    registry.fault("*", "/", 0, 99, Fault::Garbage);
    let e = client.manifest(&repo(&registry, "x"), &tag("1")).unwrap_err();
    assert!(matches!(e, Error::Transport { .. }), "{e:?}");
}

#[test]
fn mirrors_serve_first_and_the_registry_when_they_fail() {
    let (mirror, registry) = (fake(FakeConfig::default()), fake(FakeConfig::default()));
    let bytes = noise(200_000);
    for r in [&mirror, &registry] {
        r.put_blob(if std::ptr::eq(r, &mirror) { "cache/x" } else { "x" }, &bytes);
    }
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}/cache\"\n",
        registry.host(),
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let client = Client::new(config);
    client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    assert_eq!(mirror.logged("GET", "/v2/cache/x/manifests/1").len(), 1);
    assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    assert!(registry.logged("GET", "/blobs/").is_empty());
    // A mirror that dies in the middle is left for the registry, which goes on from there.
    mirror.fault("GET", "/blobs/", 0, 1, Fault::Cut(100_000));
    mirror.fault("GET", "/blobs/", 0, 99, Fault::Status(500, "UNKNOWN", vec![]));
    assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    assert_eq!(registry.logged("GET", "/blobs/")[0].header("range"), Some("bytes=100000-"));
    let e = client.manifest(&repo(&registry, "x"), &tag("2")).unwrap_err().to_string();
    assert!(e.contains(&registry.host()) && e.contains("before that") && e.contains(&mirror.host()), "{e}");
}

#[test]
fn download_of_plain_files() {
    let registry = fake(FakeConfig { redirect_blobs: true, ..FakeConfig::default() });
    let digest = registry.put_blob("x", b"content");
    registry.fault(
        "GET",
        "/store/",
        0,
        1,
        Fault::Header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
    );
    let url = format!("http://user:hunter2@{}/v2/x/blobs/{digest}", registry.host());
    let client = client();
    let mut download = client.download(&url, None).unwrap();
    assert_eq!(download.head().last_modified, Some(784_111_777));
    assert!(download.head().url.contains("/store/x/"));
    let mut out = Vec::new();
    download.read_to_end(&mut out).unwrap();
    assert_eq!(out, b"content");
    let e = client.download(&url, Some(3)).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("longer than 3 bytes") && !e.contains("hunter2") && !e.contains("secret"), "{e}");
    assert!(client.download("file:///etc/passwd", None).is_err());
    let e = client.download(&format!("http://{}/nothing", registry.host()), None).map(|_| ()).unwrap_err();
    assert_eq!(e.status(), Some(404));
}

#[test]
fn the_login_of_a_download_stays_with_its_server_and_is_not_shown() {
    let auth = FakeAuth::Basic("user".into(), "hunter%2".into());
    let (registry, other) =
        (fake(FakeConfig { auth: auth.clone(), ..FakeConfig::default() }), fake(FakeConfig::default()));
    let digest = registry.put_blob("x", b"content");
    let at = format!("/v2/x/blobs/{digest}");
    other.put_blob("x", b"content");
    let client = client();
    let moved = || client.download(&format!("http://user:hunter%252@{}/moved", registry.host()), None);
    registry.fault("GET", "/moved", 0, 1, Fault::Redirect(302, at.clone()));
    let mut out = Vec::new();
    moved().unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out, b"content");
    registry.fault("GET", "/moved", 0, 1, Fault::Redirect(302, format!("http://{}{at}", other.host())));
    moved().unwrap();
    assert_eq!(other.logged("GET", "/blobs/")[0].header("authorization"), None);
    // A server that says it back.
    registry.fault("GET", "/moved", 0, 1, Fault::Redirect(302, "/v2/hunter%252/hunter%2".to_owned()));
    let e = moved().map(|_| ()).unwrap_err();
    assert!(!e.to_string().contains("hunter"), "{e}");
}

#[test]
fn proxies_are_used_and_left_out() {
    let registry = fake(FakeConfig::default());
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let host = "registry.invalid";
    let through = |no_proxy: Option<&str>| {
        let mut config = config();
        config.proxies.http = Some(format!("http://user:hunter2@{}", registry.host()));
        config.proxies.no_proxy = no_proxy.map(str::to_owned);
        config.hosts.insecure.push(host.to_owned());
        let client = Client::new(config);
        client.manifest(&orlop_registry_client::Repository::new(host, "x").unwrap(), &tag("1"))
    };
    through(None).unwrap();
    let seen = registry.logged("GET", "/v2/x/manifests/1");
    assert_eq!(seen[0].header("host"), Some(host));
    assert!(seen[0].header("proxy-authorization").is_some());
    let e = through(Some("other.example,.invalid")).unwrap_err();
    assert!(matches!(e, Error::Transport { kind: TransportKind::Resolve, .. }), "{e:?}");
    assert!(!format!("{e:?}").contains("hunter2"));
    assert_eq!(registry.logged("GET", "/v2/x/manifests/1").len(), 1);
}

#[test]
fn a_server_that_wants_https_is_not_taken_for_a_plain_one() {
    // HTTPS does not get through to it, and plain HTTP is told so.
    let registry = fake(FakeConfig::default());
    registry.fault("GET", "/v2/", 0, 1, Fault::Status(400, "THIS_IS_AN_HTTPS_SERVER", vec![]));
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let mut config = config();
    config.retries.count = 0;
    let proxy = Some(format!("http://{}", registry.host()));
    (config.proxies.http, config.proxies.https) = (proxy.clone(), proxy);
    config.hosts.insecure.push("registry.invalid".into());
    let client = Client::new(config);
    let repo = orlop_registry_client::Repository::new("registry.invalid", "x").unwrap();
    let e = client.manifest(&repo, &tag("1")).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::Proxy), "the error of HTTPS: {e:?}");
    assert!(registry.logged("GET", "/manifests/").is_empty(), "nothing goes over plain HTTP");
    client.manifest(&repo, &tag("1")).expect("nothing was concluded for ever");
}

#[test]
fn warnings_of_the_registry_are_told_once() {
    let registry = fake(FakeConfig::default());
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let warning = "299 - \"this name \\\"x\\\" will go\"".to_owned();
    registry.fault("GET", "/manifests/1", 0, 9, Fault::Header("Warning", warning));
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut config = config();
    let ours = std::sync::Arc::clone(&told);
    config.on_notice = NoticeObserver::new(move |text| ours.lock().unwrap().push(text.to_owned()));
    let client = Client::new(config);
    for _ in 0..3 {
        client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    }
    let want = format!("registry `{}` says: this name \"x\" will go", registry.host());
    assert_eq!(*told.lock().unwrap(), [want]);
}

#[test]
fn the_limit_of_requests_is_told() {
    let registry = fake(FakeConfig::default());
    let headers = vec![("RateLimit-Limit", "100;w=21600".to_owned()), ("Retry-After", "9999".to_owned())];
    registry.fault("GET", "/manifests/1", 0, 9, Fault::Status(429, "TOOMANYREQUESTS", headers));
    let e = client().manifest(&repo(&registry, "x"), &tag("1")).unwrap_err();
    assert!(
        e.to_string().ends_with("429 TOOMANYREQUESTS: fake TOOMANYREQUESTS; it allows 100 in 6 h"),
        "{e}"
    );
}

#[test]
fn everything_comes_from_where_the_manifest_did() {
    // Tags from this mirror alone, and blobs by digest from the registry itself, which is not there.
    let (mirror, gone) =
        (fake(FakeConfig::default()), FakeRegistry::start(FakeConfig::default()).unwrap().host());
    let bytes = noise(1000);
    let blob = layer(&bytes);
    mirror.put_blob("x", &bytes);
    let image = serde_json::json!({"schemaVersion": 2, "config": blob, "layers": [blob]}).to_string();
    mirror.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, image.as_bytes());
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{gone}\"\n[[registry.mirror]]\nlocation = \"{}\"\npull-from-mirror = \"tag-only\"\n",
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let client = Client::new(config);
    let repo = orlop_registry_client::Repository::new(&gone, "x").unwrap();
    client.manifest(&repo, &tag("1")).unwrap();
    assert_eq!(client.served_by(&repo), Some(format!("{}/x", mirror.host())));
    assert_eq!(read(&client, &repo, &blob).unwrap(), bytes);
    let other = noise(999);
    mirror.put_blob("x", &other);
    assert_eq!(read(&client, &repo, &layer(&other)).unwrap(), other, "last, a mirror for tags has blobs too");
}

#[test]
fn the_registry_is_waited_for_wherever_it_stands() {
    let (mirror, registry) = (fake(FakeConfig::default()), fake(FakeConfig::default()));
    let bytes = noise(1000);
    registry.put_blob("x", &bytes);
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\npull-from-mirror = \"tag-only\"\n",
        registry.host(),
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let client = Client::new(config);
    // The mirror, which is for tags, stands behind the registry for blobs.
    registry.fault("GET", "/blobs/", 0, 2, Fault::Status(503, "UNAVAILABLE", vec![]));
    assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    assert!(mirror.logged("GET", "/blobs/").is_empty());
    registry.fault("GET", "/blobs/", 0, 99, Fault::Status(403, "DENIED", vec![]));
    let e = read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap_err();
    assert_eq!(inner(&e).status(), Some(403), "the registry's own word: {e}");
    assert!(e.to_string().contains(&mirror.host()), "{e}");
}

#[test]
fn a_mirror_whose_token_server_is_down_is_asked_once() {
    let auth = FakeAuth::Bearer { login: None, identity: None, field: "token", promised: 300, uses: 9 };
    let (registry, mirror) =
        (fake(FakeConfig::default()), fake(FakeConfig { auth, ..FakeConfig::default() }));
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    mirror.fault("*", "/token", 0, 99, Fault::Close);
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        registry.host(),
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let client = Client::new(config);
    client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    let asked = mirror.log().len();
    client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    assert_eq!((mirror.log().len(), client.mirrors_lost()), (asked, 1));
}

#[test]
fn a_mirror_that_is_down_is_asked_once() {
    let (registry, down) =
        (fake(FakeConfig::default()), FakeRegistry::start(FakeConfig::default()).unwrap().host());
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{down}\"\n",
        registry.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let (client, told) = watched(config);
    for _ in 0..5 {
        client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    }
    assert_eq!(told.lock().unwrap().len(), 1, "tried again once: {told:?}");
}

#[test]
fn a_mirror_that_asks_for_patience_is_passed_over() {
    let (mirror, registry) = (fake(FakeConfig::default()), fake(FakeConfig::default()));
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let wait = || vec![("Retry-After", "5".to_owned())];
    mirror.fault("GET", "/", 1, 99, Fault::Status(429, "TOOMANYREQUESTS", wait()));
    let bytes = noise(1000);
    registry.put_blob("x", &bytes);
    let mut config = config();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        registry.host(),
        mirror.host()
    );
    config.hosts.registries.add("registries.conf", &conf).unwrap();
    let client = Client::new(config);
    let start = Instant::now();
    client.manifest(&repo(&registry, "x"), &tag("1")).unwrap();
    assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_manifest_is_told_with_method_and_status() {
    let html = b"<html><body>hotel</body></html>";
    let old = br#"{"schemaVersion":1,"fsLayers":[]}"#;
    for (bytes, status, why) in [
        (&html[..], "200 OK", "no JSON"),
        (&old[..], "200 OK", "Docker's schema 1"),
        (b"", "200 OK", "sent nothing"),
        (b"", "204 No Content", "sent nothing"),
        (b"{}", "200 OK", "neither an image manifest nor an index"),
    ] {
        let registry = fake(FakeConfig { digest_header: false, ..FakeConfig::default() });
        registry.put_manifest("team/x", Some("1"), "text/html", bytes);
        if status.starts_with("204") {
            registry.fault("GET", "/manifests/", 0, 9, Fault::Redirect(204, "/".into()));
        }
        let e = client().manifest(&repo(&registry, "team/x"), &tag("1")).unwrap_err();
        let (host, text) = (registry.host(), e.to_string());
        assert!(text.starts_with(&format!("`{host}/team/x:1`: ")) && text.contains(why), "{text}");
        let asked = format!("(GET http://{host}/v2/team/x/manifests/1: {status})");
        assert!(text.ends_with(&asked), "{text}");
    }
    let registry = fake(FakeConfig::default());
    let bytes = noise(1000);
    registry.put_blob("x", &bytes);
    registry.fault("GET", "/blobs/", 0, 9, Fault::Redirect(204, "/".into()));
    let e = read(&client(), &repo(&registry, "x"), &layer(&bytes)).unwrap_err().to_string();
    assert!(e.starts_with("GET http://") && e.contains(": 204 No Content: "), "{e}");
}

#[test]
fn a_wait_that_no_number_holds_is_too_long() {
    let registry = fake(FakeConfig::default());
    let headers = vec![("Retry-After", "99999999999999999999999999".to_owned())];
    registry.fault("GET", "/manifests/1", 0, 9, Fault::Status(503, "UNAVAILABLE", headers));
    let e = client().manifest(&repo(&registry, "x"), &tag("1")).unwrap_err();
    assert!(e.hint().unwrap().contains("more than a year"), "{e:?}");
    assert_eq!(registry.logged("GET", "/manifests/1").len(), 1);
}
