//! What a name stands for while another image is on its way to it, and where layers of a name are looked for.

use std::path::PathBuf;
use std::time::Duration;

use orlop_fixtures::fault_proxy::{self, Fault, FaultProxy, Kind, Reply};
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::sha256;
use orlop_fixtures::test_env::{Invocation, TestEnv};
use serde_json::json;

use crate::{FROM, build_as, env};

/// Bytes a second where something is to be killed in the middle.
const SLOW: u64 = 150_000;

/// A registry whose `team/image:1` is the base, a proxy before it, and a store that has pulled it.
struct World {
    registry: Registry,
    proxy: FaultProxy,
    env: TestEnv,
    name: String,
}

impl World {
    fn new() -> Self {
        let world = Self::empty();
        world.env.orlop(["pull", &world.name]).run().success();
        world
    }

    /// The same, nothing pulled yet.
    fn empty() -> Self {
        let registry = registry::start();
        registry.fill(crate::base(), "team/image:1");
        let proxy = fault_proxy::start(&registry.host());
        let name = proxy.name("team/image:1");
        Self { registry, proxy, env: env(), name }
    }

    /// The name stands for another image at the registry now: the base's file system and two layers more.
    fn move_name(&self) {
        let noise: String = (0..4000).map(|n| sha256(format!("{n}").as_bytes())).collect();
        let other = env();
        other.file("context/noise", noise);
        let dockerfile = format!("{FROM}COPY noise /new\nRUN echo new > /newer\n");
        let name = self.registry.name("team/image:1");
        build_as(&other, &dockerfile, &crate::base_name(), &name).arg("--push").run().success();
    }

    /// From now on layers cannot be had: the config, which is asked for first, can.
    fn lose_layers(&self, known: u32) {
        self.proxy.rule(Kind::GetBlob, known, u32::MAX, Fault::Answer(Reply::new(404, "BLOB_UNKNOWN")));
    }

    /// Names and IDs of all images here.
    fn images(&self) -> Vec<String> {
        let listed = self.env.orlop(["images", "--no-trunc"]).run().success().stdout;
        let columns = |line: &str| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        listed.lines().skip(1).map(columns).collect()
    }

    /// All is as if nothing had been tried, also for a collector, and with a registry that has nothing.
    #[track_caller]
    fn old_works(&self, before: &[String]) {
        assert_eq!(self.images(), before);
        self.proxy.behave();
        self.proxy.rule(Kind::Any, 0, u32::MAX, Fault::Answer(Reply::new(404, "NAME_UNKNOWN")));
        for collect in [&["store", "gc"][..], &["store", "gc", "--all"]] {
            self.env.orlop(collect).run().success();
            let run = self.env.orlop(["run", "--rm", &self.name, "ls", "/"]).run().success();
            assert!(run.stdout.contains("etc") && !run.stdout.contains("new"), "{run}");
        }
        let checked = self.env.orlop(["store", "check"]).run().success();
        assert!(
            !checked.stdout.contains("Incomplete") && !checked.stdout.contains("Not fetched"),
            "{checked}"
        );
        self.proxy.behave();
    }

    fn build(&self, dockerfile: &str) -> Invocation<'_> {
        build_as(&self.env, dockerfile, &self.name, "built")
    }
}

/// Blobs of a store.
fn blobs(env: &TestEnv) -> Vec<PathBuf> {
    let dir = env.store().join("blobs/sha256");
    let read = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("`{}`: {e}", dir.display()));
    read.map(|entry| entry.expect("an entry").path()).collect()
}

/// No manifest, config or index.
fn documents(env: &TestEnv) -> usize {
    let is_json = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.first() == Some(&b'{'));
    blobs(env).iter().filter(|path| is_json(path)).count()
}

