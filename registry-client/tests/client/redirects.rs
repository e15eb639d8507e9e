//! From HTTPS to plain HTTP, by a redirect or the `Location` of an upload: where that may lead.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use orlop_registry_client::fake::{FakeConfig, FakeRegistry};
use orlop_registry_client::{
    Authorities, Client, ClientConfig, Error, Repository, TagOrDigest, TransportKind,
};
use orlop_store::media_type;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::self_signed;
use crate::{config, fake, layer, noise, read};

const IMAGE: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
/// Hosts that no server of names knows; a proxy stands for the network in which they are.
const OTHER: &str = "other.example.invalid:5000";
const SAFE: &str = "safe.example.invalid:5001";

/// What configuration says.
type Setting = Box<dyn Fn(&mut ClientConfig)>;

/// A server that speaks HTTPS with `NAME.crt`, and sends all but `/v2/` on to the same path elsewhere.
fn leading(dir: &Path, name: &str, status: u16, to: &str) -> String {
    let certificate = CertificateDer::from_pem_file(dir.join(format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (tls, to) = (Arc::new(tls), to.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (connection, to) = (ServerConnection::new(Arc::clone(&tls)).unwrap(), to.clone());
            std::thread::spawn(move || {
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                while let Some(path) = request(&mut stream) {
                    let answer = match path.as_str() {
                        "/v2/" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
                        path => {
                            format!(
                                "HTTP/1.1 {status} X\r\nLocation: {to}{path}\r\nContent-Length: 0\r\n\r\n"
                            )
                        }
                    };
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    host
}

/// The path of the next request, which has no body.
fn request(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.by_ref().take(10_000).read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.split(' ').nth(1).map(str::to_owned)
}

/// A client in a network where plain HTTP gets to `behind`, whatever the host.
fn network(dir: &Path, behind: &FakeRegistry) -> ClientConfig {
    let mut config = config();
    config.proxies.http = Some(format!("http://{}", behind.host()));
    config.hosts.extra_ca = Authorities::of(std::fs::read(dir.join("r.crt")).unwrap());
    config
}

#[test]
fn plain_http_is_for_the_hosts_that_it_is_allowed_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "r", "IP:127.0.0.1", &[]);
    let behind = fake(FakeConfig::default());
    behind.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let bytes = noise(10_000);
    behind.put_blob("x", &bytes);
    let host = leading(at, "r", 307, &format!("http://{OTHER}"));
    let conf = |text: String| {
        move |config: &mut ClientConfig| config.hosts.registries.add("registries.conf", &text).unwrap()
    };
    let insecure = |host: &str| {
        let host = host.to_owned();
        move |config: &mut ClientConfig| config.hosts.insecure.push(host.clone())
    };
    let bare = OTHER.split(':').next().unwrap();
    let cases: [(&str, bool, Setting); 9] = [
        ("nothing", false, Box::new(|_| ())),
        ("its origin", false, Box::new(insecure(&host))),
        ("another port", false, Box::new(insecure(bare))),
        ("another host", false, Box::new(insecure(SAFE))),
        ("itself", true, Box::new(insecure(OTHER))),
        (
            "its origin, in a file",
            false,
            Box::new(conf(format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true"))),
        ),
        (
            "itself, in a file",
            true,
            Box::new(conf(format!("[[registry]]\nlocation = \"{OTHER}\"\ninsecure = true"))),
        ),
        (
            "all of its domain",
            true,
            Box::new(conf("[[registry]]\nprefix = \"*.example.invalid\"\ninsecure = true".to_owned())),
        ),
        (
            "itself, as a mirror",
            true,
            Box::new(conf(format!(
                "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"{OTHER}/m\"\ninsecure = true"
            ))),
        ),
    ];
    for (what, works, set) in cases {
        let mut config = network(at, &behind);
        set(&mut config);
        let client = Client::new(config);
        let repo = Repository::new(&host, "x").unwrap();
        let (tag, before) = (TagOrDigest::Tag("1".into()), behind.log().len());
        let manifest = client.manifest(&repo, &tag);
        if works {
            manifest.unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!(read(&client, &repo, &layer(&bytes)).unwrap(), bytes, "{what}");
            continue;
        }
        let e = manifest.unwrap_err();
        assert!(matches!(e, Error::Downgrade { .. }), "{what}: {e:?}");
        let said = format!(
            "GET https://{host}/v2/x/manifests/1: 307 Temporary Redirect: it redirects from HTTPS to plain HTTP, \
             `http://{OTHER}/v2/x/manifests/1`"
        );
        assert_eq!(e.to_string(), said, "{what}");
        assert!(e.hint().unwrap().contains(&format!("--insecure-registry {OTHER}")), "{what}");
        assert!(read(&client, &repo, &layer(&bytes)).is_err(), "{what}");
        assert_eq!(behind.log().len(), before, "{what}: nobody there is asked");
    }
    // One's own machine needs no leave.
    let host = leading(at, "r", 307, &format!("http://{}", behind.host()));
    let client = Client::new(network(at, &behind));
    client.manifest(&Repository::new(&host, "x").unwrap(), &TagOrDigest::Tag("1".into())).unwrap();
}

#[test]
fn an_upload_is_led_where_plain_http_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "r", "IP:127.0.0.1", &[]);
    // Says 404 to whoever asks whether it has a blob, as that is sent on as well, and then where to upload to.
    let behind = fake(FakeConfig::default());
    let host = leading(at, "r", 202, &format!("http://{OTHER}"));
    let repo = Repository::new(&host, "x").unwrap();
    for (insecure, what) in [(&host[..], "its `Location` leads from HTTPS to plain HTTP"), (OTHER, "404")] {
        let mut config = network(at, &behind);
        config.hosts.insecure.push(insecure.to_owned());
        let bytes = noise(1000);
        let source = || Ok(Box::new(std::io::Cursor::new(bytes.clone())) as Box<dyn Read + Send>);
        let whole = || Ok(layer(&bytes));
        let e = Client::new(config).push_growing(&repo, &source, &whole, &|_| ()).unwrap_err();
        assert!(e.to_string().contains(what), "{insecure}: {e}");
        assert_eq!(behind.logged("PATCH", "/v2/x/").is_empty(), insecure != OTHER, "{insecure}");
    }
}

#[test]
fn certificates_of_other_hosts_are_checked_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "r", "IP:127.0.0.1", &[]);
    self_signed(at, "unknown", "IP:127.0.0.1", &[]);
    let behind = fake(FakeConfig::default());
    behind.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let storage = leading(at, "unknown", 307, &format!("http://{}", behind.host()));
    let host = leading(at, "unknown", 307, &format!("https://{storage}"));
    let repo = Repository::new(&host, "x").unwrap();
    let pull = |insecure: &[&str]| {
        let mut config = config();
        config.hosts.insecure = insecure.iter().map(|host| (*host).to_owned()).collect();
        Client::new(config).manifest(&repo, &TagOrDigest::Tag("1".into()))
    };
    let e = pull(&[&host]).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::Certificate), "{e:?}");
    assert!(e.to_string().contains(&storage), "{e}");
    pull(&[&host, &storage]).unwrap();
    // Of its own host it is the repository's line that counts.
    let mut config = config();
    let text = format!(
        "[[registry]]\nlocation = \"{host}\"\ninsecure = true\n[[registry]]\nlocation = \"{host}/x\"\n\
         [[registry]]\nlocation = \"{storage}\"\ninsecure = true"
    );
    config.hosts.registries.add("registries.conf", &text).unwrap();
    let client = Client::new(config);
    let e = client.manifest(&repo, &TagOrDigest::Tag("1".into())).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::Certificate), "{e:?}");
    assert!(!e.to_string().contains(&storage), "{e}");
    behind.put_manifest("y", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    client.manifest(&Repository::new(&host, "y").unwrap(), &TagOrDigest::Tag("1".into())).unwrap();
}
