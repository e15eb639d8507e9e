//! `orlop copy` and what else works without a store, with Debian's registry, skopeo and podman as its peers.

use std::fs;
use std::path::Path;

use orlop_fixtures::layout::{Compression, Image};
use orlop_fixtures::registry::{self, Options};
use orlop_fixtures::sha256;
use orlop_fixtures::tarball::{self, Entry};
use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::tool::{run, tool};
use serde_json::{Value, json};

use crate::{base, env, peak_memory, snapshot};

/// Puts a document or a blob into a layout, and gives its descriptor.
fn put(dir: &Path, media: &str, bytes: &[u8]) -> Value {
    let digest = sha256(bytes);
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    fs::write(blobs.join(&digest), bytes).expect("a blob");
    json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

/// Names an entry of a layout.
fn name(dir: &Path, entry: &Value, tag: &str) {
    let path = dir.join("index.json");
    let old = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let mut index = old.unwrap_or_else(|| json!({"schemaVersion": 2, "manifests": []}));
    let mut entry = entry.clone();
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    index["manifests"].as_array_mut().expect("a list").push(entry);
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a layout");
    fs::write(path, index.to_string()).expect("an index");
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout with an index of two platforms and an attestation, tagged `multi`.
fn multi(env: &TestEnv) -> std::path::PathBuf {
    let dir = env.dir("multi");
    let mut entries = Vec::new();
    for (architecture, compression) in [("amd64", Compression::Gzip), ("arm64", Compression::Zstd)] {
        let tar = tarball::archive(&[Entry::file("arch", format!("{architecture}\n"))]);
        let mut image = Image::new().tar(tar, compression);
        image.config["architecture"] = json!(architecture);
        let digest = image.write(&dir);
        let size = fs::metadata(dir.join("blobs").join(digest.replace(':', "/"))).expect("it is there").len();
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let config = put(&dir, "application/vnd.oci.image.config.v1+json", br#"{"os":"unknown"}"#);
    let statement = put(&dir, "application/vnd.in-toto+json", br#"{"_type":"statement"}"#);
    let attestation =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement]});
    let mut attestation = put(&dir, MANIFEST, attestation.to_string().as_bytes());
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    entries.push(attestation);
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": {"k": "v"}});
    let entry = put(&dir, INDEX, serde_json::to_string_pretty(&index).expect("JSON").as_bytes());
    let _ = fs::remove_file(dir.join("index.json"));
    name(&dir, &entry, "multi");
    dir
}

/// What skopeo says that the bytes of a manifest are.
fn skopeo_raw(env: &TestEnv, place: &str) -> Vec<u8> {
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "inspect", "--raw"]);
    if place.starts_with("docker://") {
        skopeo.arg("--tls-verify=false");
    }
    run(skopeo.arg(place).env("TMPDIR", env.path("tmp"))).stdout
}

fn skopeo_copy(env: &TestEnv, from: &str, to: &str) {
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false"]);
    run(skopeo.arg("--dest-tls-verify=false").arg(from).arg(to).env("TMPDIR", env.path("tmp")));
}

fn copy(env: &TestEnv, from: &str, to: &str) -> String {
    env.orlop(["copy", "--quiet", from, to]).run().success().stdout.trim_end().to_owned()
}

