//! Debian's `docker-registry` (distribution 2.8), over HTTP and HTTPS, open and with a password.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orlop_registry_client::{
    Authorities, Client, ClientConfig, Credential, Error, PushOutcome, Repository, TagOrDigest, TransportKind,
};
use orlop_store::{Descriptor, Digest, media_type};
use tempfile::TempDir;

use crate::{config, layer, noise, push, read};

/// A server that dies with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) host: String,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let out = command.output().unwrap_or_else(|e| {
        panic!("{command:?} cannot be run (needed: docker-registry, openssl, apache2-utils): {e}")
    });
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// An authority in `ca.pem`, and a certificate for 127.0.0.1 that it signed.
fn certificates(dir: &Path) {
    let openssl = |args: &[&str]| run(Command::new("openssl").current_dir(dir).args(args));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ]);
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=registry",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
    ]);
    fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "ext",
        "-out",
        "server.pem",
    ]);
}

pub(crate) fn start(tls: bool, password: bool) -> Server {
    start_with(tls, password, false)
}

fn start_with(tls: bool, password: bool, client_certificates: bool) -> Server {
    let mut clients = String::new();
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let mut text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {0}/data\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
        at.display()
    );
    if tls {
        certificates(at);
        if client_certificates {
            clients = format!("    clientcas:\n      - {}/ca.pem\n", at.display());
        }
        text += &format!(
            "  tls:\n    certificate: {0}/server.pem\n    key: {0}/server.key\n{clients}",
            at.display()
        );
    }
    if password {
        let line = run(Command::new("htpasswd").args(["-nbB", "u", "hunter2"]));
        fs::write(at.join("htpasswd"), line).unwrap();
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}/htpasswd\n", at.display());
    }
    fs::write(at.join("config.yml"), text).unwrap();
    let child = Command::new("docker-registry")
        .args(["serve", "config.yml"])
        .current_dir(at)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry cannot be run (apt install docker-registry)");
    let server = Server { child, host, dir };
    let start = Instant::now();
    while std::net::TcpStream::connect(&server.host).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// Pushes an image, reads everything back, mounts it elsewhere, lists and deletes it.
fn round_trip(config: ClientConfig, host: &str) {
    let client = Client::new(config);
    let repo = Repository::new(host, "team/app").unwrap();
    client.ping(host).unwrap();
    let (big, small) = (noise(20_000_000), br#"{"architecture":"amd64","os":"linux"}"#.to_vec());
    for blob in [&big, &small, &Vec::new()] {
        assert_eq!(push(&client, &repo, blob, &[]).unwrap(), PushOutcome::Uploaded);
        assert_eq!(push(&client, &repo, blob, &[]).unwrap(), PushOutcome::Existed);
        assert_eq!(read(&client, &repo, &layer(blob)).unwrap(), *blob);
    }
    let image = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, &small),
        "layers": [Descriptor::of(media_type::OCI_LAYER, &big)],
    });
    let image = serde_json::to_vec(&image).unwrap();
    let tag = |t: &str| TagOrDigest::Tag(t.to_owned());
    for t in ["1", "2", "3"] {
        let digest = client.push_manifest(&repo, &tag(t), media_type::OCI_MANIFEST, &image).unwrap();
        let got = client.manifest(&repo, &tag(t)).unwrap();
        assert_eq!(
            (got.digest, got.bytes, got.media_type.as_str()),
            (digest, image.clone(), media_type::OCI_MANIFEST)
        );
        assert_eq!(client.head_document(&repo, &tag(t)).unwrap().digest, digest);
    }
    let mut tags = client.tags(&repo).unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2", "3"]);
    let other = Repository::new(host, "other").unwrap();
    assert_eq!(push(&client, &other, &big, &["no/such", "team/app"]).unwrap(), PushOutcome::Mounted);
    assert!(client.referrers(&repo, Digest::of(&image), None).unwrap().is_empty());
    assert!(client.manifest(&repo, &tag("none")).unwrap_err().is_not_found());
    let unknown = Repository::new(host, "unknown").unwrap();
    let e = client.tags(&unknown).unwrap_err();
    assert_eq!(e.code(), Some("NAME_UNKNOWN"), "{e}");
    client.delete(&repo, &Digest::of(&image).into()).unwrap();
    assert!(client.manifest(&repo, &tag("1")).unwrap_err().is_not_found());
    // Eight at once, over the same connections and tokens.
    std::thread::scope(|scope| {
        for i in 0..8u8 {
            let (client, repo) = (client.clone(), repo.clone());
            scope.spawn(move || {
                let mut bytes = noise(500_000);
                bytes[0] = i;
                push(&client, &repo, &bytes, &[]).unwrap();
                assert_eq!(read(&client, &repo, &layer(&bytes)).unwrap(), bytes);
            });
        }
    });
}

