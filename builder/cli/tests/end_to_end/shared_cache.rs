//! `--cache-to` and `--cache-from`: what one store made, and another takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orlop_fixtures::registry::{self, Options, Registry};
use orlop_fixtures::sha256;
use orlop_fixtures::test_env::{Invocation, Run, TestEnv};
use orlop_fixtures::tool::{run, tool};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{FROM, Opened, build_as, env, snapshot};

/// A command whose result tells whether it ran again.
const ONCE: &str = "cat /proc/sys/kernel/random/uuid";

/// A stage that is copied from, and one that stands on the same base.
fn stages() -> String {
    format!(
        "# check=skip=all\n{FROM}RUN {ONCE} > /made\nCOPY src /src\nRUN cat /src >> /made\n\
         FROM ${{BASE}}\nRUN {ONCE} > /id\nCOPY --from=made /made /made\n\
         RUN --mount=from=made,source=/src,target=/in cp /in /out\nRUN true\n"
    )
    .replacen("${BASE}", "${BASE} AS made", 1)
}

/// A registry with the base in it, so that its layers can be counted too.
fn registry() -> Registry {
    let registry = registry::start_with(&Options::default());
    registry.fill(crate::base(), "base:1");
    registry
}

fn over<'a>(env: &'a TestEnv, dockerfile: &str, registry: &Registry) -> Invocation<'a> {
    build_as(env, dockerfile, &registry.name("base:1"), "built")
}

/// The same, pushed under that name of the registry.
fn pushed<'a>(env: &'a TestEnv, dockerfile: &str, registry: &Registry, name: &str) -> Invocation<'a> {
    build_as(env, dockerfile, &registry.name("base:1"), &registry.name(name)).arg("--push")
}

/// A build whose steps are all found.
#[track_caller]
fn all_cached(run: Run) -> Run {
    let run = run.success();
    assert!(run.stderr.contains(", 0 run"), "{run}");
    run
}

/// How many requests of a kind a registry has had.
fn count(registry: &Registry, method: &str, what: &str) -> usize {
    let log = registry.log();
    log.lines().filter(|line| line.contains(&format!("\"{method} /v2/")) && line.contains(what)).count()
}