#[test]
fn an_index_between_registries_as_skopeo_sees_it() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let layout = format!("oci:{}:multi", multi(&env).display());
    skopeo_copy(&env, &layout, &format!("docker://{}", one.name("a/multi:1")));
    let digest = copy(&env, &one.name("a/multi:1"), &format!("docker://{}", two.name("b:2")));
    let bytes = skopeo_raw(&env, &format!("docker://{}", two.name("b:2")));
    assert_eq!(bytes, skopeo_raw(&env, &layout), "byte for byte");
    assert_eq!(digest, format!("sha256:{}", sha256(&bytes)));
    // skopeo verifies every blob of it on the way into its own directory.
    skopeo_copy(
        &env,
        &format!("docker://{}", two.name("b:2")),
        &format!("dir:{}", env.dir("by-skopeo").display()),
    );
    // The other way round: what orlop put in place, skopeo takes on, and orlop from there.
    let third = registry::start();
    skopeo_copy(&env, &format!("docker://{}", two.name("b:2")), &format!("docker://{}", third.name("c:3")));
    assert_eq!(copy(&env, &third.name("c:3"), &one.name("d:4")), digest);
    assert_eq!(env.orlop(["digest", &one.name("d:4")]).run().success().stdout.trim_end(), digest);
    // Which registry has what is remembered, where there is a store to do so: another repository takes it from there.
    let sent = one.log().matches("\"PUT /v2/e/blobs/").count();
    assert_eq!(copy(&env, &third.name("c:3"), &one.name("e:5")), digest);
    assert_eq!(one.log().matches("\"PUT /v2/e/blobs/").count(), sent, "{}", one.log());
    env.orlop(["store", "check"]).run().success();
}

#[test]
fn nothing_is_sent_twice_and_the_name_comes_last() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let layout = format!("oci:{}:multi", multi(&env).display());
    copy(&env, &layout, &one.name("a:1"));
    copy(&env, &one.name("a:1"), &two.name("b:1"));
    let log = two.log();
    let writes: Vec<&str> = log.lines().filter(|line| line.contains("\"PUT /v2/b/")).collect();
    assert!(writes.last().is_some_and(|line| line.contains("PUT /v2/b/manifests/1 ")), "{log}");
    let asked = log.matches("\"HEAD /v2/b/blobs/").count();
    let sent = log.matches("\"PUT /v2/b/blobs/").count();
    assert_eq!((asked, sent), (6, 6), "one question a blob: {log}");
    let run =
        env.orlop(["copy", "--format=json", "--quiet", &one.name("a:1"), &two.name("b:1")]).run().success();
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&result["ManifestsWritten"], &result["BlobsSent"]), (&json!(0), &json!(0)));
    assert_eq!(two.log().matches("/v2/b/blobs/").count(), log.matches("/v2/b/blobs/").count());
    // Within a registry blobs are mounted.
    let before = two.log().matches("PUT /v2/c/blobs/").count();
    copy(&env, &two.name("b:1"), &two.name("c:1"));
    let log = two.log();
    assert_eq!(log.matches("\"PUT /v2/c/blobs/").count(), before, "{log}");
    assert_eq!(log.matches("\"POST /v2/c/blobs/uploads/?mount=sha256").count(), 6, "{log}");
}

#[test]
fn layouts_and_archives_both_ways_with_skopeo() {
    let env = env();
    let one = registry::start();
    let layout = format!("oci:{}:multi", multi(&env).display());
    let bytes = skopeo_raw(&env, &layout);
    let dir = env.path("");
    let ours = |kind: &str, file: &str| format!("{kind}:{}{file}:t", dir.display());
    copy(&env, &layout, &ours("oci-archive", "x.tar"));
    copy(&env, &ours("oci-archive", "x.tar"), &ours("oci", "y"));
    assert_eq!(skopeo_raw(&env, &ours("oci", "y")), bytes);
    assert_eq!(skopeo_raw(&env, &ours("oci-archive", "x.tar")), bytes);
    skopeo_copy(&env, &ours("oci-archive", "x.tar"), &format!("docker://{}", one.name("a:1")));
    skopeo_copy(&env, &format!("docker://{}", one.name("a:1")), &ours("oci-archive", "z.tar"));
    copy(&env, &ours("oci-archive", "z.tar"), &format!("oci-layout://{}w:t", dir.display()));
    assert_eq!(skopeo_raw(&env, &ours("oci", "w")), bytes);
    let raw = env.orlop(["inspect", "--raw", &ours("oci-archive", "z.tar")]).run().success();
    assert_eq!(raw.stdout.as_bytes(), bytes);
}

