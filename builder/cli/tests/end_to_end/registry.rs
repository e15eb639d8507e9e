//! Pull and push, against Debian's registry server.

use std::fs;

use orlop_fixtures::certificate;
use orlop_fixtures::layout::{Compression, Image};
use orlop_fixtures::registry::{self, Options, Registry};
use orlop_fixtures::tarball::Entry;
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{run, tool};
use serde_json::json;

use crate::{FROM, Opened, base, build, build_over, env, snapshot};

fn filled(options: &Options) -> Registry {
    let registry = registry::start_with(options);
    registry.fill(base(), "base:1");
    registry
}

#[test]
fn build_on_an_image_of_a_registry_push_pull_and_run() {
    let (env, other) = (env(), crate::env());
    let registry = filled(&Options::default());
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN echo built > /built\nCMD [\"cat\", \"/built\"]\n";
    let built = build_over(&env, dockerfile, &registry.name("base:1")).run().success();
    let name = registry.name("app:1");
    env.orlop(["tag", "built", &name]).run().success();
    let pushed = env.orlop(["push", &name]).run().success();
    let digest = pushed.stdout.trim_end().to_owned();
    assert!(digest.starts_with("sha256:"), "{pushed}");
    assert_eq!(Opened::from(&format!("docker://{name}")).text("/built"), "built\n");

    let pulled = other.orlop(["pull", &name]).run().success();
    assert_eq!(pulled.stdout, built.stdout, "the same image ID: {pulled}");
    let run = other.orlop(["run", "--rm", &name]).run().success();
    assert_eq!(run.stdout, "built\n");
    let by_digest = registry.name(&format!("app@{digest}"));
    other.orlop(["pull", &by_digest]).run().success();
    let pulled = env.orlop(["pull", &registry.name("app:2")]).run().code(1);
    snapshot::check(&env, "pull-no-such-tag", &pulled);
}

#[test]
fn a_check_asks_a_registry_again_that_has_one_image_not() {
    let env = env();
    let registry = filled(&Options::default());
    let (gone, base) = (registry.name("gone:1"), registry.name("base:1"));
    let text = format!("FROM {gone} AS gone\nLABEL a=$NOTHING\nFROM {base}\nLABEL a=$NOTHING\n");
    let run = build(&env, &text).arg("--check").run().code(1);
    assert!(run.stdout.starts_with("Check complete, 1 warning has been found!"), "{}", run.stdout);
    assert!(run.stdout.contains("Dockerfile:4"), "{}", run.stdout);
    let run = run.says(&format!("the image `{gone}` cannot be looked at"));
    assert!(!run.stderr.contains(&base), "{}", run.stderr);
}

#[test]
fn a_second_push_sends_no_blob_again() {
    let env = env();
    let registry = filled(&Options::default());
    build(&env, &format!("{FROM}RUN echo one > /one\n"))
        .args(["-t", &registry.name("app:1")])
        .run()
        .success();
    env.orlop(["push", &registry.name("app:1")]).run().success();
    let before = registry.log().matches("PUT /v2/app/blobs").count();
    env.orlop(["push", &registry.name("app:1")]).run().success();
    build(&env, &format!("{FROM}RUN echo one > /one\nENV A=1\n"))
        .args(["-t", &registry.name("app:2")])
        .run()
        .success();
    env.orlop(["push", &registry.name("app:2")]).run().success();
    let after = registry.log().matches("PUT /v2/app/blobs").count();
    assert_eq!(after, before + 1, "only the new configuration:\n{}", registry.log());
}

#[test]
fn a_second_pull_fetches_no_layer_again() {
    let env = env();
    let registry = filled(&Options::default());
    env.orlop(["pull", &registry.name("base:1")]).run().success();
    env.orlop(["run", "--rm", &registry.name("base:1"), "true"]).run().success();
    let blobs = |registry: &Registry| registry.log().matches("GET /v2/base/blobs").count();
    let before = blobs(&registry);
    assert!(before > 0, "{}", registry.log());
    env.orlop(["pull", &registry.name("base:1")]).run().success();
    assert_eq!(blobs(&registry), before);
}

fn secure(env: &TestEnv) -> (Registry, certificate::Certificate) {
    let certificate = certificate::make(&env.dir("certificate"));
    let options = Options { certificate: Some(certificate.clone()), ..Options::default() };
    (registry::start_with(&options), certificate)
}

#[test]
fn https_needs_a_certificate_that_is_trusted() {
    let env = env();
    let (registry, certificate) = secure(&env);
    let name = registry.name("app:1");
    build(&env, &format!("{FROM}RUN echo secure > /s\n")).args(["-t", &name]).run().success();
    let trusting = |run: Invocation<'_>| run.env("SSL_CERT_FILE", &certificate.authority).run();
    trusting(env.orlop(["push", &name])).success();
    let run = env.orlop(["push", &name]).run().code(1).says("certificate");
    snapshot::check(&env, "push-untrusted-certificate", &run);
    env.orlop(["rmi", &name]).run().success();
    trusting(env.orlop(["pull", &name])).success();
    let run = env.orlop(["run", "--rm", &name, "cat", "/s"]).run().success();
    assert_eq!(run.stdout, "secure\n");
}

#[test]
fn https_with_a_certificate_directory() {
    let env = env();
    let (registry, certificate) = secure(&env);
    let dir = env.dir(&format!("home/.config/containers/certs.d/{}", registry.host()));
    fs::copy(&certificate.authority, dir.join("ca.crt")).expect("copy");
    let name = registry.name("app:1");
    let dockerfile = format!("{FROM}RUN echo secure > /s\n");
    crate::build_as(&env, &dockerfile, &crate::base_name(), &name).arg("--push").run().success();
}

fn login(env: &TestEnv, registry: &Registry, auth: &str) {
    env.file("docker/config.json", json!({"auths": {registry.host(): {"auth": auth}}}).to_string());
}

#[test]
fn basic_authentication_from_dockers_configuration() {
    let env = env();
    let options = Options { user: Some(("jo".to_owned(), "pass:word".to_owned())), ..Options::default() };
    let registry = registry::start_with(&options);
    let name = registry.name("private:1");
    build(&env, &format!("{FROM}RUN echo private > /p\n")).args(["-t", &name]).run().success();
    let run = env.orlop(["push", &name]).run().code(1);
    snapshot::check(&env, "push-without-credentials", &run);
    // jo:wrong
    login(&env, &registry, "am86d3Jvbmc=");
    let run = env.orlop(["push", &name]).run().code(1).never_says("wrong");
    snapshot::check(&env, "push-wrong-credentials", &run);
    // jo:pass:word
    login(&env, &registry, "am86cGFzczp3b3Jk");
    env.orlop(["push", &name]).run().success();
    let other = crate::env();
    other.orlop(["pull", &name]).run().code(1);
    login(&other, &registry, "am86cGFzczp3b3Jk");
    other.orlop(["pull", &name]).run().success();
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN cat /p\n";
    build_over(&other, dockerfile, &name).arg("--pull").run().success().says("private");
}

#[test]
fn credentials_of_podmans_file() {
    let env = env();
    let options = Options { user: Some(("jo".to_owned(), "pass:word".to_owned())), ..Options::default() };
    let registry = registry::start_with(&options);
    let auths = json!({"auths": {registry.host(): {"auth": "am86cGFzczp3b3Jk"}}}).to_string();
    let file = env.file("auth.json", auths);
    let name = registry.name("private:1");
    build(&env, &format!("{FROM}RUN echo private > /p\n")).args(["-t", &name]).run().success();
    env.orlop(["push", &name]).env("REGISTRY_AUTH_FILE", file).run().success();
}

/// A layout whose one entry is an index of these images.
fn index(env: &TestEnv, images: &[(&str, Option<&str>)]) -> std::path::PathBuf {
    let dir = env.dir("index");
    let mut entries = Vec::new();
    for (architecture, variant) in images {
        let mut image = Image::new().layer(&[Entry::file("arch", format!("{architecture}\n"))]);
        image.config["architecture"] = json!(architecture);
        let digest = image.write(&dir);
        let hex = digest.trim_start_matches("sha256:");
        let size = fs::metadata(dir.join("blobs/sha256").join(hex)).expect("the manifest").len();
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        let media = "application/vnd.oci.image.manifest.v1+json";
        entries.push(json!({"mediaType": media, "digest": digest, "size": size, "platform": platform}));
    }
    let media = "application/vnd.oci.image.index.v1+json";
    let bytes = json!({"schemaVersion": 2, "mediaType": media, "manifests": entries}).to_string();
    let digest = orlop_fixtures::sha256(bytes.as_bytes());
    fs::write(dir.join("blobs/sha256").join(&digest), &bytes).expect("write");
    let top = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    }]});
    fs::write(dir.join("index.json"), top.to_string()).expect("write");
    dir
}