#[test]
fn a_pull_that_fails_leaves_the_name_to_what_it_stood_for() {
    let world = World::new();
    let before = world.images();
    world.move_name();
    let step = format!("{FROM}RUN ls /\n");
    let pulls: [(&str, Invocation<'_>); 3] = [
        ("pull", world.env.orlop(["pull", &world.name])),
        ("run", world.env.orlop(["run", "--rm", "--pull=always", &world.name, "true"])),
        ("build", world.build(&step).arg("--pull")),
    ];
    for (what, pull) in pulls {
        world.proxy.behave();
        world.lose_layers(1);
        let run = pull.run().code(1);
        assert!(run.stderr.contains("404") && run.stderr.contains("team/image"), "{what}: {run}");
        world.old_works(&before);
    }
    // And once it is complete, it stands for the new one, which needs nobody any more.
    world.env.orlop(["pull", &world.name]).run().success();
    assert_ne!(world.images(), before);
    world.proxy.rule(Kind::Any, 0, u32::MAX, Fault::Answer(Reply::new(404, "NAME_UNKNOWN")));
    world.env.orlop(["store", "gc", "--all"]).run().success();
    world.env.orlop(["run", "--rm", &world.name, "cat", "/newer"]).run().success();
    assert_eq!(documents(&world.env), 2, "the old one is gone");
}

#[test]
fn a_build_moves_the_name_of_its_base_with_its_layers_alone() {
    let world = World::new();
    let before = world.images();
    world.move_name();
    // It needs no file of its base, and brings none: the name goes on working.
    world.lose_layers(1);
    let run = world.build(&format!("{FROM}ENV A=1\n")).arg("--pull").run().success();
    let run = run.says("stays the image that is here in full");
    let id = run.stdout.trim().to_owned();
    let shown = world.env.orlop(["inspect", "built"]).run().success();
    assert!(shown.stdout.contains(&id), "{shown}");
    world.env.orlop(["rmi", "built"]).run().success();
    world.old_works(&before);
    // A file is needed, all of it comes, and the name goes along.
    world.build(&format!("{FROM}RUN cat /newer\n")).arg("--pull").run().success();
    world.proxy.rule(Kind::Any, 0, u32::MAX, Fault::Answer(Reply::new(404, "NAME_UNKNOWN")));
    world.env.orlop(["run", "--rm", &world.name, "cat", "/newer"]).run().success();
}

#[test]
fn a_base_of_which_no_file_was_needed_is_known_by_its_name() {
    let world = World::empty();
    let fails = world.build(&format!("{FROM}ENV A=1\nCOPY missing /\n")).run().code(1);
    assert_eq!(world.images(), Vec::<String>::new(), "{fails}");
    world.build(&format!("{FROM}ENV A=1\n")).run().success();
    assert_eq!(world.images().len(), 2, "{:?}", world.images());
    let checked = world.env.orlop(["store", "check"]).run().success();
    assert!(checked.stdout.contains("Not fetched yet") && checked.stdout.contains("team/image"), "{checked}");
    // Neither is asked for again, and collectors leave it.
    world.env.orlop(["store", "gc", "--all"]).run().success();
    world.proxy.forget();
    world.build(&format!("{FROM}ENV A=2\n")).run().success();
    assert_eq!(world.proxy.seen().len(), 0);
    world.env.orlop(["run", "--rm", &world.name, "true"]).run().success();
    assert!(world.proxy.count(Kind::GetBlob) > 0);
}

#[test]
fn a_first_pull_that_fails_leaves_no_image() {
    let world = World::empty();
    let step = format!("{FROM}RUN ls /\n");
    let pulls: [(&str, Invocation<'_>); 3] = [
        ("pull", world.env.orlop(["pull", &world.name])),
        ("run", world.env.orlop(["run", "--rm", &world.name, "true"])),
        ("build", world.build(&step)),
    ];
    for (what, pull) in pulls {
        world.proxy.behave();
        world.lose_layers(1);
        pull.run().code(1);
        assert_eq!(world.images(), Vec::<String>::new(), "{what}");
        assert_eq!(documents(&world.env), 0, "{what}");
    }
}

#[test]
fn a_killed_pull_leaves_the_name_to_what_it_stood_for() {
    let world = World::new();
    let before = world.images();
    world.move_name();
    let step = format!("{FROM}RUN ls /\n");
    for round in 0..8_u32 {
        world.proxy.throttle(SLOW);
        world.proxy.forget();
        let pull = match round % 4 {
            0 | 1 => world.env.orlop(["pull", &world.name]),
            2 => world.env.orlop(["run", "--rm", "--pull=always", &world.name, "true"]),
            _ => world.build(&step).arg("--pull"),
        };
        let mut running = pull.start();
        // The config is asked for first, then layers.
        assert!(running.until(|_| world.proxy.count(Kind::GetBlob) > 1), "{}", running.stderr());
        std::thread::sleep(Duration::from_millis(u64::from(round) * 40));
        assert_eq!(running.kill().status.code(), None, "round {round} was over before");
        world.proxy.behave();
        world.old_works(&before);
        assert_eq!(documents(&world.env), 2, "round {round}");
    }
    world.env.orlop(["pull", &world.name]).run().success();
    world.env.orlop(["run", "--rm", &world.name, "cat", "/newer"]).run().success();
}

/// What somebody left who was killed between two files, or an orlop of before: a collector takes it, old or not.
#[test]
fn what_is_left_of_a_pull_is_swept() {
    let world = World::new();
    let text = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
    let text = text.to_string();
    let path = world.env.store().join("blobs/sha256").join(sha256(text.as_bytes()));
    std::fs::write(&path, text).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()));
    let swept = world.env.orlop(["store", "gc"]).run().success();
    assert!(!path.exists() && swept.stdout.contains("1 blobs"), "{swept}");
    world.env.orlop(["run", "--rm", &world.name, "true"]).run().success();
}

/// A store whose `name` was built wholly from a cache in a registry, nothing of it fetched.
fn from_cache(world: &World, name: &str) {
    let dockerfile = format!("{FROM}RUN echo made > /made\nRUN echo more > /more\n");
    let cache = world.proxy.name("cache/max:c");
    let first = env();
    build_as(&first, &dockerfile, &world.name, "built")
        .args(["--cache-to", &format!("type=registry,ref={cache},mode=max")])
        .run()
        .success();
    let run = build_as(&world.env, &dockerfile, &world.name, name).args(["--cache-from", &cache]).run();
    assert!(run.stderr.contains(", 0 run"), "{run}");
    run.success();
}