#[test]
fn over_http() {
    let server = start(false, false);
    round_trip(config(), &server.host);
}

#[test]
fn over_http_with_a_password() {
    let server = start(false, true);
    let mut config = config();
    config.credentials.add(&server.host, Credential::Basic { user: "u".into(), password: "hunter2".into() });
    round_trip(config, &server.host);
    let e = crate::client().ping(&server.host).unwrap_err();
    assert_eq!(e.status(), Some(401), "{e}");
}

#[test]
fn over_https_with_a_password() {
    let server = start(true, true);
    let login = Credential::Basic { user: "u".into(), password: "hunter2".into() };
    let with_login = || {
        let mut config = config();
        config.credentials.add(&server.host, login.clone());
        config
    };
    // The authority is given as a file's content, as a directory of certs.d, or not at all.
    let ca = fs::read(server.dir.path().join("ca.pem")).unwrap();
    let mut extra = with_login();
    extra.hosts.extra_ca = Authorities::of(ca.clone());
    round_trip(extra, &server.host);
    let certs = server.dir.path().join("certs.d").join(&server.host);
    fs::create_dir_all(&certs).unwrap();
    fs::write(certs.join("ca.crt"), ca).unwrap();
    let mut in_dir = with_login();
    in_dir.hosts.certs_dirs.push(server.dir.path().join("certs.d"));
    in_dir.http2 = false;
    Client::new(in_dir).ping(&server.host).unwrap();
    let e = Client::new(with_login()).ping(&server.host).unwrap_err();
    assert!(matches!(e, Error::Transport { kind: TransportKind::Certificate, .. }), "{e:?}");
    assert!(e.hint().unwrap().contains(&format!("certs.d/{}/ca.crt", server.host)));
    let mut insecure = with_login();
    insecure.hosts.insecure.push(server.host.clone());
    Client::new(insecure).ping(&server.host).unwrap();
}

#[test]
fn calls_from_a_thread_that_drives_a_runtime() {
    let server = start(false, false);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let client = crate::client();
        let repo = Repository::new(&server.host, "x").unwrap();
        let bytes = noise(3_000_000);
        push(&client, &repo, &bytes, &[]).unwrap();
        let mut out = Vec::new();
        client.blob(&repo, &layer(&bytes)).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, bytes);
    });
}