#[test]
fn the_platform_is_picked_from_an_index() {
    let env = env();
    let registry = registry::start();
    let dir = index(&env, &[("s390x", None), ("arm64", Some("v8")), ("amd64", None)]);
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "-q", "--all", "--dest-tls-verify=false"]);
    run(skopeo
        .arg(format!("oci:{}:latest", dir.display()))
        .arg(format!("docker://{}", registry.name("multi:1"))));
    let dockerfile = "ARG BASE\nFROM ${BASE}\nENV A=1\n";
    let arch = |extra: &[&str]| {
        let build = build_over(&env, dockerfile, &registry.name("multi:1")).args(extra);
        let image = crate::image_of(&env, build);
        (image.text("/arch").to_owned(), image.config["architecture"].clone())
    };
    assert_eq!(arch(&[]), ("amd64\n".to_owned(), json!("amd64")));
    assert_eq!(arch(&["--platform", "linux/arm64"]), ("arm64\n".to_owned(), json!("arm64")));
    let run = build_over(&env, dockerfile, &registry.name("multi:1"))
        .args(["--platform", "linux/riscv64"])
        .run()
        .code(1);
    snapshot::check(&env, "pull-no-such-platform", &run);
}

#[test]
fn docker_media_types_and_zstd_layers_are_read() {
    let env = env();
    let registry = registry::start();
    let source = format!("oci:{}:latest", base().display());
    let copy = |extra: &[&str], name: &str| {
        let mut skopeo = tool("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]).args(extra);
        run(skopeo.arg(&source).arg(format!("docker://{}", registry.name(name))));
    };
    copy(&["--format", "v2s2"], "docker:1");
    let zstd = env.dir("zstd");
    let tar = orlop_fixtures::layout::layers(base()).remove(0);
    Image::new().tar(tar.clone(), Compression::Zstd).write(&zstd);
    registry.fill(&zstd, "zstd:1");
    let plain = env.dir("plain");
    Image::new().tar(tar, Compression::None).write(&plain);
    registry.fill(&plain, "plain:1");
    for name in ["docker:1", "zstd:1", "plain:1"] {
        let run = env.orlop(["run", "--rm", &registry.name(name), "echo", name]).run().success();
        assert_eq!(run.stdout, format!("{name}\n"));
        env.orlop(["rmi", &registry.name(name)]).run().success();
    }
}

#[test]
fn a_short_name_is_said_in_full_when_it_cannot_be_had() {
    let env = env();
    let run = env.orlop(["pull", "127.0.0.1:1/none:1"]).run().code(1);
    snapshot::check(&env, "pull-unreachable", &run);
}
