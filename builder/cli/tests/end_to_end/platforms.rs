//! Builds for several platforms, and for one that is not this machine's.

use std::path::Path;

use orlop_fixtures::emulator::{self, Registered};
use orlop_fixtures::test_env::{Invocation, Run, TestEnv};
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::web::{self, Page};
use orlop_fixtures::{layout, registry, tree};
use serde_json::{Value, json};

use crate::{Opened, base_name, env, snapshot};

/// Copies and nothing else: every platform can have it.
const COPIES: &str = "FROM --platform=$BUILDPLATFORM scratch AS common\nCOPY f /common\n\
    FROM scratch\nARG TARGETPLATFORM\nARG TARGETARCH\nARG TARGETVARIANT\nCOPY --from=common /common /f\n\
    COPY f /for-$TARGETARCH\nLABEL for=$TARGETPLATFORM variant=${TARGETVARIANT:-none}\n";

/// `orlop build` of this text for these platforms.
fn build<'a>(env: &'a TestEnv, dockerfile: &str, platforms: &str) -> Invocation<'a> {
    build_with(env, env.orlop::<&str>([]), dockerfile, platforms).arg("--progress=plain")
}

/// The same without progress, whose lines come in any order.
fn quiet<'a>(env: &'a TestEnv, dockerfile: &str, platforms: &str) -> Invocation<'a> {
    build_with(env, env.orlop::<&str>([]), dockerfile, platforms).arg("-q")
}

fn build_with<'a>(
    env: &'a TestEnv,
    orlop: Invocation<'a>,
    dockerfile: &str,
    platforms: &str,
) -> Invocation<'a> {
    env.file("context/f", "content\n");
    let file = env.file("Dockerfile", dockerfile);
    let mut orlop = orlop.args(["build", "--platform", platforms]);
    if dockerfile.contains("ARG BASE") {
        orlop = orlop.arg("--build-arg").arg(format!("BASE={}", base_name()));
    }
    orlop.arg("-f").arg(file).arg(env.path("context"))
}