fn manifest(registry: &Registry, name: &str, tag: &str) -> Value {
    let answer = registry.get(&format!("/v2/{name}/manifests/{tag}"));
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

#[test]
fn what_one_store_made_another_takes_without_a_layer() {
    let (a, b) = (env(), env());
    let registry = registry();
    let cache = registry.name("app:cache");
    for env in [&a, &b] {
        env.file("context/src", "source");
    }
    let to = format!("type=registry,ref={cache},mode=max");
    let first = over(&a, &stages(), &registry).args(["--cache-to", &to]).run().success();
    let before = [count(&registry, "GET", "/blobs/"), count(&registry, "PATCH", "")];
    let from = format!("type=registry,ref={cache}");
    let name = registry.name("app:1");
    let second = pushed(&b, &stages(), &registry, "app:1").args(["--cache-from", &from]).run();
    let second = all_cached(second).says("importing cache from");
    assert_eq!(first.stdout, second.stdout, "the same image");
    // The config of the base and that of the cache; and nothing but the image's config was sent.
    let after = [count(&registry, "GET", "/blobs/"), count(&registry, "PATCH", "")];
    assert_eq!(after, [before[0] + 2, before[1]], "{}", registry.log());
    // What was pushed is whole, and what is asked of the store comes when it is asked for.
    let id = Opened::from(&format!("docker://{name}")).text("/id").to_owned();
    let run = b.orlop(["run", "--rm", &name, "cat", "/id"]).run().success();
    assert_eq!(run.stdout, id);
    // A step that needs the files gets them, and stands on what the first store made.
    let more = format!("{}RUN cat /id /made /out\n", stages());
    let run = over(&b, &more, &registry).args(["--cache-from", &from]).run().success();
    assert!(run.stderr.contains(id.trim_end()) && run.stderr.contains(", 1 run"), "{run}");
}

#[test]
fn the_image_alone_is_enough_where_nobody_looks_into_other_stages() {
    let registry = registry();
    let (cache, image) = (registry.name("app:cache"), registry.name("app:image"));
    let a = env();
    a.file("context/src", "source");
    let first = pushed(&a, &stages(), &registry, "app:image")
        .args(["--cache-to", &format!("type=registry,ref={cache}"), "--cache-to", "type=inline"])
        .run()
        .success();
    let layers = |tag: &str| manifest(&registry, "app", tag)["layers"].as_array().expect("layers").len();
    // Of the image there are the base's besides.
    assert_eq!(layers("cache"), 3, "{}", manifest(&registry, "app", "cache"));
    for from in [&cache, &image] {
        let b = env();
        b.file("context/src", "source");
        let again = over(&b, &stages(), &registry).args(["--cache-from", from, "--cache-to", "type=inline"]);
        let again = all_cached(again.run());
        assert_eq!(again.stdout, first.stdout, "what it carries is the same as well");
        // Now somebody looks: the stage is built, and what stood before it stays.
        let c = env();
        c.file("context/src", "other source");
        let changed =
            over(&c, &stages(), &registry).args(["--cache-from", from, "--no-cache-filter", "none"]);
        let changed = crate::image_of(&c, changed);
        let id = Opened::from(&format!("docker://{image}")).text("/id").to_owned();
        assert_eq!((changed.text("/id"), changed.text("/out")), (id.as_str(), "other source"));
        assert!(changed.text("/made").ends_with("other source"));
    }
}

#[test]
fn a_stage_whose_layers_no_cache_has_is_built_when_its_files_are_needed() {
    let registry = registry();
    let cache = registry.name("app:cache");
    let (a, b) = (env(), env());
    for env in [&a, &b] {
        env.file("context/src", "source");
    }
    over(&a, &stages(), &registry).args(["--cache-to", &cache]).run().success();
    let more = stages().replace("COPY --from=made /made /made\n", "COPY --from=made /src /other\n");
    let run = over(&b, &more, &registry).args(["--cache-from", &cache]).run().success();
    assert!(run.stderr.contains("stages are built whose files are needed"), "{run}");
    assert!(run.stderr.contains(", 1 cached"), "the step before the copy: {run}");
}

#[test]
fn a_build_that_fails_leaves_its_cache() {
    let registry = registry();
    let steps = format!("{FROM}RUN {ONCE} > /id\n");
    let told = |env: &TestEnv, cache: &str| {
        let run = over(env, &format!("{steps}RUN cat /id\n"), &registry).args(["--cache-from", cache]).run();
        assert!(run.stderr.contains(", 1 cached, 1 run"), "{run}");
        run.success()
    };
    let cache = registry.name("failed:c");
    let a = env();
    let run =
        over(&a, &format!("{steps}RUN cat /id; exit 3\n"), &registry).args(["--cache-to", &cache]).run();
    let id = run.stderr.lines().find(|line| line.matches('-').count() == 4).expect("an id").to_owned();
    run.code(1);
    let id = id.rsplit(' ').next().expect("a word").to_owned();
    told(&env(), &cache).says(&id);

    let waits = format!("{steps}RUN echo begun; sleep 60\n");
    let cache = registry.name("interrupted:c");
    let begun = |env: &TestEnv, cache: &str, what: &str| {
        let mut running = over(env, &waits, &registry).args(["--cache-to", cache]).start();
        assert!(running.until(|running| running.stderr().contains(" begun")));
        assert!(what.is_empty() || running.until(|_| registry.log().contains(what)), "{}", running.stderr());
        running
    };
    let a = env();
    let running = begun(&a, &cache, "");
    running.signal(Signal::INT);
    running.wait().code(130);
    told(&env(), &cache);

    let cache = registry.name("killed:c");
    let a = env();
    begun(&a, &cache, "\"PUT /v2/killed/manifests/c ").kill();
    told(&env(), &cache);
}

#[test]
fn several_caches_are_asked_in_turn_and_what_is_none_is_passed_over() {
    let registry = registry();
    let (one, two) = (registry.name("one:c"), registry.name("two:c"));
    let steps = |name: &str| format!("{FROM}RUN {ONCE} > /{name}\n");
    let a = env();
    for (name, cache) in [("one", &one), ("two", &two)] {
        over(&a, &steps(name), &registry).args(["--cache-to", cache]).run().success();
    }
    registry.put_manifest(
        "one",
        "index",
        "application/vnd.oci.image.index.v1+json",
        &json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})
            .to_string(),
    );
    let foreign = ["base:1", "none:1", "one:none", "one:index"].map(|name| registry.name(name));
    let b = env();
    let dockerfile = format!("{}FROM ${{BASE}}\nRUN {ONCE} > /two\nCOPY --from=0 /one /one\n", steps("one"));
    let mut build = over(&b, &dockerfile, &registry);
    for cache in foreign.iter().chain([&two, &one]) {
        build = build.args(["--cache-from", cache]);
    }
    let run = build.run().success();
    assert!(run.stderr.contains("2 cached, 1 run"), "{run}");
    let run = run.says("note: there is no cache yet").says("note: an image that carries no cache");
    assert!(!run.stderr.contains("warning: the cache"), "{run}");
    // One that cannot be reached is told of, and no more.
    let b = env();
    let run =
        over(&b, &steps("one"), &registry).args(["--cache-from", "127.0.0.1:1/x", "--cache-from", &one]);
    all_cached(run.run()).says("the cache `127.0.0.1:1/x:latest` cannot be read");
}

