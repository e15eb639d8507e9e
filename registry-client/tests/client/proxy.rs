//! A registry that is reached by a proxy alone: CONNECT and SOCKS 5, with a login and with refusals.

use std::error::Error as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_registry_client::{
    Authorities, Client, ClientConfig, Error, PushOutcome, Repository, TransportKind,
};

use crate::tls::{free, registry, self_signed};
use crate::{config, noise, push};

/// A name that no server of names knows.
const NAME: &str = "registry.example.invalid";

/// What the proxy does.
#[derive(Clone, Copy)]
enum Manner {
    /// CONNECT for whoever has this login.
    Connect(Option<&'static str>),
    /// CONNECT is answered with this.
    Refuse(&'static str),
    Socks,
}

/// A proxy to the one host; it says what it was asked for.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(manner: Manner, to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, to) = (Arc::clone(&asked), to.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, to) = (Arc::clone(&log), to.clone());
                std::thread::spawn(move || drop(serve(stream, manner, &to, &log)));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, manner: Manner, to: &str, log: &Mutex<Vec<String>>) -> io::Result<()> {
    match manner {
        Manner::Socks => {
            let mut head = [0; 2];
            client.read_exact(&mut head)?;
            client.read_exact(&mut vec![0; usize::from(head[1])])?;
            client.write_all(&[5, 0])?;
            let mut ask = [0; 5];
            client.read_exact(&mut ask)?;
            let mut name = vec![0; usize::from(ask[4])];
            client.read_exact(&mut name)?;
            let mut port = [0; 2];
            client.read_exact(&mut port)?;
            log.lock().unwrap().push(format!(
                "{}:{}",
                String::from_utf8_lossy(&name),
                u16::from_be_bytes(port)
            ));
            client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1])?;
        }
        Manner::Connect(_) | Manner::Refuse(_) => {
            let mut lines = BufReader::new(client.try_clone()?);
            let (mut first, mut login) = (String::new(), None);
            lines.read_line(&mut first)?;
            loop {
                let mut line = String::new();
                lines.read_line(&mut line)?;
                match line.trim_end().split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("proxy-authorization") => {
                        login = Some(value.to_owned());
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            log.lock().unwrap().push(first.trim_end().to_owned());
            let answer = match manner {
                Manner::Connect(Some(right)) if login.as_deref() != Some(&basic(right)) => {
                    "407 Proxy Authentication Required"
                }
                Manner::Refuse(answer) => answer,
                _ => "200 OK",
            };
            client.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
            if !answer.starts_with("200") {
                return Ok(());
            }
        }
    }
    let server = TcpStream::connect(to)?;
    let (mut from, mut into) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Write);
    });
    io::copy(&mut &server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn basic(login: &str) -> String {
    format!("Basic {}", STANDARD.encode(login))
}

/// A client that trusts the registry and goes by the proxy.
fn through(dir: &std::path::Path, proxy: &str) -> ClientConfig {
    let mut config = config();
    config.hosts.extra_ca = Authorities::of(fs::read(dir.join("r.crt")).unwrap());
    config.proxies.https = Some(proxy.to_owned());
    config
}

#[test]
fn a_registry_behind_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    self_signed(dir.path(), "r", &format!("DNS:{NAME}"), &[]);
    let (_server, host) = registry(dir.path(), "r");
    let (connect, socks) =
        (Proxy::start(Manner::Connect(Some("user:p@ss")), &host), Proxy::start(Manner::Socks, &host));
    for (url, proxy) in [
        (format!("http://user:p%40ss@{}", connect.address), &connect),
        (format!("socks5h://{}", socks.address), &socks),
    ] {
        let client = Client::new(through(dir.path(), &url));
        let repo = Repository::new(NAME, "x").unwrap();
        let bytes = noise(2_000_000);
        push(&client, &repo, &bytes, &[]).unwrap();
        assert_eq!(push(&client, &repo, &bytes, &[]).unwrap(), PushOutcome::Existed);
        let asked = proxy.asked();
        assert!(asked.iter().all(|line| line.contains(&format!("{NAME}:443"))), "{asked:?}");
        assert!(asked.len() <= 4, "connections are used again: {asked:?}");
    }
    // Left out, it is looked for directly.
    let mut direct = through(dir.path(), &format!("http://user:p%40ss@{}", connect.address));
    direct.proxies.no_proxy = Some(".invalid".to_owned());
    let e = Client::new(direct).ping(NAME).unwrap_err();
    assert_eq!(e.transport_kind(), Some(TransportKind::Resolve), "{e:?}");
}

#[test]
fn proxies_that_say_no_are_named() {
    let dir = tempfile::tempdir().unwrap();
    self_signed(dir.path(), "r", &format!("DNS:{NAME}"), &[]);
    let login = Proxy::start(Manner::Connect(Some("user:other")), "127.0.0.1:1");
    let broken = Proxy::start(Manner::Refuse("502 Bad Gateway"), "127.0.0.1:1");
    let nobody = free();
    for (proxy, kind, temporary) in [
        (&login.address, TransportKind::ProxyLogin, false),
        (&broken.address, TransportKind::Proxy, true),
        (&nobody, TransportKind::Proxy, true),
    ] {
        let client = Client::new(through(dir.path(), &format!("http://user:hunter2@{proxy}")));
        let e = client.ping(NAME).unwrap_err();
        assert_eq!((e.transport_kind(), e.is_temporary()), (Some(kind), temporary), "{e:?}");
        let all = format!("{e}: {} ({})", e.source().unwrap(), e.hint().unwrap());
        assert!(all.contains(&format!("proxy `{proxy}`")) && !all.contains("hunter2"), "{all}");
    }
    assert_eq!(login.asked().len(), 1, "a refused login is not tried again");
    // The same over plain HTTP, where the proxy answers in the registry's place.
    let mut config = config();
    config.proxies.http = Some(format!("http://user:hunter2@{}", login.address));
    config.hosts.insecure.push(NAME.to_owned());
    let e = Client::new(config).ping(NAME).unwrap_err();
    assert!(
        matches!(&e, Error::Transport { kind: TransportKind::ProxyLogin | TransportKind::Resolve, .. }),
        "{e:?}"
    );
    for bad in ["ftp://user:hunter2@proxy.example", "http://"] {
        let e = Client::new(through(dir.path(), bad)).ping(NAME).unwrap_err();
        assert!(matches!(&e, Error::Config { .. }) && !e.to_string().contains("hunter2"), "{e:?}");
    }
}
