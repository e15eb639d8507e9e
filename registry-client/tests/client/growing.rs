//! Uploads of blobs that are still being made.

use std::cell::Cell;
use std::io::{self, Read};

use crate::{client, fake, layer, noise, repo};
use orlop_registry_client::fake::{FakeConfig, FakeRegistry, Fault};
use orlop_registry_client::{Client, Error, PushOutcome};
use orlop_store::Digest;

/// Gives bytes in small reads, as something does that is being made.
struct Trickle(Vec<u8>, usize);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.0.get(self.1..).unwrap_or_default();
        let count = left.len().min(buffer.len()).min(7_001);
        buffer[..count].copy_from_slice(&left[..count]);
        self.1 += count;
        Ok(count)
    }
}

fn grow(client: &Client, registry: &FakeRegistry, bytes: &[u8]) -> Result<PushOutcome, Error> {
    let source = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Trickle(bytes.to_vec(), 0))) };
    let asked = Cell::new(0);
    let whole = || {
        asked.set(asked.get() + 1);
        Ok(layer(bytes))
    };
    let outcome = client.push_growing(&repo(registry, "x"), &source, &whole, &|_| ());
    assert!(asked.get() <= 1);
    outcome
}

#[test]
fn it_goes_in_one_stream_and_is_named_at_the_end() {
    let registry = fake(FakeConfig::default());
    for bytes in [noise(3_000_000), Vec::new(), b"x".to_vec(), noise(128 * 1024)] {
        registry.clear_log();
        assert_eq!(grow(&client(), &registry, &bytes).unwrap(), PushOutcome::Uploaded);
        assert_eq!(registry.blob("x", Digest::of(&bytes)).unwrap(), bytes);
        let sent: u64 = registry.log().iter().map(|l| l.body).sum();
        assert_eq!(sent, bytes.len() as u64, "every byte is sent once");
    }
    let patch = registry.logged("PATCH", "");
    assert_eq!(
        (patch.len(), patch[0].header("content-length"), patch[0].header("content-range")),
        (1, None, None)
    );
}

#[test]
fn whatever_goes_wrong_it_arrives() {
    let bytes = noise(3_000_000);
    let status = |status, code| Fault::Status(status, code, vec![]);
    for (name, method, fault) in [
        ("cut and kept", "PATCH", Fault::CutUpload(1_000_000, true)),
        ("cut and forgotten", "PATCH", Fault::CutUpload(1_000_000, false)),
        ("closed", "PATCH", Fault::Close),
        ("answer lost", "PATCH", Fault::Forget),
        ("a proxy that wants to know the length", "PATCH", status(411, "")),
        ("no PATCH here", "PATCH", status(405, "UNSUPPORTED")),
        ("too large for a proxy", "PATCH", status(413, "")),
        ("bad gateway", "PATCH", status(502, "")),
        ("session lost", "PATCH", status(404, "BLOB_UPLOAD_UNKNOWN")),
        ("session refused once", "POST", status(503, "UNAVAILABLE")),
        ("the end is lost", "PUT", Fault::Forget),
        ("the end is refused once", "PUT", status(500, "UNKNOWN")),
        ("session lost at the end", "PUT", status(404, "BLOB_UPLOAD_UNKNOWN")),
        ("damaged on the way", "PUT", status(400, "DIGEST_INVALID")),
    ] {
        let registry = fake(FakeConfig::default());
        registry.fault(method, "/blobs/", 0, 1, fault);
        let outcome = grow(&client(), &registry, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(outcome, PushOutcome::Uploaded, "{name}");
        assert_eq!(registry.blob("x", Digest::of(&bytes)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_refusal_is_told_at_once_and_a_failure_to_make_it_as_well() {
    let registry = fake(FakeConfig::default());
    registry.fault("POST", "/blobs/", 0, u32::MAX, Fault::Status(403, "DENIED", vec![]));
    let source = || -> io::Result<Box<dyn Read + Send>> { panic!("nothing is read") };
    let whole = || panic!("nothing is waited for");
    let error = client().push_growing(&repo(&registry, "x"), &source, &whole, &|_| ()).unwrap_err();
    assert_eq!(error.status(), Some(403));

    let registry = fake(FakeConfig::default());
    let source =
        || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Trickle(vec![1; 300_000], 0).chain(Broken))) };
    let error = client().push_growing(&repo(&registry, "x"), &source, &whole, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Source { digest: None, .. }), "{error:?}");
    assert!(registry.logged("PUT", "").is_empty());
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("no more"))
    }
}