#[test]
fn with_a_certificate_of_our_own() {
    let server = start_with(true, false, true);
    let at = server.dir.path();
    let certs = at.join("certs.d").join(&server.host);
    fs::create_dir_all(&certs).unwrap();
    fs::copy(at.join("ca.pem"), certs.join("ca.crt")).unwrap();
    let mut config = config();
    config.hosts.certs_dirs.push(at.join("certs.d"));
    let without = Client::new(config.clone()).ping(&server.host).unwrap_err();
    assert_eq!(without.transport_kind(), Some(TransportKind::TlsRefused), "{without:?}");
    for _ in 0..20 {
        let again = Client::new(config.clone()).ping(&server.host).unwrap_err();
        assert_eq!(again.transport_kind(), Some(TransportKind::TlsRefused), "{again:?}");
    }
    let fails = |part: &str, what: &str, hint: &str| {
        let e = Client::new(config.clone()).ping(&server.host).unwrap_err();
        let (text, said) = (e.to_string(), e.hint().unwrap());
        assert!(matches!(e, Error::Certificate { .. }), "{e:?}");
        assert!(text.contains(part) && text.contains(&format!("for `{}`", server.host)), "{text}");
        assert!(text.contains("our client certificate") && text.contains(what), "{text}");
        assert!(said.contains(hint), "{said}");
    };
    let write = |name: &str, text: &str| fs::write(certs.join(name), text).unwrap();
    // The server's own pair is as good as any that the authority signed.
    fs::copy(at.join("server.pem"), certs.join("client.cert")).unwrap();
    fails("client.key`", "No such file", "client.cert` was made with");
    write("client.key", "nothing");
    fails("client.key`", "no key in PEM", "BEGIN PRIVATE KEY");
    let openssl = |args: &[&str]| run(Command::new("openssl").current_dir(at).args(args));
    openssl(&["pkcs8", "-topk8", "-in", "server.key", "-passout", "pass:x", "-out", "locked.key"]);
    fs::copy(at.join("locked.key"), certs.join("client.key")).unwrap();
    fails("client.key`", "is encrypted", "openssl pkey -in");
    write("client.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    fails("client.key`", "is damaged", "RSA");
    fs::copy(at.join("ca.key"), certs.join("client.key")).unwrap();
    fails("client.cert`", "client.key` is not its key", "openssl pkey -pubout");
    for text in ["nothing", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"] {
        write("client.cert", text);
        fails("client.cert`", "certificate in PEM", "openssl x509 -inform DER");
    }
    fs::copy(at.join("server.key"), certs.join("client.key")).unwrap();
    write("client.cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    fails("client.cert`", "is not its key", "openssl x509");
    fs::remove_file(certs.join("client.cert")).unwrap();
    fs::create_dir(certs.join("client.cert")).unwrap();
    fails("client.cert`", "directory", "see what");
    fs::remove_dir(certs.join("client.cert")).unwrap();
    fs::copy(at.join("server.pem"), certs.join("client.cert")).unwrap();
    Client::new(config.clone()).ping(&server.host).unwrap();
    // Of an authority the same is said, but that it is not ours.
    write("old.crt", "");
    let e = Client::new(config.clone()).ping(&server.host).unwrap_err();
    assert!(e.to_string().contains(&format!("old.crt`, an authority for `{}`", server.host)), "{e}");
}

#[test]
fn with_a_certificate_of_version_1() {
    let server = start_with(true, false, true);
    let at = server.dir.path();
    let certs = at.join("certs.d").join(&server.host);
    fs::create_dir_all(&certs).unwrap();
    let mut config = config();
    config.hosts.certs_dirs.push(at.join("certs.d"));
    fs::copy(at.join("ca.pem"), certs.join("ca.crt")).unwrap();
    let openssl = |args: &[&str]| run(Command::new("openssl").current_dir(at).args(args));
    for key in [&["rsa:2048"][..], &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &["ed25519"]] {
        let mut ask =
            vec!["req", "-new", "-nodes", "-subj", "/CN=me", "-keyout", "own.key", "-out", "own.csr"];
        ask.push("-newkey");
        ask.extend(key);
        openssl(&ask);
        let is_version_1 = || {
            let text = openssl(&["x509", "-in", "own.pem", "-noout", "-text"]);
            String::from_utf8_lossy(&text).contains("Version: 1 ")
        };
        let authority = ["-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "own.pem"];
        openssl(&[&["x509", "-req", "-CAcreateserial"], &authority[..]].concat());
        if !is_version_1() {
            // openssl 3.2 and later has to be told.
            openssl(&[&["req", "-x509", "-x509v1"], &authority[..]].concat());
        }
        assert!(is_version_1());
        fs::copy(at.join("own.pem"), certs.join("client.cert")).unwrap();
        fs::copy(at.join("own.key"), certs.join("client.key")).unwrap();
        Client::new(config.clone()).ping(&server.host).unwrap_or_else(|e| panic!("{key:?}: {e:?}"));
        // Of this one, too, it is seen that a key is another's.
        fs::copy(at.join("server.key"), certs.join("client.key")).unwrap();
        let e = Client::new(config.clone()).ping(&server.host).unwrap_err();
        assert!(e.to_string().contains("is not its key"), "{e}");
    }
    // The server itself may have no such certificate.
    fs::copy(at.join("own.key"), certs.join("client.key")).unwrap();
    fs::remove_file(certs.join("ca.crt")).unwrap();
    let e = Client::new(config).ping(&server.host).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::Certificate), "{e:?}");
}