#[test]
fn an_archive_for_docker_load_both_ways_with_skopeo() {
    let env = env();
    let one = registry::start();
    one.fill(base(), "base:1");
    let ours = format!("docker-archive:{}", env.path("ours.tar").display());
    env.orlop(["copy", &one.name("base:1"), &format!("{ours}:example.org/app:1")]).run().success();
    skopeo_copy(&env, &ours, &format!("docker://{}", one.name("by-skopeo:1")));
    let config = |name: &str| env.orlop(["inspect", "--config", &one.name(name)]).run().success().stdout;
    assert_eq!(config("by-skopeo:1"), config("base:1"));
    let theirs = format!("docker-archive:{}", env.path("theirs.tar").display());
    skopeo_copy(&env, &format!("docker://{}", one.name("base:1")), &format!("{theirs}:example.org/app:2"));
    copy(&env, &theirs, &one.name("back:1"));
    assert_eq!(config("back:1"), config("base:1"));
    let run = env.orlop(["run", "--rm", &one.name("back:1"), "echo", "works"]).run().success();
    assert_eq!(run.stdout, "works\n");
    env.orlop(["load", "-i"]).arg(env.path("ours.tar")).run().success();
    env.orlop(["run", "--rm", "example.org/app:1", "true"]).run().success();
}

#[test]
fn privileged_podman_pulls_what_was_copied() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    one.fill(base(), "base:1");
    let digest = copy(&env, &one.name("base:1"), &two.name("app:1"));
    let storage = env.dir("podman");
    let podman = |args: &[&str]| {
        let mut podman = tool("podman");
        podman.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
        podman.args(["--storage-driver=vfs"]).args(args).env("TMPDIR", env.path("tmp"));
        String::from_utf8_lossy(&run(&mut podman).stdout).trim().to_owned()
    };
    podman(&["pull", "--quiet", "--tls-verify=false", &two.name("app:1")]);
    assert_eq!(podman(&["image", "inspect", "--format={{.Digest}}", &two.name("app:1")]), digest);
    podman(&["push", "--quiet", "--tls-verify=false", &two.name("app:1"), &one.name("pushed:1")]);
    copy(&env, &one.name("pushed:1"), &two.name("pushed:2"));
    let raw = |name: String| skopeo_raw(&env, &format!("docker://{name}"));
    assert_eq!(raw(one.name("pushed:1")), raw(two.name("pushed:2")));
}

#[test]
fn artifacts_in_a_registry() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let dir = env.dir("artifacts");
    let helm = json!({
        "schemaVersion": 2,
        "config": put(&dir, "application/vnd.cncf.helm.config.v1+json", br#"{"name":"chart"}"#),
        "layers": [put(&dir, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart")],
        "annotations": {"org.opencontainers.image.created": "2025-01-01T00:00:00Z"},
    });
    let helm = put(&dir, MANIFEST, helm.to_string().as_bytes());
    let empty = {
        let mut empty = put(&dir, "application/vnd.oci.empty.v1+json", b"{}");
        empty["data"] = json!("e30=");
        empty
    };
    let sbom = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/spdx+json", "config": empty,
        "layers": [put(&dir, "application/spdx+json", b"{\"spdx\":1}")], "subject": helm,
    });
    let sbom = put(&dir, MANIFEST, serde_json::to_string_pretty(&sbom).expect("JSON").as_bytes());
    let signature = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": put(&dir, "application/vnd.oci.image.config.v1+json", b"{\"cosign\":1}"),
        "layers": [put(&dir, "application/vnd.dev.cosign.simplesigning.v1+json", b"{\"critical\":{}}")],
    });
    let signature = put(&dir, MANIFEST, signature.to_string().as_bytes());
    let hex = helm["digest"].as_str().expect("a digest").trim_start_matches("sha256:").to_owned();
    name(&dir, &helm, "chart");
    name(&dir, &sbom, "sbom");
    name(&dir, &signature, &format!("sha256-{hex}.sig"));
    let layout = format!("oci:{}:chart", dir.display());
    let run = env.orlop(["copy", "-q", "--referrers", &layout, &one.name("charts/a:1")]).run().success();
    assert_eq!(run.stdout.trim_end(), format!("sha256:{hex}"));
    env.orlop(["copy", "-q", "--referrers", &one.name("charts/a:1"), &two.name("b:1")]).run().success();
    let raw = |name: String| env.orlop(["inspect", "--raw", &name]).run().success().stdout;
    let written = |entry: &Value| {
        let path = dir.join("blobs").join(entry["digest"].as_str().expect("a digest").replace(':', "/"));
        fs::read_to_string(path).expect("it is there")
    };
    assert_eq!(raw(two.name("b:1")), written(&helm));
    assert_eq!(raw(two.name(&format!("b:sha256-{hex}.sig"))), written(&signature));
    let listed = env.orlop(["referrers", "--format=json", &two.name("b:1")]).run().success().stdout;
    let listed: Value = serde_json::from_str(&listed).expect("one object");
    assert_eq!(listed["Digest"], sbom["digest"]);
    assert_eq!(listed["ArtifactType"], "application/spdx+json");
    assert_eq!(raw(two.name(&format!("b@{}", sbom["digest"].as_str().expect("a digest")))), written(&sbom));
    let listed = env.orlop(["referrers", &two.name("b:1"), "--artifact-type=x/y"]).run().success().stdout;
    assert_eq!(listed, "DIGEST  ARTIFACT TYPE  SIZE\n");
    // This registry takes no manifests of other types: that is told, and the name is not there.
    let old = json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []});
    let old = put(&dir, "application/vnd.oci.artifact.manifest.v1+json", old.to_string().as_bytes());
    name(&dir, &old, "old");
    let layout = format!("oci:{}:old", dir.display());
    let run = env.orlop(["copy", &layout, &one.name("old:1")]).run().code(1);
    snapshot::check(&env, "copy-refused-by-the-registry", &run);
    copy(&env, &layout, &format!("oci-archive:{}:old", env.path("old.tar").display()));
}

