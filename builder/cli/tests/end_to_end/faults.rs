//! Pull, push and build against a registry behind a proxy that does harm: they end well, with the right content, or in
//! one clear error. The wide table of faults is the client's own test, `registry-client/tests/client/faults/`; here is
//! what the user sees of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orlop_fixtures::fault_proxy::{self, Fault, FaultProxy, Framing, Hook, Kind, Phase, Reply};
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::test_env::{Run, TestEnv};
use serde_json::{Value, json};

use crate::{FROM, Opened, env, snapshot};

/// Nothing here takes that long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(100);

struct Place {
    registry: Arc<Registry>,
    proxy: FaultProxy,
    env: TestEnv,
}

impl Place {
    /// A registry with the base in it, a proxy before it, and an image here to push.
    fn new() -> Self {
        let registry = Arc::new(registry::start());
        registry.fill(crate::base(), "team/base:1");
        let proxy = fault_proxy::start(&registry.host());
        Self { registry, proxy, env: env() }
    }

    /// Another image each time, so that the registry has none of it; larger than what sockets hold.
    fn image(&self, mark: &str) -> String {
        let name = self.proxy.name(&format!("team/{mark}:1"));
        let noise: String =
            (0..16_000).map(|n| orlop_fixtures::sha256(format!("{mark}{n}").as_bytes())).collect();
        self.env.file("context/noise", noise);
        crate::build_as(&self.env, &format!("{FROM}COPY noise /{mark}\n"), &crate::base_name(), &name)
            .run()
            .success();
        name
    }

    /// Pulls the base into an empty store, which must be whole afterwards.
    fn pull(&self) -> Run {
        let env = env();
        let pulled = env.orlop(["pull", &self.proxy.name("team/base:1")]).patience(PATIENCE).run();
        env.orlop(["store", "check"]).run().success();
        pulled
    }

    fn push(&self, name: &str) -> Run {
        self.env.orlop(["push", name]).patience(PATIENCE).run()
    }

    /// The image of [`Place::image`] is in the registry, each blob with the bytes of its digest.
    fn is_there(&self, mark: &str) {
        let answer = self.registry.get(&format!("/v2/team/{mark}/manifests/1"));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let manifest: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{mark}: {e}: {answer}"));
        let layers = manifest["layers"].as_array().unwrap_or_else(|| panic!("{mark}: {answer}"));
        for blob in layers.iter().chain([&manifest["config"]]) {
            let digest = blob["digest"].as_str().unwrap_or_default();
            let bytes =
                std::fs::read(self.registry.blob(digest)).unwrap_or_else(|e| panic!("{mark}: {digest}: {e}"));
            assert_eq!(format!("sha256:{}", orlop_fixtures::sha256(&bytes)), digest, "{mark}");
        }
    }
}

/// One message with everything that one needs to know, and nothing that one must not.
#[track_caller]
fn clear(run: Run, place: &Place, name: &str, parts: &[&str]) {
    let run = run.code(1).never_says("hunter2").never_says("secret-token");
    assert_eq!(run.stderr.matches("\nerror: ").count(), 1, "one error: {run}");
    let run = run.says(&place.proxy.host()).says(name);
    for part in parts {
        assert!(run.stderr.contains(part), "no `{part}` in {run}");
    }
}

