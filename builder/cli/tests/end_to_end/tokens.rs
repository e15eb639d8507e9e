//! Registries that want tokens, against Debian's registry server and a token server.

use orlop_fixtures::certificate;
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::slow;
use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::token_server::{self, Options, TokenServer};
use orlop_fixtures::tool::{output, run, tool};
use serde_json::{Value, json};

use crate::logins::login;
use crate::{FROM, base, build, build_as, env, snapshot};

fn start(options: Options) -> (TokenServer, Registry) {
    let server = token_server::start(options);
    let registry =
        registry::start_with(&registry::Options { tokens: Some(server.auth()), ..Default::default() });
    (server, registry)
}

fn jo(env: &TestEnv, registry: &str) {
    login(env, registry, "jo", "pass:word").run().success();
}

/// What skopeo finds there, with the login that we wrote. Where a token lives for a second it may be too late with one:
/// then it is asked again.
fn inspect(env: &TestEnv, name: &str) -> Value {
    let mut skopeo = tool("skopeo");
    skopeo.args(["inspect", "--no-tags", "--tls-verify=false", "--authfile"]);
    skopeo.arg(env.path("docker/config.json")).arg(format!("docker://{name}"));
    let tries = (0..4).map(|_| output(&mut skopeo)).find(|output| output.status.success());
    serde_json::from_slice(&tries.unwrap_or_else(|| run(&mut skopeo)).stdout).expect("JSON")
}

/// An image of so many layers with so many bytes in each that do not compress.
fn image(env: &TestEnv, name: &str, layers: usize, bytes: usize) {
    let mut dockerfile = "FROM scratch\n".to_owned();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..layers {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(bytes)
        .collect();
        env.file(&format!("context/f{n}"), noise);
        dockerfile += &format!("COPY f{n} /f{n}\n");
    }
    build_as(env, &dockerfile, &crate::base_name(), name).run().success();
}

#[test]
fn login_push_and_pull_by_token() {
    for field in ["token", "access_token"] {
        let env = env();
        let (server, registry) = start(Options { field, ..Options::default() });
        let name = registry.name("app:1");
        build(&env, &format!("{FROM}RUN echo one > /one\n")).args(["-t", &name]).run().success();
        let refused = login(&env, &registry.host(), "jo", "hunter2").run().code(1).never_says("hunter2");
        snapshot::check(&env, "login-refused-by-token-server", &refused);
        jo(&env, &registry.host());
        env.orlop(["push", &name]).run().success();
        let other = crate::env();
        jo(&other, &registry.host());
        other.orlop(["pull", &name]).run().success();
        assert!(server.asked().iter().filter(|asked| asked.status == 200).all(|asked| asked.user == "jo"));
    }
}

#[test]
fn nobody_pulls_and_a_push_says_what_to_type() {
    let env = env();
    let grants = vec![("", "public/*", "pull"), ("jo", "public/*", "pull"), ("jo", "mine/*", "pull,push")];
    let (_server, registry) = start(Options { grants, ..Options::default() });
    jo(&env, &registry.host());
    let mine = registry.name("mine/app:1");
    build(&env, &format!("{FROM}RUN echo one > /one\n")).args(["-t", &mine]).run().success();
    env.orlop(["push", &mine]).run().success();
    let run = env.orlop(["push", &mine, &registry.name("public/app:1")]).run().code(1);
    snapshot::check(&env, "push-denied-to-user", &run);
    env.orlop(["logout", &registry.host()]).run().success();
    let run = env.orlop(["push", &mine, &registry.name("public/app:1")]).run().code(1);
    snapshot::check(&env, "push-denied-to-nobody", &run);
    let run = env.orlop(["pull", &mine]).run().code(1);
    snapshot::check(&env, "pull-denied-to-nobody", &run);
    let run = env.orlop(["pull", &registry.name("public/none:1")]).run().code(1);
    snapshot::check(&env, "pull-unknown-by-token", &run);
}

#[test]
fn a_mount_takes_two_scopes_and_its_refusal_costs_an_upload() {
    let grants = vec![("jo", "*", "pull,push"), ("ann", "other/*", "pull,push")];
    let users = vec![("jo", "pass:word"), ("ann", "x-ann")];
    let env = env();
    let (server, registry) = start(Options { grants, users, ..Options::default() });
    jo(&env, &registry.host());
    let name = registry.name("base/app:1");
    image(&env, &name, 2, 10_000);
    env.orlop(["push", &name]).run().success();
    let uploads = || registry.log().matches("PUT /v2/").count();
    let before = uploads();
    env.orlop(["push", &name, &registry.name("other/app:1")]).run().success();
    let mounted = registry.log().matches("mount=sha256").count();
    assert!(mounted >= 2, "{}", registry.log());
    // The config may be mounted or sent; the layers are not sent again, and the manifest is.
    assert!(uploads() <= before + 2, "{}", registry.log());
    let both = server.asked().iter().any(|asked| {
        ["repository:other/app:pull,push", "repository:base/app:pull"]
            .iter()
            .all(|scope| asked.granted.iter().any(|granted| granted == scope))
    });
    assert!(both, "{:?}", server.asked());
    // Ann may not read where the layers are.
    login(&env, &registry.host(), "ann", "x-ann").run().success();
    env.orlop(["push", &name, &registry.name("other/again:1")]).run().success();
}