/// The index that a name of skopeo's stands for.
fn raw(name: &str) -> Value {
    let said = run(tool("skopeo").args(["inspect", "--raw", "--tls-verify=false", name])).stdout;
    serde_json::from_slice(&said).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn platforms(index: &Value) -> Vec<Value> {
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json", "{index}");
    index["manifests"].as_array().expect("manifests").iter().map(|m| m["platform"].clone()).collect()
}

fn id(run: &Run) -> String {
    run.stdout.trim_end().to_owned()
}

/// Every image of an index, by a program that is not ours.
fn copied(env: &TestEnv, name: &str) -> usize {
    let dir = env.dir("copied");
    run(tool("skopeo")
        .args(["--insecure-policy", "copy", "-q", "--all", "--src-tls-verify=false", name])
        .arg(format!("dir:{}", dir.display()))
        .env("TMPDIR", env.path("tmp")));
    let manifests = std::fs::read_dir(dir).expect("a directory").flatten();
    manifests.filter(|file| file.file_name().to_string_lossy().ends_with(".manifest.json")).count()
}

#[test]
fn an_oci_archive_and_a_layout_hold_an_index_with_windows_in_it() {
    let env = env();
    let (archive, dir) = (env.path("o.tar"), env.path("layout"));
    let built = build(&env, COPIES, "linux/amd64,linux/arm/v7")
        .args(["--platform", "windows(10.0.20348.587)/amd64", "-o"])
        .arg(format!("type=oci,dest={},name=app:1", archive.display()))
        .arg("-o")
        .arg(format!("type=oci,dest={},tar=false,name=app:1", dir.display()))
        .args(["--iidfile", "iid", "--metadata-file", "metadata"])
        .run()
        .success();
    let index = raw(&format!("oci:{}:1", dir.display()));
    assert_eq!(
        platforms(&index),
        [
            json!({"os": "linux", "architecture": "amd64"}),
            json!({"os": "linux", "architecture": "arm", "variant": "v7"}),
            json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.20348.587"}),
        ]
    );
    assert_eq!(raw(&format!("oci-archive:{}:1", archive.display())), index);
    assert_eq!(copied(&env, &format!("oci:{}:1", dir.display())), 3);
    let metadata: Value =
        serde_json::from_str(&std::fs::read_to_string(env.path("metadata")).expect("a file")).expect("JSON");
    let digest = id(&built);
    assert_eq!(std::fs::read_to_string(env.path("iid")).expect("a file"), digest);
    assert_eq!(metadata["containerimage.digest"], json!(digest));
    assert_eq!(metadata["containerimage.descriptor"]["digest"], json!(digest));
    assert_eq!(metadata["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert!(metadata.get("containerimage.config.digest").is_none(), "{metadata}");
    let top: Value =
        serde_json::from_slice(&std::fs::read(dir.join("index.json")).expect("a file")).expect("JSON");
    assert_eq!(top["manifests"][0]["digest"], json!(digest), "the image ID is the index's digest: {top}");
    // Each image has what is common and what is its own.
    for (arch, variant, file) in [("amd64", None, "/for-amd64"), ("arm", Some("v7"), "/for-arm")] {
        let out = env.dir(&format!("one-{arch}"));
        let mut skopeo = tool("skopeo");
        skopeo.args(["--insecure-policy", "--override-os=linux", &format!("--override-arch={arch}")]);
        skopeo.args(variant.map(|v| format!("--override-variant={v}")));
        run(skopeo
            .args(["copy", "-q", &format!("oci:{}:1", dir.display())])
            .arg(format!("oci:{}:latest", out.display())));
        let opened = Opened::from(&format!("oci:{}:latest", out.display()));
        assert!(opened.has(file) && opened.has("/f"), "{:?}", opened.tree.keys());
        let platform = format!("linux/{arch}{}", variant.map(|v| format!("/{v}")).unwrap_or_default());
        assert_eq!(opened.settings()["Labels"]["for"], json!(platform));
        assert_eq!(opened.settings()["Labels"]["variant"], json!(variant.unwrap_or("none")));
    }
}

#[test]
fn what_is_common_to_platforms_is_done_once() {
    let env = env();
    // Both run here: a variant says what a processor has, and the base needs none of it.
    let dockerfile = "ARG BASE\nFROM --platform=$BUILDPLATFORM ${BASE} AS once\n\
        RUN cat /proc/sys/kernel/random/uuid > /id\n\
        FROM ${BASE}\nARG TARGETVARIANT\nCOPY --from=once /id /id\nRUN cat /proc/sys/kernel/random/uuid > /own\n";
    let out = env.path("out");
    let local = format!("type=local,dest={}", out.display());
    for flags in [&[][..], &["--no-cache"]] {
        let run =
            build(&env, dockerfile, "linux/amd64,linux/amd64/v2").args(["-o", &local]).args(flags).run();
        let run = run.success();
        let read = |name: &str| {
            let files = ["linux_amd64", "linux_amd64_v2"].map(|dir| out.join(dir).join(name));
            files.map(|file| {
                std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
            })
        };
        let [one, other] = read("id");
        assert_eq!(one, other, "the common step ran once: {run}");
        let [one, other] = read("own");
        assert_ne!(one, other, "each has its own: {run}");
        let shown = run.stderr.lines().filter(|line| line.contains("once 2/2] RUN")).count();
        assert_eq!(shown, 1, "and is shown once: {run}");
        let titles =
            ["[linux/amd64 once 2/2] RUN", "[linux/amd64 stage-1 3/3]", "[linux/amd64/v2 stage-1 3/3]"];
        assert!(titles.iter().all(|title| run.stderr.contains(title)), "{run}");
        // A copy of the same files over the same base is the same for both.
        assert!(run.stderr.contains("0 cached, 4 run"), "{run}");
    }
}

#[test]
fn a_url_is_fetched_once_for_all_platforms() {
    let env = env();
    let server = web::start([("/tool", Page::Bytes(b"a tool".to_vec()))]);
    let url = server.url("/tool");
    let dockerfile = format!("FROM scratch\nARG TARGETARCH\nADD {url} /tool-$TARGETARCH\nADD {url} /again\n");
    let out = env.path("out");
    build(&env, &dockerfile, "linux/amd64,linux/arm64")
        .args(["-o", &format!("type=local,dest={}", out.display())])
        .run()
        .success();
    assert_eq!(server.requests(), ["/tool"]);
    for name in ["linux_amd64/tool-amd64", "linux_arm64/tool-arm64", "linux_arm64/again"] {
        assert_eq!(std::fs::read_to_string(out.join(name)).expect("a file"), "a tool", "{name}");
    }
}

#[test]
fn files_of_several_platforms_go_into_a_directory_each() {
    let env = env();
    let output = |spec: String| build(&env, COPIES, "linux/amd64,linux/arm64").args(["-o", &spec]).run();
    let dest = env.path("out");
    output(format!("type=local,dest={}", dest.display())).success();
    let have = tree::read(&dest);
    for name in ["/linux_amd64/for-amd64", "/linux_arm64/for-arm64", "/linux_arm64/f"] {
        assert_eq!(have[name].content.as_deref(), Some("content\n"), "{name}");
    }
    let tar = env.path("out.tar");
    output(format!("type=tar,dest={}", tar.display())).success();
    let names = layout::names(&std::fs::read(&tar).expect("the tar"));
    for name in ["/linux_amd64", "/linux_amd64/f", "/linux_arm64/for-arm64"] {
        assert!(names.iter().any(|n| n.trim_end_matches('/') == name), "{name}: {names:?}");
    }
    let flat = format!("type=local,dest={},platform-split=false", env.path("flat").display());
    let run = quiet(&env, COPIES, "linux/amd64,linux/arm64").args(["-o", &flat]).run().code(1);
    snapshot::check(&env, "platform-files-twice", &run);
    // Where no name is there twice it is as it was asked for; and one platform may have a directory as well.
    let apart = "FROM scratch\nARG TARGETARCH\nCOPY f /for-$TARGETARCH\n";
    let flat = format!("type=tar,dest={},platform-split=false", tar.display());
    build(&env, apart, "linux/amd64,linux/arm64").args(["-o", &flat]).run().success();
    let names = layout::names(&std::fs::read(&tar).expect("the tar"));
    assert_eq!(names, ["/for-amd64", "/for-arm64"]);
    let split = format!("type=local,dest={},platform-split=true", env.path("one").display());
    build(&env, apart, "linux/s390x").args(["-o", &split]).run().success();
    assert!(env.path("one/linux_s390x/for-s390x").is_file());
}

#[test]
fn an_index_is_pushed_pulled_and_built_upon() {
    let env = env();
    let registry = registry::start();
    let (first, second) = (registry.name("app:1"), registry.name("app:2"));
    let built = build(&env, COPIES, "linux/amd64,linux/arm64").args(["-t", &first, "--push"]).run().success();
    let index = raw(&format!("docker://{first}"));
    assert_eq!(platforms(&index).len(), 2);
    assert_eq!(copied(&env, &format!("docker://{first}")), 2);
    // What was only built is pushed as the same index, and is then known by its digest.
    build(&env, COPIES, "linux/amd64,linux/arm64").args(["-t", &second]).run().success();
    let pushed = env.orlop(["push", &second]).run().success();
    assert_eq!(id(&pushed), id(&built), "the digest is that of the index");
    assert_eq!(raw(&format!("docker://{second}")), index);
    let shown = env.orlop(["images", "--digests", "--no-trunc"]).run().success();
    assert_eq!(shown.stdout.matches(&id(&pushed)).count(), 4, "two names, two platforms: {shown}");
    // One platform alone.
    let one = registry.name("one:1");
    env.orlop(["push", "--platform", "linux/arm64", &second, &one]).run().success();
    assert!(raw(&format!("docker://{one}")).get("layers").is_some());
    // A stranger takes one of them, and a build takes each for its own.
    let other = crate::env();
    other.orlop(["pull", "--platform", "linux/arm64", &first]).run().success();
    let listed = other.orlop(["images", "--format", "json"]).run().success();
    assert!(listed.stdout.contains("linux/arm64") && !listed.stdout.contains("linux/amd64"), "{listed}");
    let on_top = format!("FROM {first}\nCOPY f /on-top\n");
    let dest = other.path("out");
    build(&other, &on_top, "linux/amd64,linux/arm64")
        .args(["-o", &format!("type=local,dest={}", dest.display())])
        .run()
        .success();
    assert!(dest.join("linux_amd64/for-amd64").is_file() && dest.join("linux_arm64/for-arm64").is_file());
    // Pulled for one platform it is not whole, and is pushed as that.
    other.orlop(["rmi", "--all"]).run().success();
    other.orlop(["pull", "--platform", "linux/arm64", &first]).run().success();
    let again = registry.name("again:1");
    other.orlop(["push", &first, &again]).run().success();
    assert!(raw(&format!("docker://{again}")).get("layers").is_some());
}

#[test]
fn the_store_has_one_name_for_all_of_them() {
    let env = env();
    let dockerfile = "ARG BASE=scratch\nFROM ${BASE}\nARG TARGETPLATFORM\nENV FOR=$TARGETPLATFORM\n";
    let built = build(&env, dockerfile, "linux/amd64/v2,linux/amd64").args(["-t", "app"]).run().success();
    env.orlop(["tag", "app", "again"]).run().success();
    let images = env.orlop(["images"]).run().success();
    snapshot::check(&env, "images-of-several-platforms", &images);
    // This machine's is taken, or the one that is asked for; by name and by ID.
    let digest = id(&built);
    for image in ["app", "again", &digest, &digest["sha256:".len()..][..12]] {
        for (flags, shown) in [(&[][..], "linux/amd64"), (&["--platform=linux/amd64/v2"], "linux/amd64/v2")] {
            let line = [&["run", "--rm"][..], flags, &[image, "sh", "-c", "echo $FOR"]].concat();
            assert_eq!(env.orlop(line).run().success().stdout.trim_end(), shown, "{image} {flags:?}");
        }
    }
    let inspected = env.orlop(["inspect", "app"]).run().success();
    let inspected: Value = serde_json::from_str(&inspected.stdout).expect("JSON");
    assert_eq!(inspected[0]["Index"], json!(digest));
    let listed: Vec<_> = inspected[0]["Platforms"].as_array().expect("a list").iter().collect();
    assert_eq!(listed.iter().map(|p| &p["Platform"]).collect::<Vec<_>>(), ["linux/amd64/v2", "linux/amd64"]);
    let history = env.orlop(["history", "--platform=linux/amd64/v2", "app"]).run().success();
    assert!(history.stdout.contains("FOR=linux/amd64/v2"), "{history}");
    let missing = env.orlop(["history", "--platform=linux/s390x", "app"]).run().code(1);
    snapshot::check(&env, "history-of-no-such-platform", &missing);
    // It is saved whole, and taken apart where that is asked for.
    let layout = |flags: &[&str], dir: &str| {
        let line = [&["save", "--format=oci-dir", "-o", dir, "app"][..], flags].concat();
        env.orlop(line).run().success();
        raw(&format!("oci:{}:latest", env.path(dir).display()))
    };
    assert_eq!(platforms(&layout(&[], "all")).len(), 2);
    assert!(layout(&["--platform=linux/amd64/v2"], "one").get("layers").is_some());
    let loaded = crate::env();
    loaded.orlop(["load", "-i"]).arg(env.path("all")).run().success();
    assert_eq!(loaded.orlop(["images", "-q"]).run().success().stdout.lines().count(), 2);
    let line = ["run", "--rm", "--platform=linux/amd64/v2", "app", "sh", "-c", "echo $FOR"];
    assert_eq!(loaded.orlop(line).run().success().stdout, "linux/amd64/v2\n");
    env.orlop(["save", "-o", "docker.tar", "app"]).run().success();
    loaded.orlop(["rmi", "--all"]).run().success();
    loaded.orlop(["load", "-i"]).arg(env.path("docker.tar")).run().success();
    assert_eq!(
        loaded.orlop(["run", "--rm", "app", "sh", "-c", "echo $FOR"]).run().success().stdout,
        "linux/amd64\n"
    );
    // A collection leaves all of it, and the last name takes all of it.
    env.orlop(["store", "gc", "--all"]).run().success();
    env.orlop(["run", "--rm", "--platform=linux/amd64/v2", "app", "true"]).run().success();
    let one = env.orlop(["rmi", "app"]).run().success();
    assert_eq!(one.stdout, "Untagged: app:latest\n");
    let all = env.orlop(["rmi", "again"]).run().success();
    assert_eq!(all.stdout.matches("Deleted:").count(), 2, "{all}");
    assert_eq!(env.orlop(["images", "-q"]).run().success().stdout, "");
}

#[test]
fn one_platform_that_fails_ends_all_and_is_named() {
    let env = env();
    let dockerfile = "ARG BASE\nFROM ${BASE}\nARG TARGETVARIANT\nRUN if [ -n \"$TARGETVARIANT\" ]; then echo no; exit 3; fi; sleep 60\n";
    let run = build(&env, dockerfile, "linux/amd64,linux/amd64/v2").args(["-t", "app"]).run().code(1);
    assert!(run.stderr.contains("error: linux/amd64/v2: process"), "{run}");
    assert!(run.stderr.contains("CANCELED"), "the other one is stopped: {run}");
    assert_eq!(env.orlop(["images", "-q"]).run().success().stdout, "");
    // What is wrong for all of them is of none.
    let run = quiet(&env, "FROM --platform=$NOTHING scratch\n", "linux/amd64,linux/arm64").run().code(1);
    snapshot::check(&env, "platform-empty", &run);
}

#[test]
fn what_cannot_be_for_several_platforms_is_refused() {
    let env = env();
    let docker = format!("type=docker,dest={}", env.path("x.tar").display());
    let run = quiet(&env, COPIES, "linux/amd64,linux/arm64").args(["-o", &docker]).run().code(2);
    snapshot::check(&env, "platforms-for-docker", &run);
    let run = env.orlop(["pull", "--platform", "linux/amd64,linux/arm64", "x"]).run().code(2);
    run.says("only `orlop build` takes several");
    for bad in ["linux/amd64,", "", "nonsense", "linux/a/b/c"] {
        build(&env, COPIES, bad).run().code(2).says("--platform");
    }
    // The same platform twice is one.
    let run = build(&env, COPIES, "linux/arm64,linux/arm64/v8,aarch64").args(["-o", &docker]).run().success();
    assert!(!run.stderr.contains("[linux/arm64"), "{run}");
}

/// A base for two processors: both busyboxes, in a layout with an index.
fn two_busyboxes(env: &TestEnv) -> String {
    for (arch, file) in
        [("amd64", Path::new("/bin/busybox").to_owned()), ("arm64", emulator::busybox("arm64"))]
    {
        std::fs::create_dir_all(env.path("context")).expect("a directory");
        std::fs::copy(file, env.path(&format!("context/busybox-{arch}"))).expect("a busybox");
    }
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY busybox-$TARGETARCH /bin/busybox\nCOPY busybox-$TARGETARCH /bin/sh\n";
    let dir = env.path("busyboxes");
    build(env, dockerfile, "linux/amd64,linux/arm64")
        .args(["-o", &format!("type=oci,tar=false,dest={}", dir.display())])
        .run()
        .success();
    format!("oci-layout://{}", dir.display())
}

/// What a step of another processor does: one shell, several processes, files and a user.
const FOREIGN: &str = "FROM BASE\nRUN busybox uname -m > /machine && busybox cat /machine\n\
    RUN [\"/bin/busybox\", \"sh\", \"-c\", \"(echo one; echo two) | busybox sort -r > /sorted\"]\n";

#[test]
fn a_step_for_arm64_runs_where_the_kernel_has_an_emulator() {
    let env = env();
    let dockerfile = FOREIGN.replace("BASE", &two_busyboxes(&env));
    let wrapper = emulator::wrapper(Registered::Fixed);
    let dest = env.path("out");
    // A store of its own: root of a user namespace may do less to files than root.
    let orlop = || env.wrapped(&wrapper, "own");
    build_with(&env, orlop(), &dockerfile, "linux/amd64,linux/arm64")
        .args(["-t", "app", "-o", &format!("type=local,dest={}", dest.display())])
        .run()
        .success();
    for (dir, machine) in [("linux_amd64", "x86_64\n"), ("linux_arm64", "aarch64\n")] {
        let read = |name: &str| std::fs::read_to_string(dest.join(dir).join(name)).expect("a file");
        assert_eq!((read("machine").as_str(), read("sorted").as_str()), (machine, "two\none\n"));
    }
    let run = orlop().args(["run", "--rm", "--platform=linux/arm64", "app", "busybox", "uname", "-m"]).run();
    assert_eq!(run.success().stdout, "aarch64\n");
    // Without an emulator a step that is known need not run.
    let without = emulator::wrapper(Registered::No);
    let orlop = || env.wrapped(&without, "own");
    build_with(&env, orlop(), &dockerfile, "linux/arm64").run().success().says("0 run");
    let run = orlop().args(["run", "--rm", "--platform=linux/arm64", "app", "busybox", "true"]).run().code(1);
    run.says("this machine cannot run linux/arm64 programs");
}

#[test]
fn a_step_for_arm64_is_refused_before_it_runs_where_there_is_no_emulator() {
    let env = env();
    let dockerfile = FOREIGN.replace("BASE", &two_busyboxes(&env));
    let qemu = dockerfile.replace("RUN busybox uname", "COPY f /etc/f\nRUN busybox uname");
    for (registered, name) in
        [(Registered::No, "run-without-emulator"), (Registered::ByPath, "run-emulator-not-in-image")]
    {
        let wrapper = emulator::wrapper(registered);
        let orlop = env.wrapped(&wrapper, name);
        let run = build_with(&env, orlop, &qemu, "linux/arm64").arg("-q").run().code(1);
        snapshot::check(&env, name, &run);
    }
    // An emulator without the flag F works from inside the image.
    let emulator = orlop_fixtures::tool::find("qemu-aarch64-static");
    std::fs::copy(emulator, env.path("context/qemu")).expect("qemu");
    let inside = "COPY --chmod=755 qemu /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nRUN busybox uname";
    let orlop = env.wrapped(&emulator::wrapper(Registered::ByPath), "inside");
    let dockerfile = dockerfile.replacen("RUN busybox uname", inside, 1);
    build_with(&env, orlop, &dockerfile, "linux/arm64").run().success().says("aarch64");
}

/// A directory as the base of a stage is of no processor: its programs are those of its platform.
#[test]
fn a_directory_for_this_machine_runs_here_whatever_is_built() {
    let env = env();
    std::fs::create_dir_all(env.path("root/bin")).unwrap();
    std::fs::copy("/bin/busybox", env.path("root/bin/sh")).expect("busybox-static is installed");
    let dockerfile = "FROM --platform=$BUILDPLATFORM root AS tools\nRUN echo made here > /made\n\
                      FROM scratch\nCOPY --from=tools /made /\n";
    let root = format!("root={}", env.path("root").display());
    build(&env, dockerfile, "linux/s390x").args(["--build-context", &root]).run().success();
}

/// What the store shows without `--platform` is this machine's, whatever was fetched last.
#[test]
fn of_several_platforms_this_machines_is_shown() {
    let env = env();
    let registry = registry::start();
    let name = registry.name("shown:1");
    quiet(&env, COPIES, "linux/amd64,linux/arm64").args(["--push", "-t", &name]).run().success();
    env.orlop(["rmi", &name]).run().success();
    for platform in ["linux/amd64", "linux/arm64"] {
        env.orlop(["pull", "--platform", platform, &name]).run().success();
    }
    let shown = env.orlop(["inspect", &name]).run().success().stdout;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let shown = shown.as_array().and_then(|all| all.first()).unwrap_or(&shown);
    assert_eq!(shown["Architecture"], "amd64", "{shown}");
    let history = env.orlop(["history", &name]).run().success();
    assert!(history.stdout.contains("for-amd64"), "{history}");
}

/// The ID that a build prints is one that the store knows, whatever else was written.
#[test]
fn the_id_of_several_is_that_of_their_name() {
    let env = env();
    let dest = format!("type=oci,dest={}", env.path("o.tar").display());
    let built =
        quiet(&env, COPIES, "linux/amd64,linux/arm64").args(["-t", "app:1", "-o", &dest]).run().success();
    let alone = quiet(&env, COPIES, "linux/amd64,linux/arm64").args(["-t", "app:1"]).run().success();
    assert_eq!(id(&built), id(&alone));
    env.orlop(["rmi", "-f", id(&built).as_str()]).run().success();
    env.orlop(["inspect", "app:1"]).run().code(1);
}

/// What buildx attests beside the images is none of them: without it all of them are here.
#[test]
fn attestations_in_an_archive_are_no_missing_images() {
    let env = env();
    let dir = env.path("layout");
    quiet(&env, COPIES, "linux/amd64,linux/arm64")
        .arg("-o")
        .arg(format!("type=oci,dest={},tar=false,name=app:1", dir.display()))
        .run()
        .success();
    layout::edit_index(&dir, |index| {
        let mut attestation = index["manifests"][0].clone();
        attestation["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
        attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        index["manifests"].as_array_mut().expect("manifests").push(attestation);
    });
    env.orlop(["load", "-i"]).arg(&dir).run().success();
    let registry = registry::start();
    let name = registry.name("attested:1");
    env.orlop(["tag", "app:1", &name]).run().success();
    env.orlop(["push", &name]).run().success();
    assert_eq!(platforms(&raw(&format!("docker://{name}"))).len(), 2);
}
