//! Certificates of every kind that openssl makes, in front of Debian's `docker-registry`.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orlop_registry_client::{
    Authorities, Client, Error, PushOutcome, Repository, TagOrDigest, TransportKind,
};
use orlop_store::media_type;

use crate::real::run;
use crate::{config, layer, noise, push, read};

/// A program that dies with the test.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, host: &str) -> Server {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}")));
    let begin = Instant::now();
    while TcpStream::connect(host).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20), "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

pub(crate) fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// One certificate that signs itself, as Docker's manual makes it: `NAME.crt` and `NAME.key`.
pub(crate) fn self_signed(dir: &Path, name: &str, names: &str, more: &[&str]) {
    let (key, out) = (format!("{name}.key"), format!("{name}.crt"));
    let alt = format!("subjectAltName={names}");
    let mut command = Command::new("openssl");
    command
        .current_dir(dir)
        .args(["req", "-newkey", "rsa:2048", "-nodes", "-sha256", "-x509", "-subj", "/CN=r"]);
    run(command.args(["-keyout", &key, "-out", &out, "-addext", &alt]).args(more));
}

/// A registry with that certificate.
pub(crate) fn registry(dir: &Path, name: &str) -> (Server, String) {
    let host = free();
    let text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {0}/data\n\
         http:\n  addr: {host}\n  tls:\n    certificate: {0}/{name}.crt\n    key: {0}/{name}.key\n",
        dir.display()
    );
    fs::write(dir.join("config.yml"), text).unwrap();
    let mut command = Command::new("docker-registry");
    (start(command.args(["serve", "config.yml"]).current_dir(dir), &host), host)
}

/// What comes of asking when the certificate is trusted.
fn ping(dir: &Path, name: &str, host: &str) -> Result<(), Error> {
    let mut config = config();
    config.hosts.extra_ca = Authorities::of(fs::read(dir.join(format!("{name}.crt"))).unwrap());
    Client::new(config).ping(host)
}

fn kind(result: Result<(), Error>) -> Option<TransportKind> {
    result.err().map(|e| e.transport_kind().unwrap_or_else(|| panic!("{e:?}")))
}

#[test]
fn a_server_may_vouch_for_itself_if_its_certificate_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for (name, more) in [("plain", &[][..]), ("leaf", &["-addext", "basicConstraints=critical,CA:FALSE"])] {
        self_signed(at, name, "IP:127.0.0.1,DNS:localhost", more);
        let (_server, host) = registry(at, name);
        ping(at, name, &host).unwrap();
        ping(at, name, &host.replace("127.0.0.1", "localhost")).unwrap();
        // Not given, and another one of the same name.
        let e = Client::new(config()).ping(&host).unwrap_err();
        assert_eq!(e.transport_kind(), Some(TransportKind::Certificate), "{name}");
        assert!(e.hint().unwrap().contains(&format!("certs.d/{host}/ca.crt")), "{e:?}");
        self_signed(at, "other", "IP:127.0.0.1", more);
        assert_eq!(kind(ping(at, "other", &host)), Some(TransportKind::Certificate), "{name}");
    }
}

#[test]
fn certificates_of_another_name_or_time() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "elsewhere", "DNS:registry.example", &[]);
    let (server, host) = registry(at, "elsewhere");
    let e = ping(at, "elsewhere", &host).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::CertificateName), "{e:?}");
    let said = std::error::Error::source(&e).unwrap().to_string();
    assert!(said.contains("registry.example"), "{said}");
    assert!(e.hint().unwrap().contains("a name that the certificate is for"), "{e:?}");
    drop(server);
    // Its time ends while we look.
    let mut command = Command::new("openssl");
    self_signed(at, "old", "IP:127.0.0.1", &[]);
    command
        .current_dir(at)
        .args(["x509", "-in", "old.crt", "-signkey", "old.key", "-days", "0", "-out", "late.crt"]);
    run(&mut command);
    fs::copy(at.join("late.crt"), at.join("old.crt")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let (_server, host) = registry(at, "old");
    let e = ping(at, "old", &host).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::CertificateTime), "{e:?}");
    assert!(e.hint().unwrap().contains("renewed"), "{e:?}");
}

#[test]
fn tls_of_other_versions() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "r", "IP:127.0.0.1", &[]);
    for (version, works) in [("-tls1_2", true), ("-tls1_3", true), ("-tls1_1", false)] {
        let host = free();
        let mut command = Command::new("openssl");
        command
            .current_dir(at)
            .args(["s_server", "-quiet", "-www", "-cert", "r.crt", "-key", "r.key", version]);
        let _server = start(command.args(["-cipher", "ALL:@SECLEVEL=0", "-accept", &host]), &host);
        let result = ping(at, "r", &host);
        if works {
            result.unwrap_or_else(|e| panic!("{version}: {e:?}"));
        } else {
            let e = result.unwrap_err();
            assert_eq!(e.transport_kind(), Some(TransportKind::TlsVersion), "{version}");
            let hint = e.hint().unwrap();
            assert!(hint.contains("TLS 1.2 or 1.3") && !hint.contains("certificate"), "{hint}");
        }
    }
}

/// Passes connections on, and counts them.
fn counting(to: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
    let (to, counter) = (to.to_owned(), Arc::clone(&count));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect(&to).unwrap();
            for (mut from, mut into) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut into);
                    let _ = into.shutdown(Shutdown::Both);
                });
            }
        }
    });
    (address, count)
}

#[test]
fn connections_serve_again_over_both_versions_of_http() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    self_signed(at, "r", "IP:127.0.0.1", &[]);
    let (_server, host) = registry(at, "r");
    for http2 in [true, false] {
        let (address, count) = counting(&host);
        let mut config = config();
        config.hosts.extra_ca = Authorities::of(fs::read(at.join("r.crt")).unwrap());
        config.http2 = http2;
        let client = Client::new(config);
        let repo = Repository::new(&address, format!("x{http2}")).unwrap();
        let (next, image) = (
            AtomicUsize::new(0),
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        );
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let i @ 0..40 = next.fetch_add(1, Ordering::SeqCst) {
                        let mut bytes = noise(20_000 + i);
                        bytes[0] = http2.into();
                        assert_eq!(push(&client, &repo, &bytes, &[]).unwrap(), PushOutcome::Uploaded);
                        assert_eq!(read(&client, &repo, &layer(&bytes)).unwrap(), bytes);
                    }
                });
            }
        });
        client.push_manifest(&repo, &TagOrDigest::Tag("1".into()), media_type::OCI_INDEX, image).unwrap();
        let count = count.load(Ordering::SeqCst);
        // Four at a time send, four read, and what is small goes by connections of its own.
        assert!(count <= 16, "{count} connections for 40 blobs");
    }
}