#[test]
fn two_that_write_to_one_name_keep_what_the_other_wrote() {
    let registry = registry();
    let cache = registry.name("app:c");
    let (a, b) = (env(), env());
    let steps =
        |name: &str| format!("{FROM}RUN {ONCE} > /{name}\nRUN sleep {}\n", if name == "a" { 0 } else { 4 });
    // While the second is at work, and has written once, the first comes and goes.
    let mut second = over(&b, &steps("b"), &registry).args(["--cache-to", &cache]).start();
    assert!(second.until(|_| count(&registry, "PUT", "/manifests/c") > 0), "{}", second.stderr());
    over(&a, &steps("a"), &registry).args(["--cache-to", &cache]).run().success();
    second.wait().success();
    for name in ["a", "b"] {
        all_cached(over(&env(), &steps(name), &registry).args(["--cache-from", &cache]).run());
    }
    // Nothing is new: nothing is written.
    let before = count(&registry, "PUT", "");
    assert!(before > 0, "{}", registry.log());
    over(&a, &steps("a"), &registry).args(["--cache-to", &cache]).run().success();
    assert_eq!(count(&registry, "PUT", ""), before, "{}", registry.log());
}

#[test]
fn every_step_that_runs_anew_is_written_anew() {
    let registry = registry();
    let cache = registry.name("app:c");
    let steps = format!("{FROM}RUN {ONCE} > /id\n");
    let to = |env: &TestEnv, extra: &[&str]| {
        over(env, &steps, &registry).args(["--cache-to", &cache]).args(extra).run().success().stdout
    };
    let a = env();
    let first = to(&a, &[]);
    let from = |extra: &[&str]| {
        let env = env();
        over(&env, &steps, &registry).args(["--cache-from", &cache]).args(extra).run().success()
    };
    assert_eq!(from(&[]).stdout, first);
    assert_ne!(from(&["--no-cache"]).never_says("importing").stdout, first);
    let second = to(&a, &["--no-cache"]);
    assert_ne!(second, first);
    assert_eq!(from(&[]).stdout, second);
}

#[test]
fn a_result_that_turns_out_the_same_keeps_what_comes_after_in_other_stores() {
    let registry = registry();
    let cache = registry.name("app:c");
    let dockerfile = format!(
        "{FROM}RUN --mount=type=bind,source=src,target=/src grep -v '^#' /src > /compiled\nRUN {ONCE} > /id\n"
    );
    let (a, b) = (env(), env());
    a.file("context/src", "# comment\ncode\n");
    b.file("context/src", "# another comment\ncode\n");
    let first = over(&a, &dockerfile, &registry).args(["--cache-to", &cache]).run().success();
    let second = over(&b, &dockerfile, &registry).args(["--cache-from", &cache]).run().success();
    assert!(second.stderr.contains("1 cached, 1 run"), "{second}");
    assert_eq!(layers(&a, &first), layers(&b, &second));
}

/// Diff IDs of what a build made.
fn layers(env: &TestEnv, run: &Run) -> Vec<Value> {
    let inspected = env.orlop(["inspect", run.stdout.trim_end()]).run().success();
    let inspected: Value = serde_json::from_str(&inspected.stdout).expect("JSON");
    let image = inspected.get(0).unwrap_or(&inspected);
    image["RootFS"]["Layers"].as_array().expect("layers").clone()
}