#[test]
fn pulls_that_end_well() {
    let place = Place::new();
    let answer = |status| Fault::Answer(Reply::new(status, "UNKNOWN"));
    for (what, kind, fault, told) in [
        ("connection refused to speak", Kind::Any, Fault::Cut(Phase::Connected), true),
        ("manifest cut", Kind::GetManifest, Fault::Cut(Phase::AnswerBody(100)), true),
        ("manifest damaged", Kind::GetManifest, Fault::Flip(30), false),
        ("config cut", Kind::GetBlob, Fault::Cut(Phase::AnswerHead), true),
        ("layer cut", Kind::GetBlob, Fault::Cut(Phase::AnswerBody(400_000)), true),
        ("layer short", Kind::GetBlob, Fault::Truncate(400_000, Framing::Lie), true),
        ("layer without an end", Kind::GetBlob, Fault::Truncate(400_000, Framing::Chunks), true),
        ("layer damaged", Kind::GetBlob, Fault::Flip(300_000), true),
        ("layer damaged at its end", Kind::GetBlob, Fault::Flip(700_000), true),
        ("layer refused", Kind::GetBlob, answer(500), true),
        ("a gateway's page", Kind::GetManifest, Fault::Answer(Reply::page(502)), true),
        ("layer by HTTP/1.0", Kind::GetBlob, Fault::Old, false),
        (
            "elsewhere",
            Kind::GetBlob,
            Fault::Redirect(307, format!("http://{}", place.proxy.elsewhere())),
            false,
        ),
    ] {
        place.proxy.behave();
        // Of blobs the layer, which comes after the config.
        let skip = u32::from(what.starts_with("layer"));
        let before = place.proxy.fired();
        place.proxy.rule(kind, skip, 1, fault);
        let pulled = place.pull();
        assert!(pulled.status.success(), "{what}: {pulled}");
        assert_eq!(place.proxy.fired() - before, 1, "{what}: the fault did not happen");
        assert_eq!(pulled.stderr.contains("trying again"), told, "{what}: {pulled}");
    }
}

#[test]
fn pulls_that_end_in_one_clear_error() {
    let place = Place::new();
    let host = place.proxy.host();
    let answer = |status, code: &str| Fault::Answer(Reply::new(status, code));
    let other = format!("sha256:{}", "ab".repeat(32));
    for (kind, fault, parts) in [
        (Kind::GetManifest, answer(403, "DENIED"), &["GET http", ": 403 DENIED", "hint: "][..]),
        (Kind::GetManifest, answer(404, "NAME_UNKNOWN"), &["GET http", ": 404 NAME_UNKNOWN"]),
        (Kind::GetManifest, answer(401, "UNAUTHORIZED"), &["GET http", ": 401 UNAUTHORIZED", "login"]),
        (Kind::GetManifest, Fault::Flip(30), &["GET http", "expected sha256:", "the registry sent sha256:"]),
        (
            Kind::GetManifest,
            Fault::header("Docker-Content-Digest", other),
            &["GET http", "expected sha256:abab"],
        ),
        (Kind::GetManifest, Fault::EndlessBody, &["GET http", "longer than 4194304 bytes"]),
        (Kind::GetManifest, Fault::EndlessError(403), &["GET http", ": 403 Forbidden"]),
        (Kind::GetManifest, Fault::EndlessHead, &["GET http", "the answer is not HTTP"]),
        (Kind::GetManifest, Fault::Answer(Reply::page(200)), &["no JSON where a manifest was asked for"]),
        (
            Kind::GetManifest,
            Fault::Redirect(302, format!("http://{host}")),
            &["GET http", "redirected too often"],
        ),
        (
            Kind::GetManifest,
            Fault::Redirect(307, "http://127.0.0.1:1".into()),
            &[" → http://127.0.0.1:1/v2/"],
        ),
        (
            Kind::GetManifest,
            Fault::Answer(Reply::new(429, "TOOMANYREQUESTS").header("Retry-After", "86400")),
            &[": 429 TOOMANYREQUESTS", "hint: the registry asks to come back in 24 hours"],
        ),
        (Kind::GetBlob, answer(404, "BLOB_UNKNOWN"), &["GET http", "/blobs/sha256:", ": 404 BLOB_UNKNOWN"]),
        (Kind::GetBlob, Fault::Flip(20), &["GET http", "expected sha256:", "the registry sent sha256:"]),
        (Kind::GetBlob, Fault::EndlessBody, &["GET http", "expected ", " bytes, the registry sent "]),
        (Kind::GetBlob, Fault::header("Content-Length", "99999999"), &["bytes, the registry sent 99999999"]),
        (Kind::GetBlob, Fault::Garbage, &["GET http", "the answer is not HTTP"]),
    ] {
        place.proxy.behave();
        let fault_text = format!("{fault:?}");
        place.proxy.rule(kind, 0, u32::MAX, fault);
        let run = place.pull();
        assert!(!run.status.success(), "{fault_text}: {run}");
        clear(run, &place, "team/base", parts);
    }
}