#[test]
fn a_damaged_source_gets_no_name() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let dir = env.dir("damaged");
    let tar = tarball::archive(&[Entry::file("f", "x".repeat(100_000))]);
    let image = Image::new().tar(tar, Compression::Gzip);
    let digest = format!("sha256:{}", sha256(&image.blob()));
    image.write(&dir);
    one.fill(&dir, "a:1");
    let file = one.blob(&digest);
    let mut bytes = fs::read(&file).expect("the registry's file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("damage");
    for to in [two.name("b:1"), format!("oci:{}:1", env.path("layout").display())] {
        let run = env.orlop(["copy", &one.name("a:1"), &to]).run().code(1);
        assert!(run.stderr.contains("cannot copy from"), "{run}");
    }
    let run = env.orlop(["copy", "-q", &one.name("a:1"), &two.name("b:1")]).run().code(1);
    snapshot::check(&env, "copy-damaged-source", &run);
    env.orlop(["digest", &two.name("b:1")]).run().code(1).says("MANIFEST_UNKNOWN");
    assert!(!env.path("layout/index.json").exists());
}

/// A layout with one large layer that does not shrink.
fn large(env: &TestEnv, megabytes: usize) -> String {
    let dir = env.dir("large");
    let mut noise = vec![0u8; megabytes << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for piece in noise.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
    }
    Image::new().tar(noise, Compression::None).write(&dir);
    format!("oci:{}:latest", dir.display())
}

#[test]
fn killed_at_any_moment_the_next_copy_completes() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let source = large(&env, 60);
    let digest = copy(&env, &source, &one.name("a:1"));
    let layout = env.path("layout");
    let targets = [two.name("b:1"), format!("oci:{}:1", layout.display())];
    for (at, to) in targets.iter().cycle().take(6).enumerate() {
        let running = env.orlop(["copy", "--quiet", &one.name("a:1"), to]).start();
        std::thread::sleep(std::time::Duration::from_millis(20 + 25 * at as u64));
        drop(running.kill());
    }
    for to in &targets {
        assert_eq!(copy(&env, &one.name("a:1"), to), digest);
        assert_eq!(env.orlop(["digest", to]).run().success().stdout.trim_end(), digest);
    }
    let left = fs::read_dir(layout.join("blobs/sha256")).expect("blobs").count();
    assert_eq!(left, 3, "manifest, config, layer, and nothing half");
    copy(&env, &targets[1], &two.name("c:1"));
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let env = env();
    let (one, two) = (registry::start(), registry::start());
    let source = large(&env, 90);
    let watched = |from: &str, to: &str| {
        let peak = peak_memory(env.orlop(["copy", "--quiet", from, to]));
        assert!((1..64 << 10).contains(&peak), "{from} to {to}: {peak} kB");
    };
    watched(&source, &one.name("a:1"));
    watched(&one.name("a:1"), &two.name("b:1"));
    watched(&one.name("a:1"), &format!("oci:{}:1", env.path("layout").display()));
    watched(&one.name("a:1"), &format!("oci-archive:{}:1", env.path("x.tar").display()));
}