#[test]
fn several_platforms_share_one_cache() {
    let registry = registry();
    let dockerfile = "FROM scratch AS made\nARG TARGETARCH\nCOPY src /src\nFROM scratch\nARG TARGETARCH\n\
                      COPY src /$TARGETARCH\nCOPY --from=made /src /common\n";
    let cache = registry.name("app:c");
    let build = |env: &TestEnv, flag: &str, place: &str, name: &str| {
        env.file("context/src", "source");
        build_as(env, dockerfile, "unused", &registry.name(name))
            .args(["--platform", "linux/amd64,linux/arm64,windows/amd64", "--push", flag, place])
            .run()
            .success()
    };
    let to = format!("{cache},mode=max").replace(&cache, &format!("type=registry,ref={cache}"));
    let first = build(&env(), "--cache-to", &to, "app:1");
    let second = all_cached(build(&env(), "--cache-from", &cache, "app:2"));
    assert_eq!(first.stdout, second.stdout);
    let inline = build(&env(), "--cache-to", "type=inline", "app:3");
    let third = all_cached(build(&env(), "--cache-from", &registry.name("app:3"), "app:4"));
    assert_ne!(inline.stdout, third.stdout, "it carries no cache itself");
}

#[test]
fn a_directory_is_a_cache_as_well() {
    let registry = registry();
    let (a, b) = (env(), env());
    for env in [&a, &b] {
        env.file("context/src", "source");
    }
    let dir = a.path("cache");
    let to = format!("type=local,dest={},mode=max,compression=zstd,tag=t", dir.display());
    let first = over(&a, &stages(), &registry).args(["--cache-to", &to]).run().success();
    let from = format!("type=local,src={},tag=t", dir.display());
    let second = over(&b, &stages(), &registry).args(["--cache-from", &from]).run();
    assert_eq!(all_cached(second).stdout, first.stdout);
    assert_eq!(
        config(&dir)["layers"][0]["annotations"]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    // By its digest; and there is none of another tag.
    let index: Value =
        serde_json::from_slice(&fs::read(dir.join("index.json")).expect("read")).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    for (which, cached) in [(format!("digest={digest}"), true), ("tag=other".to_owned(), false)] {
        let env = env();
        env.file("context/src", "source");
        let from = format!("type=local,src={},{which}", dir.display());
        let run = over(&env, &stages(), &registry).args(["--cache-from", &from]).run().success();
        assert_eq!(run.stderr.contains(", 0 run"), cached, "{run}");
    }
}

/// Stages without RUN, which are built at once.
const PLAIN: &str = "FROM scratch AS made\nCOPY src /src\nCOPY src /made\nFROM scratch\nCOPY src /id\n\
                     COPY --from=made /made /made\nWORKDIR /w\n";

/// The layout that the layers and records of a cache are changed in.
struct Forge {
    dir: PathBuf,
}

impl Forge {
    /// A cache of the plain stages.
    fn new(env: &TestEnv, registry: &Registry) -> Self {
        env.file("context/src", "source");
        let dir = env.path("forge");
        let to = format!("type=local,dest={},mode=max", dir.display());
        over(env, PLAIN, registry).args(["--cache-to", &to]).run().success();
        Self { dir }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        blob(&self.dir, digest)
    }

    fn put(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", sha256(bytes));
        fs::write(self.blob(&digest), bytes).expect("write");
        digest
    }

    /// Changes config and manifest, and puts them in the place of those that are there.
    fn change(&self, change: impl FnOnce(&mut Value, &mut Value)) {
        let (mut config, mut manifest) = (config(&self.dir), top(&self.dir));
        change(&mut config, &mut manifest);
        let bytes = config.to_string();
        if manifest["config"]["mediaType"].as_str().is_some_and(|kind| kind.contains("cacheconfig")) {
            manifest["config"]["digest"] = json!(self.put(bytes.as_bytes()));
            manifest["config"]["size"] = json!(bytes.len());
        }
        let bytes = manifest.to_string();
        let digest = self.put(bytes.as_bytes());
        let media = manifest["mediaType"].clone();
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": media, "digest": digest, "size": bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": "latest"},
        }]});
        fs::write(self.dir.join("index.json"), index.to_string()).expect("write");
    }
}

