//! Logins: who is told what, and who is not.

use crate::{client, config, fake, layer, noise, push, read, repo, watched};
use orlop_registry_client::auth::{Checked, LoginTarget};
use orlop_registry_client::fake::{FakeAuth, FakeConfig, FakeRegistry, Fault};
use orlop_registry_client::{Client, Credential, Error, PushOutcome, TagOrDigest};
use orlop_store::media_type;

const IMAGE: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn login() -> Credential {
    Credential::Basic { user: "u".into(), password: "hunter2".into() }
}

fn identity() -> Credential {
    Credential::IdentityToken { user: "u".into(), token: "identity".into() }
}

fn logged_in(registry: &FakeRegistry, credential: Credential) -> Client {
    let mut config = config();
    config.credentials.add(&registry.host(), credential);
    Client::new(config)
}

fn bearer(uses: u32, field: &'static str) -> FakeAuth {
    let (login, identity) = (Some(("u".into(), "hunter2".into())), Some("identity".into()));
    FakeAuth::Bearer { login, identity, field, promised: 300, uses }
}

fn one() -> TagOrDigest {
    TagOrDigest::Tag("1".into())
}

#[test]
fn basic_from_config_json() {
    let registry =
        fake(FakeConfig { auth: FakeAuth::Basic("u".into(), "hunter2".into()), ..FakeConfig::default() });
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let mut config = config();
    // base64 of `u:hunter2`
    let file = format!(r#"{{"auths":{{"{}":{{"auth":"dTpodW50ZXIy"}}}}}}"#, registry.host());
    config.credentials.add_file("config.json", file.as_bytes()).unwrap();
    let client = Client::new(config);
    client.ping(&registry.host()).unwrap();
    client.manifest(&repo(&registry, "x"), &one()).unwrap();
    assert_eq!(push(&client, &repo(&registry, "x"), &noise(1000), &[]).unwrap(), PushOutcome::Uploaded);
    // Asked once, known from then on.
    assert_eq!(registry.log().iter().filter(|l| l.status == 401).count(), 1);
}

#[test]
fn refusals_say_how_to_log_in_and_never_show_the_password() {
    for auth in [FakeAuth::Basic("u".into(), "other".into()), bearer(9, "token")] {
        let wrong = matches!(auth, FakeAuth::Basic(..));
        let registry = fake(FakeConfig { auth, ..FakeConfig::default() });
        registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
        let password = Credential::Basic { user: "u".into(), password: "hunter3".into() };
        for client in [client(), logged_in(&registry, password)] {
            let e = client.manifest(&repo(&registry, "x"), &one()).unwrap_err();
            assert_eq!(e.status(), Some(401), "{e}");
            let all = format!("{e} {e:?} {:?} {client:?}", e.hint());
            assert!(all.contains(&format!("orlop login {}", registry.host())), "{all}");
            assert!(!all.contains("hunter") && !all.contains("aHVudGVy"), "{all}");
            assert!(wrong || matches!(e, Error::Auth { .. }), "{e:?}");
        }
    }
}

#[test]
fn tokens_by_password_and_by_identity_token() {
    for field in ["token", "access_token"] {
        for credential in [login(), identity()] {
            let registry = fake(FakeConfig { auth: bearer(1000, field), ..FakeConfig::default() });
            registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
            let client = logged_in(&registry, credential.clone());
            client.manifest(&repo(&registry, "x"), &one()).unwrap();
            client.manifest(&repo(&registry, "x"), &one()).unwrap();
            assert_eq!(registry.logged("GET", "/token").len() + registry.logged("POST", "/token").len(), 1);
            push(&client, &repo(&registry, "x"), &noise(100_000), &[]).unwrap();
            assert!(registry.log().iter().filter(|l| l.target.starts_with("/token")).count() <= 2);
        }
    }
}

#[test]
fn anonymous_tokens_pull() {
    let auth = FakeAuth::Bearer { login: None, identity: None, field: "token", promised: 300, uses: 99 };
    let registry = fake(FakeConfig { auth, redirect_blobs: true, ..FakeConfig::default() });
    let bytes = noise(1000);
    registry.put_blob("x", &bytes);
    assert_eq!(read(&client(), &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
}

#[test]
fn tokens_that_end_in_the_middle_are_renewed() {
    // A token is good for one request: every further one, the body's PUT too, is refused at first.
    let registry = fake(FakeConfig { auth: bearer(1, "token"), ..FakeConfig::default() });
    let client = logged_in(&registry, login());
    let bytes = noise(2_000_000);
    assert_eq!(push(&client, &repo(&registry, "x"), &bytes, &[]).unwrap(), PushOutcome::Uploaded);
    assert_eq!(registry.blob("x", layer(&bytes).digest).unwrap(), bytes);
    assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
    client.push_manifest(&repo(&registry, "x"), &one(), media_type::OCI_MANIFEST, IMAGE).unwrap();
    let puts: Vec<u16> = registry.logged("PUT", "/blobs/").iter().map(|l| l.status).collect();
    assert_eq!(puts, [401, 201]);
}

#[test]
fn a_token_that_is_refused_without_a_word_is_renewed_once_or_twice() {
    let registry = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let client = logged_in(&registry, login());
    client.manifest(&repo(&registry, "x"), &one()).unwrap();
    registry.fault("GET", "/manifests/", 0, 1, Fault::Status(401, "UNAUTHORIZED", vec![]));
    client.manifest(&repo(&registry, "x"), &one()).unwrap();
    registry.fault("PUT", "/uploads/", 0, 1, Fault::Status(401, "UNAUTHORIZED", vec![]));
    push(&client, &repo(&registry, "x"), &noise(100_000), &[]).unwrap();
    registry.fault("GET", "/manifests/", 0, 99, Fault::Status(401, "UNAUTHORIZED", vec![]));
    let e = client.manifest(&repo(&registry, "x"), &one()).unwrap_err();
    assert!(e.status() == Some(401) && e.hint().unwrap().contains("`u` may not"), "{e}");
    assert!(registry.logged("GET", "/manifests/").len() < 8);
}

#[test]
fn a_password_goes_to_no_token_server_in_the_clear() {
    let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
    let challenge = "Bearer realm=\"http://tokens.example/token\",service=\"x\"".to_owned();
    let fault = Fault::Status(401, "UNAUTHORIZED", vec![("WWW-Authenticate", challenge)]);
    registry.fault("GET", "/v2/", 0, 99, fault);
    let e = logged_in(&registry, login()).manifest(&repo(&registry, "x"), &one()).unwrap_err();
    assert!(e.to_string().contains("in the clear"), "{e}");
    assert!(e.hint().unwrap().contains("--insecure-registry"), "{e}");
}

#[test]
fn a_registry_that_wants_more_rights_gets_a_token_for_them() {
    let registry = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"fake\",scope=\"repository:x:pull registry:catalog:*\"",
        registry.storage_host()
    );
    let fault = Fault::Status(401, "UNAUTHORIZED", vec![("WWW-Authenticate", challenge)]);
    registry.fault("GET", "/manifests/", 0, 1, fault);
    logged_in(&registry, login()).manifest(&repo(&registry, "x"), &one()).unwrap();
    let asked = registry.logged("GET", "/token").pop().unwrap().target;
    assert!(asked.contains("scope=repository%3Ax%3Apull&scope=registry%3Acatalog%3A*"), "{asked}");
}

#[test]
fn a_registry_that_names_the_token_server_of_another_gets_its_own_login_there_and_no_more() {
    let other = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
    let hostile = fake(FakeConfig::default());
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"fake\"", other.storage_host());
    let fault = Fault::Status(401, "UNAUTHORIZED", vec![("WWW-Authenticate", challenge)]);
    hostile.fault("GET", "/v2/", 0, 99, fault);
    let theirs = Credential::Basic { user: "theirs".into(), password: "known to them".into() };
    for credential in [None, Some(theirs)] {
        let mut config = config();
        config.credentials.add(&other.host(), login());
        if let Some(credential) = credential {
            config.credentials.add(&hostile.host(), credential);
        }
        Client::new(config).manifest(&repo(&hostile, "x"), &one()).unwrap_err();
    }
    // base64 of `u:hunter2`, what the other registry knows us by.
    for l in hostile.log().iter().chain(&other.log()) {
        assert!(!l.header("authorization").unwrap_or_default().contains("dTpodW50ZXIy"), "{l:?}");
    }
    assert!(other.log().iter().any(|l| l.header("authorization").is_some()));
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let registry = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
    let bytes = noise(1000);
    registry.put_blob("base", &bytes);
    let outcome = push(&logged_in(&registry, login()), &repo(&registry, "out"), &bytes, &["base"]);
    assert_eq!(outcome.unwrap(), PushOutcome::Mounted);
    let asked = registry.logged("GET", "/token").pop().unwrap().target;
    assert!(asked.contains("scope=repository%3Aout%3Apull%2Cpush&scope=repository%3Abase%3Apull"), "{asked}");
}

#[test]
fn credentials_never_follow_a_redirect() {
    for auth in [FakeAuth::Basic("u".into(), "hunter2".into()), bearer(1000, "token")] {
        let registry = fake(FakeConfig { auth, redirect_blobs: true, ..FakeConfig::default() });
        let elsewhere = fake(FakeConfig::default());
        let bytes = noise(1000);
        registry.put_blob("x", &bytes);
        elsewhere.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
        let client = logged_in(&registry, login());
        assert_eq!(read(&client, &repo(&registry, "x"), &layer(&bytes)).unwrap(), bytes);
        let to = format!("http://{}/v2/x/manifests/1", elsewhere.host());
        registry.fault("GET", "/manifests/", 0, 9, Fault::Redirect(307, to));
        client.manifest(&repo(&registry, "x"), &one()).unwrap();
        assert!(registry.log().iter().any(|l| l.storage && l.target.starts_with("/store/")));
        for l in registry.log().iter().filter(|l| l.target.starts_with("/store/")).chain(&elsewhere.log()) {
            assert!(l.header("authorization").is_none(), "{l:?}");
        }
    }
}

#[test]
fn another_host_that_asks_for_a_login_gets_none() {
    let registry = fake(FakeConfig::default());
    let auth = FakeAuth::Basic("u".into(), "hunter2".into());
    let elsewhere = fake(FakeConfig { auth, ..FakeConfig::default() });
    let to = format!("http://{}/v2/x/manifests/1", elsewhere.host());
    registry.fault("GET", "/manifests/", 0, 9, Fault::Redirect(307, to));
    let client = logged_in(&registry, login());
    let e = client.manifest(&repo(&registry, "x"), &one()).unwrap_err();
    assert_eq!(e.status(), Some(401));
    assert!(elsewhere.log().iter().all(|l| l.header("authorization").is_none()));
}

#[test]
fn a_token_server_that_misbehaves_is_named() {
    for (fault, says) in [
        (Fault::Status(403, "DENIED", vec![]), "403 DENIED"),
        (Fault::Garbage, "/token"),
        (Fault::Shorten(5), "did not answer in JSON"),
    ] {
        let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
        registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
        registry.fault("GET", "/token", 0, 99, fault);
        let e = logged_in(&registry, login()).manifest(&repo(&registry, "x"), &one()).unwrap_err();
        let source = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
        assert!(e.to_string().contains(&registry.host()) && source.contains(says), "{e}: {source}");
    }
    let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
    registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
    registry.fault("GET", "/token", 0, 2, Fault::Status(503, "UNAVAILABLE", vec![]));
    logged_in(&registry, login()).manifest(&repo(&registry, "x"), &one()).unwrap();
}

#[test]
fn a_token_server_without_the_one_method_is_asked_by_the_other() {
    for (credential, without, other) in [(login(), "GET", "POST"), (identity(), "POST", "GET")] {
        for status in [404, 405] {
            let registry = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
            registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
            registry.fault(without, "/token", 0, 99, Fault::Status(status, "UNSUPPORTED", vec![]));
            logged_in(&registry, credential.clone()).manifest(&repo(&registry, "x"), &one()).unwrap();
            let answers: Vec<u16> = registry.logged(other, "/token").iter().map(|l| l.status).collect();
            assert_eq!(answers, [200], "{credential:?} {status}");
        }
    }
}

#[test]
fn a_login_that_is_tried_asks_for_an_identity_token() {
    let target = |registry: &FakeRegistry, name: &str| {
        LoginTarget::parse(&format!("{}{name}", registry.host())).unwrap()
    };
    for without in ["none", "GET"] {
        let registry = fake(FakeConfig { auth: bearer(1000, "token"), ..FakeConfig::default() });
        registry.fault(without, "/token", 0, 99, Fault::Status(405, "UNSUPPORTED", vec![]));
        let checked = logged_in(&registry, login()).check_login(&target(&registry, "")).unwrap();
        assert_eq!(checked, Checked { asked: true, identity: Some(identity()) });
        let checked = logged_in(&registry, identity()).check_login(&target(&registry, "/x"));
        assert!(checked.is_ok() || without == "GET", "{checked:?}");
    }
    let open = fake(FakeConfig::default());
    let checked = logged_in(&open, login()).check_login(&target(&open, "")).unwrap();
    assert_eq!(checked, Checked { asked: false, identity: None });
    for auth in [
        FakeAuth::Basic("u".into(), "other".into()),
        FakeAuth::Bearer {
            login: Some(("u".into(), "other".into())),
            identity: None,
            field: "token",
            promised: 300,
            uses: 99,
        },
    ] {
        let registry = fake(FakeConfig { auth, ..FakeConfig::default() });
        let e = logged_in(&registry, login()).check_login(&target(&registry, "/x")).unwrap_err();
        assert_eq!(e.status(), Some(401), "{e}");
    }
}

#[test]
fn a_token_server_cannot_send_a_login_elsewhere() {
    for credential in [login(), identity()] {
        for status in [301, 302, 303, 307, 308] {
            let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
            let elsewhere = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
            registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
            let to = format!("http://{}/token", elsewhere.storage_host());
            for method in ["GET", "POST"] {
                registry.fault(method, "/token", 0, 99, Fault::Redirect(status, to.clone()));
            }
            let e = logged_in(&registry, credential.clone()).manifest(&repo(&registry, "x"), &one());
            let e = e.unwrap_err();
            assert!(e.to_string().contains(&registry.host()), "{e}");
            for l in elsewhere.log() {
                assert!(l.body == 0 && l.header("authorization").is_none(), "{status} {l:?}");
                assert!(!l.target.contains("hunter2") && !l.target.contains("identity"), "{l:?}");
            }
        }
    }
}

#[test]
fn what_a_server_sends_back_of_a_login_is_masked() {
    let secrets = ["hunter2", "dTpodW50ZXIy", "token-"];
    for (method, path) in
        [("GET", "/manifests/"), ("GET", "/token"), ("POST", "/uploads/"), ("PUT", "/uploads/")]
    {
        for fault in [
            Fault::Status(403, "hunter2", vec![]),
            Fault::Redirect(307, "http://127.0.0.1:1/v2/hunter2/dTpodW50ZXIy/x".into()),
            Fault::Redirect(307, "ftp://hunter2/".into()),
            Fault::Header("Content-Type", "text/hunter2".into()),
            Fault::Header("Docker-Content-Digest", "sha256:hunter2".into()),
            Fault::Header("Location", "http://127.0.0.1:1/hunter2".into()),
            Fault::Status(401, "DENIED", vec![(
                "WWW-Authenticate",
                "Bearer realm=\"http://127.0.0.1:1/dTpodW50ZXIy?q=hunter2\",scope=\"repository:hunter2:pull\"".into(),
            )]),
        ] {
            let registry = fake(FakeConfig { auth: bearer(99, "token"), ..FakeConfig::default() });
            registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
            registry.fault(method, path, 0, 99, fault.clone());
            let mut config = config();
            config.retries.count = 1;
            config.credentials.add(&registry.host(), login());
            let (client, told) = crate::watched(config);
            let mut said = Vec::new();
            let mut note = |e: &dyn std::error::Error| {
                let mut next = Some(e);
                while let Some(e) = next {
                    said.push(format!("{e} {e:?}"));
                    next = e.source();
                }
            };
            if let Err(e) = client.manifest(&repo(&registry, "x"), &one()) {
                note(&e);
            }
            if let Err(e) = push(&client, &repo(&registry, "x"), &noise(1000), &[]) {
                note(&e);
            }
            let said = said.join("\n") + &told.lock().unwrap().join("\n");
            for secret in secrets {
                assert!(!said.contains(secret), "{method} {path} {fault:?}: {said}");
            }
        }
    }
}

#[test]
fn a_challenge_that_nobody_can_meet_is_told() {
    for (challenge, why) in [
        ("Negotiate", "it asks for `Negotiate`"),
        ("Bearer service=\"x\"", "names no token server"),
        ("Bearer realm=\"file:///etc/passwd\"", "`file:///etc/passwd`, is no HTTP URL"),
        ("", "does not say"),
    ] {
        let registry = fake(FakeConfig::default());
        let headers = match challenge {
            "" => vec![],
            challenge => vec![("WWW-Authenticate", challenge.to_owned())],
        };
        registry.fault("*", "/v2/", 0, 99, Fault::Status(401, "UNAUTHORIZED", headers));
        for client in [client(), logged_in(&registry, login())] {
            let e = client.manifest(&repo(&registry, "x"), &one()).unwrap_err();
            let hint = e.hint().unwrap();
            assert!(e.to_string().contains(why) && e.to_string().contains(": 401 UNAUTHORIZED"), "{e}");
            assert!(hint.contains("no login helps") && !hint.contains("orlop login"), "{hint}");
            let e = push(&client, &repo(&registry, "x"), &noise(10), &[]).unwrap_err();
            assert!(e.to_string().contains(why), "{e}");
        }
    }
}

#[test]
fn what_a_token_server_does_wrong_is_told_with_method_and_status() {
    let token = |fault: Fault, times| {
        let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
        registry.put_manifest("x", Some("1"), media_type::OCI_MANIFEST, IMAGE);
        registry.fault("GET", "/token", 0, times, fault);
        let mut config = config();
        config.credentials.add(&registry.host(), login());
        let (client, told) = watched(config);
        let end = client.manifest(&repo(&registry, "x"), &one());
        let told = told.lock().unwrap().clone();
        (registry, end, told)
    };
    for (status, code) in [(429, "TOOMANYREQUESTS"), (500, "UNKNOWN")] {
        let (registry, end, told) = token(Fault::Status(status, code, vec![]), 1);
        end.unwrap();
        let server = format!("GET http://{}/token", registry.storage_host());
        assert!(
            told[0].contains(&registry.host())
                && told[0].contains(&server)
                && told[0].contains(&format!(": {status} {code}")),
            "{told:?}"
        );
    }
    // An answer of 200 that is none.
    let (registry, end, _) = token(Fault::Redirect(200, "/".into()), 9);
    let e = end.unwrap_err();
    let source = std::error::Error::source(&e).unwrap().to_string();
    assert!(e.to_string().contains(&registry.host()), "{e}");
    assert!(source.starts_with("GET http://") && source.contains(": 200 OK: the token server"), "{source}");
}

#[test]
fn a_token_that_no_header_can_hold() {
    let mut config = config();
    let registry = fake(FakeConfig { auth: bearer(9, "token"), ..FakeConfig::default() });
    config.credentials.add(&registry.host(), Credential::RegistryToken("hun\r\nter2hunter2".into()));
    let e = Client::new(config).manifest(&repo(&registry, "x"), &one()).unwrap_err();
    let all = format!("{e} {e:?}");
    assert!(all.contains(&registry.host()) && all.contains("registrytoken") && !all.contains("hun"), "{all}");
    // The same from a token server, which is named then.
    let server = fake(FakeConfig::default());
    server.put_manifest("t", Some("1"), "", br#"{"token":"hunter2\r\nX: hunter2"}"#);
    let challenge = format!("Bearer realm=\"http://{}/v2/t/manifests/1\"", server.host());
    let fault = Fault::Status(401, "UNAUTHORIZED", vec![("WWW-Authenticate", challenge)]);
    registry.fault("GET", "/v2/", 0, 99, fault);
    let e = client().manifest(&repo(&registry, "x"), &one()).unwrap_err();
    let source = std::error::Error::source(&e).unwrap().to_string();
    assert!(e.to_string().contains(&registry.host()), "{e}");
    let said = format!("GET http://{}/v2/t/manifests/1?scope=", server.host());
    assert!(source.starts_with(&said) && source.contains(": 200 OK: "), "{source}");
    assert!(source.contains("a token that cannot stand in a header"), "{source}");
    assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
}