fn secure(user: &str) -> Options {
    Options { user: Some((user.to_owned(), "pass:word".to_owned())), ..Options::default() }
}

#[test]
fn two_registries_with_logins_of_their_own() {
    let env = env();
    let (one, two) = (registry::start_with(&secure("jo")), registry::start_with(&secure("al")));
    let source = large(&env, 1);
    // jo:pass:word, al:pass:word
    let auths = json!({"auths": {one.host(): {"auth": "am86cGFzczp3b3Jk"}, two.host(): {"auth": "YWw6cGFzczp3b3Jk"}}});
    env.file("docker/config.json", auths.to_string());
    let digest = copy(&env, &source, &one.name("a:1"));
    assert_eq!(copy(&env, &one.name("a:1"), &two.name("b:1")), digest);
    env.file("docker/config.json", json!({"auths": {}}).to_string());
    let run = env.orlop(["copy", &one.name("a:1"), &two.name("b:2")]).run().code(1);
    snapshot::check(&env, "copy-without-credentials", &run);
    let words = ["copy", "--src-creds", "jo:pass:word", &one.name("a:1"), &two.name("b:2")];
    let run = env.orlop(words).run().code(2).never_says("pass:word");
    snapshot::check(&env, "copy-password-on-the-command-line", &run);
}

#[test]
fn what_is_said_of_places_that_are_none() {
    let env = env();
    let run = env.orlop(["copy", "dir:/x", "127.0.0.1:1/a"]).run().code(2);
    snapshot::check(&env, "copy-no-such-place", &run);
    let run = env.orlop(["copy", "oci:none:1", "127.0.0.1:1/a"]).run().code(1);
    snapshot::check(&env, "copy-no-such-layout", &run);
    let one = registry::start();
    let schema1 =
        r#"{"schemaVersion":1,"name":"a","tag":"1","architecture":"amd64","fsLayers":[],"history":[]}"#;
    let dir = env.dir("old");
    let entry = put(&dir, "application/vnd.docker.distribution.manifest.v1+json", schema1.as_bytes());
    name(&dir, &entry, "1");
    let run = env.orlop(["copy", &format!("oci:{}:1", dir.display()), &one.name("a")]).run().code(1);
    snapshot::check(&env, "copy-schema-1", &run);
    let run = env.orlop(["tags", "127.0.0.1:1/a:1"]).run().code(2);
    snapshot::check(&env, "tags-of-a-tag", &run);
}

/// The names of an object's fields, and of those in it, sorted.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        other => other.clone(),
    }
}