#[test]
fn what_a_user_sees_of_a_registry_that_fails() {
    let place = Place::new();
    let wait = Fault::Answer(Reply::new(429, "TOOMANYREQUESTS").header("Retry-After", "1"));
    place.proxy.rule(Kind::GetManifest, 0, 1, wait);
    place.proxy.rule(Kind::GetBlob, 1, 1, Fault::Cut(Phase::AnswerBody(400_000)));
    let name = place.proxy.name("team/base:1");
    let run = place.env.orlop(["pull", &name]).run().success();
    let [first, second] = run.stderr.lines().filter(|l| l.contains("trying again")).collect::<Vec<_>>()[..]
    else {
        panic!("two waits: {run}")
    };
    assert!(
        first.contains("429 TOOMANYREQUESTS") && first.contains(", as the registry asks (1 of 5)"),
        "{run}"
    );
    assert!(
        second.contains("the connection broke; trying again in ") && second.contains("(1 of 5)"),
        "{run}"
    );
    place.proxy.rule(Kind::GetManifest, 0, u32::MAX, Fault::Answer(Reply::page(502)));
    let other = env();
    let run = other.orlop(["pull", &name]).run().code(1);
    assert_eq!(run.stderr.matches("trying again").count(), 5, "{run}");
    snapshot::check(&other, "pull-bad-gateway", &run);
}

#[test]
fn a_wait_ends_with_ctrl_c() {
    let place = Place::new();
    let wait = Fault::Answer(Reply::new(503, "UNAVAILABLE").header("Retry-After", "120"));
    place.proxy.rule(Kind::GetManifest, 0, u32::MAX, wait);
    let stall = [Fault::Stall(Phase::BeforeAnswer), Fault::Stall(Phase::AnswerBody(1000))];
    for (kind, fault) in
        [(Kind::GetManifest, None), (Kind::HeadBlob, Some(&stall[0])), (Kind::GetBlob, Some(&stall[1]))]
    {
        if let Some(fault) = fault {
            place.proxy.behave();
            place.proxy.rule(kind, 0, u32::MAX, fault.clone());
        }
        let before = place.proxy.count(kind);
        let command = if kind == Kind::HeadBlob { "push" } else { "pull" };
        let name =
            if kind == Kind::HeadBlob { place.image("stopped") } else { place.proxy.name("team/base:1") };
        let other = env();
        let env = if kind == Kind::HeadBlob { &place.env } else { &other };
        let mut running = env.orlop([command, &name]).start();
        assert!(running.until(|_| place.proxy.count(kind) > before), "{running:?}");
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        running.signal(rustix::process::Signal::INT);
        running.wait().code(130);
        assert!(started.elapsed() < Duration::from_secs(10), "{kind:?}: {:?}", started.elapsed());
    }
}