#[test]
fn layers_of_a_cache_are_fetched_from_there_whatever_the_image_is_called() {
    // A registry of its own that is never to be asked.
    let other = registry::start();
    let never = fault_proxy::start(&other.host());
    for uses in ["run", "build"] {
        let world = World::empty();
        let name = never.name("team/app:1");
        from_cache(&world, &name);
        let run = match uses {
            "run" => world.env.orlop(["run", "--rm", &name, "cat", "/made", "/more"]).run().success(),
            _ => build_as(&world.env, &format!("{FROM}RUN cat /made /more\n"), &name, "over").run().success(),
        };
        assert!(!run.stderr.contains("trying again"), "{run}");
        assert!(run.stdout.contains("more") || run.stderr.contains("more"), "{run}");
        assert_eq!(never.seen().len(), 0, "{uses}");
    }
}

#[test]
fn a_cache_whose_registry_is_gone_is_what_the_error_names() {
    let world = World::new();
    from_cache(&world, "plain:1");
    world.proxy.rule(Kind::GetBlob, 0, u32::MAX, Fault::Answer(Reply::new(404, "BLOB_UNKNOWN")));
    for run in [
        world.env.orlop(["run", "--rm", "plain:1", "cat", "/made"]).run().code(1),
        build_as(&world.env, &format!("{FROM}RUN cat /made\n"), "plain:1", "over").run().code(1),
    ] {
        run.says(&world.proxy.name("cache/max")).says("404").never_says("docker.io");
    }
}

/// The steps are all in a cache whose layers are lost, as an output finds out that needs them; and the step that is run
/// in their place fails.
#[test]
fn a_build_that_fails_for_want_of_a_layer_leaves_the_name_to_what_it_stood_for() {
    let world = World::new();
    let secret = world.env.file("secret", "x").display().to_string();
    let dockerfile = format!("{FROM}RUN --mount=type=secret,id=s cat /run/secrets/s > /made\n");
    let cache = world.proxy.name("cache/max:c");
    let first = env();
    build_as(&first, &dockerfile, &world.name, "built")
        .args(["--cache-to", &cache, "--secret", &format!("id=s,src={secret}")])
        .run()
        .success();
    world.build(&format!("{FROM}RUN true\n")).run().success();
    let before = world.images();
    world.lose_layers(1);
    let out = format!("type=local,dest={}", world.env.path("out").display());
    let run = world.build(&dockerfile).args(["--cache-from", &cache, "-o", &out]).run().code(1);
    let run = run.says("of the cache cannot be had");
    assert_eq!(world.images(), before, "{run}");
    world.env.orlop(["store", "gc", "--all"]).run().success();
    world.env.orlop(["run", "--rm", "built", "true"]).run().success();
}

#[test]
fn what_is_no_image_is_named_with_how_it_was_asked_for() {
    let world = World::empty();
    let env = &world.env;
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let digest = format!("sha256:{}", sha256(b"{}"));
    let config = |kind: &str| json!({"mediaType": kind, "digest": digest, "size": 2});
    let image = "application/vnd.oci.image.config.v1+json";
    let artifact = json!({
        "schemaVersion": 2, "mediaType": manifest, "artifactType": "application/x.sbom",
        "config": config("application/vnd.oci.empty.v1+json"), "layers": [],
    });
    let answers = [
        ("artifact", artifact.to_string(), "artifact of type `application/x.sbom`"),
        ("version", json!({"schemaVersion": 3, "mediaType": manifest, "config": config(image)}).to_string(), "schemaVersion"),
        ("layers", json!({"schemaVersion": 2, "mediaType": manifest, "config": config(image), "layers": 7}).to_string(), "invalid type"),
        ("config", json!({"schemaVersion": 2, "mediaType": manifest, "config": {"mediaType": image, "digest": "sha256:../x", "size": 2}, "layers": []}).to_string(), "digest"),
        ("no-config", json!({"schemaVersion": 2, "mediaType": manifest, "layers": []}).to_string(), "config"),
        ("no-json", "<html>".to_owned(), "no JSON"),
    ];
    for (tag, body, says) in answers {
        world.proxy.behave();
        let headers = vec![("Content-Type".to_owned(), manifest.to_owned())];
        let answer = Reply { status: 200, headers, body: body.into_bytes(), early: false };
        world.proxy.rule(Kind::GetManifest, 0, u32::MAX, Fault::Answer(answer));
        let name = world.proxy.name(&format!("team/{tag}:1"));
        for command in [&["pull", &name][..], &["run", "--rm", &name, "true"]] {
            let run = env.orlop(command).run().code(1);
            assert!(run.stderr.contains(&name) && run.stderr.contains(says), "{tag}: {run}");
            let by = if tag == "artifact" { "`orlop copy " } else { &format!("team/{tag}") };
            assert!(run.stderr.contains(by), "{tag}: {run}");
        }
        let run = build_as(env, &format!("{FROM}RUN true\n"), &name, "built").run().code(1);
        assert!(run.stderr.contains(&name) && run.stderr.contains(says), "{tag}: {run}");
    }
}
