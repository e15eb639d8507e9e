//! A proxy between client and `docker-registry` that cuts connections after so many bytes, in either
//! direction: whatever it cuts, a push and a pull end well, with the right bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop_registry_client::{Client, PushOutcome, Repository, TagOrDigest};
use orlop_store::{Descriptor, media_type};

use crate::real::start;
use crate::{config, layer, noise, push, read};

/// Bytes that the next connections may carry, up and down.
type Limits = Arc<Mutex<Vec<(u64, u64)>>>;

fn copy(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64) {
    let mut buf = [0; 16 * 1024];
    while let Ok(n) = from.read(&mut buf) {
        let may = left.load(Ordering::SeqCst).min(n as u64);
        left.fetch_sub(may, Ordering::SeqCst);
        if n == 0 || to.write_all(&buf[..may as usize]).is_err() || may < n as u64 {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Listens before `upstream`; each connection takes the next limits, and none when there are no more.
fn proxy(upstream: String, limits: Limits) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&upstream)) else { return };
            let (up, down) = limits.lock().unwrap().pop().unwrap_or((u64::MAX, u64::MAX));
            let (c, s) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || copy(c, s, &AtomicU64::new(up)));
            std::thread::spawn(move || copy(server, client, &AtomicU64::new(down)));
        }
    });
    host
}

#[test]
fn connections_cut_anywhere() {
    let server = start(false, true);
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let limits: Limits = Arc::default();
    let host = proxy(server.host.clone(), Arc::clone(&limits));
    for round in 0..18 {
        let mut config = config();
        config.retries.count = 12;
        config.timeouts.stall = Duration::from_secs(5);
        let login = orlop_registry_client::Credential::Basic { user: "u".into(), password: "hunter2".into() };
        config.credentials.add(&host, login);
        let client = Client::new(config);
        // From the first bytes of a head to the middle of a body, up and down.
        let scale = [300, 3_000, 1_000_000][round % 3];
        *limits.lock().unwrap() = (0..8).map(|_| (random(scale), random(scale))).collect();
        let repo = Repository::new(&host, format!("r{round}")).unwrap();
        let mut bytes = noise(2_000_000);
        bytes[0] = round as u8;
        let outcome = push(&client, &repo, &bytes, &[]).unwrap_or_else(|e| panic!("round {round}: {e}"));
        // An answer that was lost makes an upload look like one that was there.
        assert!(matches!(outcome, PushOutcome::Uploaded | PushOutcome::Existed));
        let small = format!("{{\"round\":{round}}}").into_bytes();
        push(&client, &repo, &small, &[]).unwrap();
        let image = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": Descriptor::of(media_type::OCI_CONFIG, &small),
            "layers": [Descriptor::of(media_type::OCI_LAYER, &bytes)],
        });
        let image = serde_json::to_vec(&image).unwrap();
        let tag = TagOrDigest::Tag("t".into());
        client.push_manifest(&repo, &tag, media_type::OCI_MANIFEST, &image).unwrap();
        *limits.lock().unwrap() = (0..8).map(|_| (random(scale * 4), random(scale * 4))).collect();
        assert_eq!(client.manifest(&repo, &tag).unwrap().bytes, image, "round {round}");
        assert_eq!(read(&client, &repo, &layer(&bytes)).unwrap(), bytes, "round {round}");
        limits.lock().unwrap().clear();
    }
}