#[test]
fn pushes_that_end_well() {
    let place = Place::new();
    let answer = |status, code: &str| Fault::Answer(Reply::new(status, code));
    let registry = Arc::clone(&place.registry);
    for (number, (what, kind, fault)) in [
        ("asking is cut", Kind::HeadBlob, Fault::Cut(Phase::AnswerHead)),
        ("asking is refused", Kind::HeadBlob, answer(403, "DENIED")),
        ("beginning fails", Kind::StartUpload, answer(503, "UNAVAILABLE")),
        ("no location, only a name", Kind::StartUpload, Fault::header("Location", "")),
        ("cut in the layer", Kind::Patch, Fault::Cut(Phase::RequestBody(300_000))),
        ("layer's answer lost", Kind::Patch, Fault::Cut(Phase::BeforeAnswer)),
        ("layer refused in the middle", Kind::Patch, Fault::Answer(Reply::page(500).early())),
        ("a range that goes back", Kind::Patch, Fault::header("Range", "0-99")),
        ("no range", Kind::Patch, Fault::header("Range", "")),
        ("a damaged layer", Kind::Patch, Fault::FlipRequest(1000)),
        ("the upload is forgotten", Kind::PutBlob, answer(404, "BLOB_UPLOAD_UNKNOWN")),
        ("the end is lost", Kind::PutBlob, Fault::Cut(Phase::BeforeAnswer)),
        ("the end is cut", Kind::PutBlob, Fault::Cut(Phase::RequestHead)),
        ("done, says a gateway", Kind::PutBlob, Fault::AnswerInstead(Reply::page(504))),
        ("something says yes", Kind::PutBlob, Fault::Answer(Reply::page(200))),
        ("the manifest's answer lost", Kind::PutManifest, Fault::Cut(Phase::BeforeAnswer)),
        ("something says yes to the manifest", Kind::PutManifest, Fault::Answer(Reply::page(200))),
        (
            "another digest",
            Kind::PutManifest,
            Fault::header("Docker-Content-Digest", format!("sha256:{}", "ab".repeat(32))),
        ),
        ("begun again", Kind::Patch, Fault::Run(Hook::new(move || registry.restart()))),
        ("elsewhere", Kind::Patch, Fault::Redirect(307, format!("http://{}", place.proxy.elsewhere()))),
        ("answers before the answer", Kind::StartUpload, Fault::Informational(3)),
    ]
    .into_iter()
    .enumerate()
    {
        let mark = format!("m{number}");
        let name = place.image(&mark);
        place.proxy.behave();
        let before = place.proxy.fired();
        place.proxy.rule(kind, 0, 1, fault);
        let pushed = place.push(&name);
        assert!(pushed.status.success(), "{what}: {pushed}");
        assert_eq!(place.proxy.fired() - before, 1, "{what}: the fault did not happen");
        place.is_there(&mark);
    }
    place.env.orlop(["store", "check"]).run().success();
    let last = place.registry.name("team/m20:1");
    assert!(Opened::from(&format!("docker://{last}")).has("/m20"));
}