fn blob(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn top(dir: &Path) -> Value {
    let index: Value =
        serde_json::from_slice(&fs::read(dir.join("index.json")).expect("read")).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest");
    serde_json::from_slice(&fs::read(blob(dir, digest)).expect("read")).expect("JSON")
}

fn config(dir: &Path) -> Value {
    let digest = top(dir)["config"]["digest"].as_str().expect("a digest").to_owned();
    serde_json::from_slice(&fs::read(blob(dir, &digest)).expect("read")).expect("JSON")
}

/// Builds with a cache that is not what it should be: the image is right, whatever that took.
#[track_caller]
fn right_with(from: &str, registry: &Registry, what: &str) -> Run {
    let env = env();
    env.file("context/src", "source");
    let more = format!("{PLAIN}COPY --from=made /src /out\n");
    let run = pushed(&env, &more, registry, "right:1").args(["--cache-from", from]).run().success();
    let image = Opened::from(&format!("docker://{}", registry.name("right:1")));
    for path in ["/id", "/made", "/out"] {
        assert_eq!(image.text(path), "source", "{what}: {path}: {run}");
    }
    env.orlop(["store", "check"]).run().success();
    run
}

#[test]
fn layers_that_are_not_what_they_should_be_cost_time_alone() {
    let registry = registry();
    let maker = env();
    let forge = Forge::new(&maker, &registry);
    let local = format!("type=local,src={}", forge.dir.display());
    let whole = || (registry.fill(&forge.dir, "cache:c"), registry.name("cache:c")).1;
    right_with(&whole(), &registry, "whole").never_says("cannot be had").says("5 cached");
    let layers = config(&forge.dir)["layers"].as_array().expect("layers").clone();
    let digests: Vec<&str> = layers.iter().map(|layer| layer["blob"].as_str().expect("a digest")).collect();
    let digest = digests[0];
    let (here, there) = (forge.blob(digest), registry.blob(digest));
    let bytes = fs::read(&here).expect("read");
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [Some(&bytes[..bytes.len() / 2]), Some(&flipped[..]), None] {
        for (path, from) in [(&here, local.as_str()), (&there, &registry.name("cache:c"))] {
            match damaged {
                Some(damaged) => fs::write(path, damaged).expect("write"),
                None => fs::remove_file(path).expect("remove"),
            }
            right_with(from, &registry, "damaged").says("cannot be had");
            fs::write(path, &bytes).expect("write");
        }
    }
    // A layer that says to be another: all of them do.
    forge.change(|config, manifest| {
        for (place, layer) in config["layers"].as_array_mut().expect("layers").iter_mut().enumerate() {
            layer["annotations"]["diffID"] = json!(format!("sha256:{}", sha256(&[place as u8])));
        }
        for layer in manifest["layers"].as_array_mut().expect("layers") {
            layer["annotations"] = json!({});
        }
    });
    right_with(&local, &registry, "another").says("cannot be had");
    right_with(&whole(), &registry, "another").says("cannot be had");
}

#[test]
fn documents_that_are_not_what_they_should_be_cost_time_alone() {
    let registry = registry();
    let maker = env();
    let forge = Forge::new(&maker, &registry);
    let original = (top(&forge.dir), config(&forge.dir));
    let local = format!("type=local,src={}", forge.dir.display());
    let try_with = |name: &str, change: &dyn Fn(&mut Value, &mut Value)| {
        forge.change(|config, manifest| {
            (*manifest, *config) = original.clone();
            change(config, manifest);
        });
        right_with(&local, &registry, name);
    };
    try_with("no layers", &|config, _| config["layers"] = json!([]));
    try_with("of another kind", &|config, _| config["layers"] = json!({"a": 1}));
    try_with("no records", &|config, _| config["records"] = json!(null));
    try_with("a circle, and layers that are none", &|config, _| {
        for (place, layer) in config["layers"].as_array_mut().expect("layers").iter_mut().enumerate() {
            layer["parent"] = json!(([1, 0, 99, i64::MIN, i64::MAX][place % 5]));
        }
        for (place, record) in config["records"].as_array_mut().expect("records").iter_mut().enumerate() {
            record["layers"] = json!([{"layer": ([-1, 99, i64::MAX, i64::MIN][place % 4]), "createdAt": "2024-01-01T00:00:00Z"}]);
        }
    });
    try_with("every record the same layer", &|config, _| {
        let layer = json!([{"layer": 0, "createdAt": "9999-12-31T23:59:59Z"}]);
        for record in config["records"].as_array_mut().expect("records") {
            record["digest"] = json!(format!("sha256:{}", sha256(record["digest"].to_string().as_bytes())));
            record["layers"] = layer.clone();
        }
    });
    try_with("numbers that are none", &|config, _| config["layers"][0]["parent"] = json!(1e300));
    try_with("blobs as large as nothing is", &|_, manifest| manifest["layers"][0]["size"] = json!(u64::MAX));
    try_with("a config as large as nothing is", &|_, manifest| {
        manifest["layers"] = json!("x".repeat(5 << 20))
    });
    try_with("digests that are none", &|_, manifest| manifest["config"]["digest"] = json!("sha256:../../x"));
    try_with("another builder's", &|config, _| {
        drop(config.as_object_mut().expect("an object").remove("orlop"))
    });
}

#[test]
fn a_cache_takes_no_images_place_and_its_failure_comes_last() {
    let registry = registry();
    let a = env();
    let steps = format!("{FROM}RUN {ONCE} > /id\n");
    let name = registry.name("app:1");
    let to_image = format!("type=registry,ref={}", registry.name("base:1"));
    let before = registry.get("/v2/base/manifests/1");
    let build = |to: &str| pushed(&a, &steps, &registry, "app:1").args(["--cache-to", to]).run();
    let file = a.file("Dockerfile.quiet", format!("# check=skip=all\n{steps}"));
    let base = format!("BASE={}", registry.name("base:1"));
    let run = a
        .orlop([
            "build",
            "--progress=quiet",
            "-t",
            &name,
            "--push",
            "--build-arg",
            &base,
            "--cache-to",
            &to_image,
        ])
        .arg("-f")
        .arg(file)
        .arg(a.dir("context"))
        .run()
        .code(1);
    snapshot::check(&a, "cache-to-an-image", &run);
    let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    assert_eq!(body(&registry.get("/v2/base/manifests/1")), body(&before));
    assert!(Opened::from(&format!("docker://{name}")).has("/id"), "the image is there all the same");
    build(&format!("{to_image},ignore-error=true")).success().says("warning: cannot export the cache");
    let nowhere = build("type=registry,ref=127.0.0.1:1/x")
        .code(1)
        .says("cannot export the cache to `127.0.0.1:1/x:latest`");
    drop(nowhere);
    // Of a build that fails itself that is told.
    let fails = format!("{steps}RUN exit 7\n");
    let run = over(&a, &fails, &registry).args(["--cache-to", &to_image]).run().code(1);
    assert!(run.stderr.contains("exit code: 7") && run.stderr.contains("warning: cannot export"), "{run}");
}

#[test]
fn no_value_and_no_secret_gets_into_a_cache() {
    let registry = registry();
    let a = env();
    let secret = a.file("secret", "hush-secret");
    let dockerfile = format!(
        "{FROM}ARG TOKEN\nRUN --mount=type=secret,id=s --mount=type=cache,target=/kept \
         cat /run/secrets/s > /kept/s; echo done > /done\n"
    );
    let dir = a.path("cache");
    over(&a, &dockerfile, &registry)
        .args(["--build-arg", "TOKEN=hush-argument", "--secret", &format!("id=s,src={}", secret.display())])
        .args(["--cache-to", &format!("type=local,dest={},mode=max,compression=uncompressed", dir.display())])
        .run()
        .success();
    let found = tool("grep").args(["-rl", "hush"]).arg(&dir).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    assert_eq!(config(&dir)["layers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_orlop_wrote_other_tools_copy() {
    let registry = registry();
    let (a, b) = (env(), env());
    let steps = format!("{FROM}RUN {ONCE} > /id\n");
    for image_manifest in ["true", "false"] {
        let cache = registry.name(&format!("form-{image_manifest}:c"));
        let to = format!(
            "type=registry,ref={cache},image-manifest={image_manifest},force-compression=true,compression=zstd"
        );
        over(&a, &steps, &registry).args(["--cache-to", &to]).run().success();
        all_cached(
            over(&b, &steps, &registry).args(["--no-cache-filter", "x", "--cache-from", &cache]).run(),
        );
    }
    let mut skopeo = tool("skopeo");
    skopeo.args(["--insecure-policy", "copy", "-q", "--src-tls-verify=false"]);
    let copy = b.path("copy");
    run(skopeo
        .arg(format!("docker://{}", registry.name("form-true:c")))
        .arg(format!("oci:{}:latest", copy.display())));
    let c = env();
    let from = format!("type=local,src={}", copy.display());
    all_cached(
        over(&c, &steps, &registry).args(["--cache-from", &from]).patience(Duration::from_secs(60)).run(),
    );
}