#[test]
fn tokens_end_in_the_middle_of_many_blobs() {
    // The server promises what it does not keep, says nothing, or tells the truth; each time the registry refuses a
    // token after a second.
    for promised in [Some(300), None, Some(1)] {
        let env = env();
        let (server, registry) = start(Options { life: 1, promised, ..Options::default() });
        jo(&env, &registry.host());
        // Twelve layers over a line that takes longer than a token lives.
        let line = slow::start(&registry.host(), 300_000, None);
        jo(&env, &line.host());
        let name = format!("{}/app:1", line.host());
        image(&env, &name, 12, 40_000);
        env.orlop(["push", &name]).run().success();
        let tokens =
            server.asked().iter().filter(|asked| asked.granted.iter().any(|g| g.contains("push"))).count();
        assert!(tokens > 1, "one token did not do: {:?}", server.asked());
        assert_eq!(inspect(&env, &name)["Layers"].as_array().map(Vec::len), Some(12));
    }
}

#[test]
fn a_token_ends_in_the_middle_of_one_upload() {
    for breaks in [None, Some(700_000)] {
        let env = env();
        let (server, registry) = start(Options { life: 1, promised: Some(300), ..Options::default() });
        let line = slow::start(&registry.host(), 500_000, breaks);
        jo(&env, &line.host());
        let name = format!("{}/app:1", line.host());
        image(&env, &name, 1, 1_000_000);
        env.orlop(["push", &name]).run().success();
        let tokens =
            server.asked().iter().filter(|asked| asked.granted.iter().any(|g| g.contains("push"))).count();
        assert!(tokens > 1, "{:?}", server.asked());
    }
}

#[test]
fn an_identity_token_is_kept_instead_of_the_password() {
    for methods in [&["GET", "POST"][..], &["POST"]] {
        let env = env();
        let (server, registry) = start(Options { refresh: true, methods, ..Options::default() });
        jo(&env, &registry.host());
        let file = std::fs::read(env.path("docker/config.json")).expect("the file");
        let kept: Value = serde_json::from_slice(&file).expect("JSON");
        let entry = &kept["auths"][&registry.host()];
        // base64 of `jo:`, as Docker writes it.
        assert_eq!(entry["auth"], json!("am86"), "{kept}");
        assert!(
            entry["identitytoken"].as_str().is_some_and(|token| token.starts_with("refresh-jo")),
            "{kept}"
        );
        assert_eq!(env.orlop(["login", "--get-login", &registry.host()]).run().success().stdout, "jo\n");
        let name = registry.name("app:1");
        build(&env, &format!("{FROM}RUN echo one > /one\n")).args(["-t", &name]).run().success();
        env.orlop(["push", &name]).run().success();
        let pushed = server.asked().into_iter().rfind(|asked| asked.status == 200).expect("a token");
        assert!(pushed.refreshed && pushed.user == "jo", "{pushed:?}");
        // The peer reads it too.
        assert_eq!(inspect(&env, &name)["Architecture"], "amd64");
    }
}

#[test]
fn a_base_is_pulled_with_the_login_of_its_registry() {
    let env = env();
    let (_server, registry) = start(Options::default());
    jo(&env, &registry.host());
    let name = registry.name("base:1");
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--authfile"]);
    skopeo.arg(env.path("docker/config.json")).arg(format!("oci:{}:latest", base().display()));
    run(skopeo.arg(format!("docker://{name}")));
    let push = registry.name("app:1");
    build_as(&env, &format!("{FROM}RUN echo built > /built\n"), &name, &push).arg("--push").run().success();
}

#[test]
fn the_token_server_is_believed_by_the_registrys_certificates() {
    let env = env();
    let certificate = certificate::make(&env.dir("certificate"));
    let server = token_server::start(Options::default());
    let (auth, _tls) = server.auth_over_tls(&certificate);
    let options = registry::Options {
        tokens: Some(auth),
        certificate: Some(certificate.clone()),
        ..Default::default()
    };
    let registry = registry::start_with(&options);
    let untrusted = login(&env, &registry.host(), "jo", "pass:word").run().code(1);
    snapshot::check(&env, "login-untrusted-certificate", &untrusted);
    let dir = env.dir(&format!("home/.config/containers/certs.d/{}", registry.host()));
    std::fs::copy(&certificate.authority, dir.join("ca.crt")).expect("copy");
    jo(&env, &registry.host());
    let name = registry.name("app:1");
    build(&env, &format!("{FROM}RUN echo one > /one\n")).args(["-t", &name]).run().success();
    env.orlop(["push", &name]).run().success();
    // Neither certificates nor their want is hidden by a flag that says so.
    let other = crate::env();
    login(&other, &registry.host(), "jo", "pass:word").arg("--tls-verify=false").run().success();
}