#[test]
fn pushes_that_end_in_one_clear_error() {
    let place = Place::new();
    let answer = |status, code: &str| Fault::Answer(Reply::new(status, code));
    for (number, (kind, fault, parts)) in [
        (Kind::StartUpload, answer(403, "DENIED"), &["POST http", ": 403 DENIED"][..]),
        (Kind::StartUpload, answer(401, "UNAUTHORIZED"), &["POST http", ": 401 UNAUTHORIZED"]),
        (Kind::PutBlob, answer(401, "UNAUTHORIZED"), &["PUT http", ": 401 UNAUTHORIZED"]),
        (Kind::PutBlob, answer(413, "SIZE_INVALID"), &["PUT http", ": 413 SIZE_INVALID", "limits the size"]),
        (
            Kind::PutBlob,
            Fault::Answer(Reply::page(200)),
            &["PUT http", "200 OK, and yet the registry does not"],
        ),
        (Kind::PutManifest, answer(400, "MANIFEST_INVALID"), &["PUT http", ": 400 MANIFEST_INVALID"]),
        (Kind::PutManifest, answer(405, "UNSUPPORTED"), &["PUT http", ": 405 UNSUPPORTED"]),
        (Kind::PutManifest, Fault::Answer(Reply::new(204, "")), &["PUT http", "204 No Content, and yet"]),
        (
            Kind::StartUpload,
            Fault::Headers(vec![
                ("Location".into(), "file:///etc/passwd".into()),
                ("Docker-Upload-UUID".into(), String::new()),
            ]),
            &["POST http", "`Location` is no HTTP URL"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (mark, what) = (format!("m{number}"), format!("{kind:?} {fault:?}"));
        let name = place.image(&mark);
        place.proxy.rule(kind, 0, u32::MAX, fault);
        let run = place.push(&name);
        assert!(!run.status.success(), "{what}: {run}");
        clear(run, &place, &format!("team/{mark}"), parts);
        place.proxy.behave();
        place.push(&name).success();
        place.is_there(&mark);
    }
}

#[test]
fn tokens_that_end_in_the_middle_and_never_leave() {
    let place = Place::new();
    place.proxy.demand_tokens("jo", "hunter2", true);
    let auth = "am86aHVudGVyMg==";
    place.env.file("docker/config.json", json!({"auths": {place.proxy.host(): {"auth": auth}}}).to_string());
    let name = place.image("token");
    // Whatever is asked for next needs a new token.
    place.proxy.rule(
        Kind::Patch,
        0,
        1,
        Fault::Answer(Reply::new(401, "UNAUTHORIZED").header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{}/token\",service=\"test\"", place.proxy.elsewhere()),
        )),
    );
    place.push(&name).success().never_says("hunter2").never_says("secret-token");
    place.is_there("token");
    let away = Fault::Redirect(307, format!("http://{}", place.proxy.elsewhere()));
    place.proxy.rule(Kind::GetBlob, 0, u32::MAX, away);
    place.env.orlop(["rmi", &name]).run().success();
    place.env.orlop(["pull", &place.proxy.name("team/base:1")]).run().success();
    let seen = place.proxy.seen();
    let elsewhere = || seen.iter().filter(|s| s.elsewhere && s.kind != Kind::Token);
    assert!(elsewhere().count() > 0 && elsewhere().all(|s| s.header("authorization").is_none()));
    // A token server that fails, is slow to make sense, or is none.
    for (fault, says) in [
        (Fault::Answer(Reply::page(403)), ": 403 Forbidden"),
        (Fault::Answer(Reply::page(200)), "did not answer in JSON"),
        (Fault::EndlessBody, "longer than 1048576 bytes"),
        (Fault::EndlessHead, "the answer is not HTTP"),
        (Fault::Garbage, "the answer is not HTTP"),
    ] {
        place.proxy.behave();
        place.proxy.rule(Kind::Token, 0, u32::MAX, fault);
        let other = env();
        other.file("docker/config.json", json!({"auths": {place.proxy.host(): {"auth": auth}}}).to_string());
        let run = other.orlop(["pull", &place.proxy.name("team/base:1")]).patience(PATIENCE).run();
        clear(run, &place, "team/base", &[says, "/token"]);
    }
}

#[test]
fn builds_that_end_well_and_that_do_not() {
    let place = Place::new();
    place.proxy.rule(Kind::GetManifest, 0, 1, Fault::Cut(Phase::AnswerHead));
    place.proxy.rule(Kind::GetBlob, 0, 1, Fault::Cut(Phase::AnswerBody(100)));
    place.proxy.rule(Kind::GetBlob, 1, 1, Fault::Flip(300_000));
    place.proxy.rule(Kind::PutBlob, 0, 1, Fault::Cut(Phase::RequestHead));
    place.proxy.rule(Kind::PutManifest, 0, 1, Fault::Answer(Reply::page(502)));
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN echo built > /built\n";
    let (base, name) = (place.proxy.name("team/base:1"), place.proxy.name("team/built:1"));
    let run = crate::build_as(&place.env, dockerfile, &base, &name).arg("--push").run().success();
    assert!(run.stderr.matches("trying again").count() >= 4, "{run}");
    let opened = Opened::from(&format!("docker://{}", place.registry.name("team/built:1")));
    assert_eq!(opened.text("/built"), "built\n");
    place.proxy.rule(Kind::GetBlob, 0, u32::MAX, Fault::Answer(Reply::new(404, "BLOB_UNKNOWN")));
    let other = env();
    let run = crate::build_as(&other, dockerfile, &base, &name).run();
    clear(run, &place, "team/base", &["Dockerfile:2", "GET http", ": 404 BLOB_UNKNOWN"]);
}