#[test]
fn data_has_the_same_shape_every_time() {
    let env = env();
    let one = registry::start();
    let multi = format!("oci:{}:multi", multi(&env).display());
    copy(&env, &multi, &one.name("multi:1"));
    one.fill(base(), "base:1");
    one.fill(base(), "base:2");
    let (base1, base2, multi1) = (one.name("base:1"), one.name("base:2"), one.name("multi:1"));
    let saved = env.path("saved.tar").display().to_string();
    let copied = one.name("copied:1");
    let lines: Vec<Vec<&str>> = vec![
        vec!["version", "--format=json"],
        vec!["pull", "--format=json", "-q", &base1],
        vec!["images", "--format=json"],
        vec!["history", "--format=json", &base1],
        vec!["inspect", &base1],
        vec!["push", "--format=json", "-q", &base1, &base2],
        vec!["save", "-q", "-o", &saved, &base1],
        vec!["load", "--format=json", "-q", "-i", &saved],
        vec!["store", "usage", "--format=json"],
        vec!["store", "check", "--format=json"],
        vec!["store", "gc", "--format=json"],
        vec!["info", "--format=json"],
        vec!["copy", "--format=json", "-q", &base1, &copied],
        vec!["tags", "--format=json", &base1[..base1.len() - 2]],
        vec!["digest", "--format=json", &multi1],
        vec!["inspect", "--remote", &multi1],
        vec!["rmi", "--format=json", &base1],
    ];
    let mut all = String::new();
    for line in lines {
        let run = env.orlop(&line).run().success();
        let words = line.iter().filter(|w| !w.contains(['/', '-'])).copied().collect::<Vec<_>>().join(" ");
        // One object a line, or one document.
        let value: Value = match serde_json::from_str(&run.stdout) {
            Ok(value) => value,
            Err(_) if run.stdout.is_empty() => continue,
            Err(_) => {
                run.stdout.lines().next().map(|l| serde_json::from_str(l).expect("JSON")).expect("a line")
            }
        };
        all += &format!("{words}: {}\n", shape(&value));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/messages/json-shapes.txt");
    snapshot::compare(&path, &all);
}

#[test]
fn looking_at_a_registry_without_pulling() {
    let env = env();
    let one = registry::start();
    let layout = format!("oci:{}:multi", multi(&env).display());
    let digest = copy(&env, &layout, &one.name("multi:1"));
    copy(&env, &layout, &one.name("multi:2"));
    let multi = one.name("multi:1");
    let out = |words: &[&str]| env.orlop(words).run().success().stdout;
    let tags = out(&["tags", &one.name("multi")]);
    let mut tags: Vec<&str> = tags.lines().collect();
    // In the order that the registry gives, which this one does not keep.
    tags.sort_unstable();
    assert_eq!(tags, ["1", "2"]);
    let list: Value =
        serde_json::from_str(&out(&["tags", "--format=json", &one.name("multi")])).expect("JSON");
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "list-tags", "--tls-verify=false"]);
    let theirs = run(skopeo.arg(format!("docker://{}", one.name("multi")))).stdout;
    let theirs: Value = serde_json::from_slice(&theirs).expect("JSON");
    assert_eq!(list["Repository"], theirs["Repository"]);
    assert_eq!(shape(&list), shape(&theirs));
    let before = one.log().matches("\"HEAD /v2/multi/manifests/").count();
    assert_eq!(out(&["digest", &multi]), format!("{digest}\n"));
    assert_eq!(one.log().matches("\"HEAD /v2/multi/manifests/").count(), before + 1, "one request");
    assert_eq!(out(&["digest", "--full-ref", &multi]), format!("{}@{digest}\n", one.name("multi")));
    let raw = out(&["inspect", "--raw", &multi]);
    assert_eq!(raw.as_bytes(), skopeo_raw(&env, &format!("docker://{multi}")));
    assert_eq!(format!("sha256:{}", sha256(raw.as_bytes())), digest);
    let arm = out(&["digest", "--platform=linux/arm64", &multi]);
    let raw = out(&["inspect", "--raw", "--platform=linux/arm64", &multi]);
    assert_eq!(format!("sha256:{}\n", sha256(raw.as_bytes())), arm);
    let shown: Value = serde_json::from_str(&out(&["inspect", &format!("docker://{multi}")])).expect("JSON");
    assert_eq!(shown[0]["Index"], json!(digest));
    assert_eq!(shown[0]["Platforms"].as_array().map(Vec::len), Some(3));
    let config = out(&["inspect", "--config", "--platform=linux/arm64", &layout]);
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["architecture"], "arm64");
    // Without a store, and where none can be made.
    let run = env.bare(["--root", "/proc/none", "copy", "-q", &multi, &one.name("b:1")]).run().success();
    assert_eq!(run.stdout, format!("{digest}\n"));
    env.bare(["--root", "/proc/none", "tags", &one.name("b")]).run().success();
}
