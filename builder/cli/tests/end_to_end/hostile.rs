//! What strangers put into images: wrong digests, layers that climb out, sizes that lie.

use std::path::Path;

use orlop_fixtures::layout::{self, Compression, Image};
use orlop_fixtures::registry;
use orlop_fixtures::tarball::{self, Entry, Kind};
use orlop_fixtures::test_env::{Run, TestEnv};

use crate::bad_input::still_works;
use crate::{Opened, build_over, env, layout_name, snapshot};

const BUILD: &str = "ARG BASE\nFROM ${BASE}\nRUN echo built > /built\n";

/// The busybox base with one more layer.
fn over_base(tar: Vec<u8>) -> Image {
    let base = layout::layers(crate::base()).remove(0);
    Image::new().tar(base, Compression::Gzip).tar(tar, Compression::Gzip)
}

fn try_build(env: &TestEnv, image: &Image) -> Run {
    image.write(&env.dir("hostile"));
    let out = format!("type=oci,dest={}", env.path("image.tar").display());
    build_over(env, BUILD, &layout_name(&env.path("hostile"))).args(["-o", &out]).run()
}

#[track_caller]
fn refused(env: &TestEnv, name: &str, run: Run, says: &[&str]) {
    let run = says.iter().fold(run.code(1), |run, text| run.says(text));
    snapshot::check(env, name, &run);
    still_works(env);
}

#[test]
fn a_layer_that_is_not_what_its_digest_says() {
    let env = env();
    let image = over_base(tarball::archive(&[Entry::file("x", "x".repeat(9999))])).damage(|mut blob| {
        let middle = blob.len() / 2;
        blob[middle] ^= 1;
        blob
    });
    let run = try_build(&env, &image);
    refused(&env, "layer-wrong-digest", run, &["sha256:"]);
}

#[test]
fn a_layer_that_ends_too_early() {
    let env = env();
    let image = over_base(tarball::archive(&[Entry::file("x", "x".repeat(9999))])).damage(|mut blob| {
        blob.truncate(blob.len() - 10);
        blob
    });
    let run = try_build(&env, &image);
    refused(&env, "layer-truncated", run, &["sha256:"]);
}

#[test]
fn a_registry_that_serves_other_bytes() {
    let env = env();
    let registry = registry::start();
    registry.fill(crate::base(), "base:1");
    let (manifest, _) = layout::read(crate::base());
    let digest = manifest["layers"][0]["digest"].as_str().expect("a digest").to_owned();
    let path = registry.blob(&digest);
    let mut blob = std::fs::read(&path).expect("the registry's blob");
    let middle = blob.len() / 2;
    blob[middle] ^= 1;
    std::fs::write(&path, &blob).expect("damage");
    let run = build_over(&env, BUILD, &registry.name("base:1")).run();
    refused(&env, "pull-wrong-digest", run, &["sha256:"]);
    blob.truncate(middle);
    std::fs::write(&path, &blob).expect("damage");
    // What works again has brought the same layer: a store that has nothing must ask again.
    let env = crate::env();
    let run = build_over(&env, BUILD, &registry.name("base:1")).run();
    refused(&env, "pull-truncated", run, &["sha256:"]);
    assert!(registry.log().contains(&digest), "never asked for");
}

#[test]
fn a_diff_id_that_is_not_the_layers() {
    let env = env();
    let dir = env.dir("hostile");
    let mut image = over_base(tarball::archive(&[Entry::file("x", "x")]));
    image.write(&dir);
    // The right blob under the diff ID of another tar.
    let other = tarball::archive(&[Entry::file("x", "y")]);
    let (_, config) = layout::read(&dir);
    let right = config["rootfs"]["diff_ids"][1].as_str().expect("a diff ID").to_owned();
    let wrong = format!("sha256:{}", orlop_fixtures::sha256(&other));
    let text = config.to_string().replace(&right, &wrong);
    image.config = serde_json::from_str(&text).expect("JSON");
    rewrite_config(&dir, &text);
    let run = build_over(&env, BUILD, &layout_name(&dir)).run();
    refused(&env, "layer-wrong-diff-id", run, &[]);
}

/// Replaces the configuration of a layout, with the manifest and the index that name it.
fn rewrite_config(dir: &Path, text: &str) {
    let (mut manifest, _) = layout::read(dir);
    let put = |bytes: &[u8]| {
        let digest = orlop_fixtures::sha256(bytes);
        std::fs::write(dir.join("blobs/sha256").join(&digest), bytes).expect("write");
        serde_json::json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let config = put(text.as_bytes());
    manifest["config"]["digest"] = config["digest"].clone();
    manifest["config"]["size"] = config["size"].clone();
    let entry = put(manifest.to_string().as_bytes());
    let path = dir.join("index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
    index["manifests"][0]["digest"] = entry["digest"].clone();
    index["manifests"][0]["size"] = entry["size"].clone();
    std::fs::write(path, index.to_string()).expect("write");
}

/// Whatever becomes of the image, nothing is written outside of it; and where it is built, what is in
/// it is what umoci sees in it.
#[track_caller]
fn harmless(name: &str, entries: &dyn Fn(&Path) -> Vec<Entry>) {
    let env = env();
    let outside = env.dir("outside");
    std::fs::write(outside.join("file"), "of the host").expect("write");
    let run = try_build(&env, &over_base(tarball::archive(&entries(&outside))));
    let files: Vec<_> =
        std::fs::read_dir(&outside).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(files, ["file"], "{name} wrote outside: {run}");
    let text = std::fs::read_to_string(outside.join("file")).expect("read");
    assert_eq!(text, "of the host", "{name} wrote outside: {run}");
    if run.status.success() {
        let built = Opened::archive(&env.path("image.tar"));
        assert_eq!(built.text("/built"), "built\n");
    } else {
        let run = run.code(1);
        assert!(run.stderr.contains("error"), "{run}");
        snapshot::check(&env, name, &run);
        still_works(&env);
    }
}

#[test]
fn entries_that_climb_by_dots() {
    harmless("entry-dots", &|outside| {
        let up = "../".repeat(20);
        let path = outside.strip_prefix("/").unwrap_or(outside).display().to_string();
        vec![
            Entry::file(format!("{up}{path}/file"), "owned"),
            Entry::file(format!("usr/../../../{up}{path}/file"), "owned"),
        ]
    });
}

#[test]
fn entries_with_absolute_names() {
    harmless("entry-absolute", &|outside| vec![Entry::file(format!("{}/file", outside.display()), "owned")]);
}

#[test]
fn entries_through_symbolic_links() {
    harmless("entry-through-link", &|outside| {
        let up = format!("{}{}", "../".repeat(20), outside.strip_prefix("/").unwrap_or(outside).display());
        vec![
            Entry::symlink("way", outside.as_os_str().as_encoded_bytes()),
            Entry::file("way/file", "owned"),
            Entry::symlink("relative", up),
            Entry::file("relative/file", "owned"),
            Entry::symlink("target", format!("{}/file", outside.display())),
            Entry::file("target", "replaces the link"),
        ]
    });
}

#[test]
fn hard_links_to_what_is_outside() {
    harmless("entry-hard-link", &|outside| {
        let up =
            format!("{}{}/file", "../".repeat(20), outside.strip_prefix("/").unwrap_or(outside).display());
        vec![
            Entry::symlink("way", outside.as_os_str().as_encoded_bytes()),
            Entry::hard("stolen", "way/file"),
            Entry::hard("stolen2", up),
            Entry::file("stolen", "owned"),
        ]
    });
}

#[test]
fn whiteouts_of_what_is_outside() {
    harmless("entry-whiteout", &|outside| {
        vec![
            Entry::symlink("way", outside.as_os_str().as_encoded_bytes()),
            Entry::file("way/.wh.file", ""),
            Entry::file("way/.wh..wh..opq", ""),
            Entry::file(".wh...", ""),
            Entry::file("etc/.wh...", ""),
            Entry::file("etc/.wh.", ""),
        ]
    });
}

#[test]
fn entries_that_come_twice() {
    let env = env();
    let image = over_base(tarball::archive(&[
        Entry::file("twice", "first"),
        Entry::dir("both"),
        Entry::file("both/in", "in"),
        Entry::file("twice", "second").mode(0o600),
        Entry::file("both", "now a file"),
        Entry::symlink("link", "twice"),
        Entry::file("link", "now a file"),
        Entry::special("pipe", Kind::Fifo),
        Entry::file("pipe", "now a file"),
    ]));
    let run = try_build(&env, &image);
    if run.status.success() {
        let built = Opened::archive(&env.path("image.tar"));
        assert_eq!((built.text("/twice"), built.at("/twice").mode.as_deref()), ("second", Some("0600")));
        for path in ["/both", "/link", "/pipe"] {
            assert_eq!(built.text(path), "now a file", "{path}");
        }
    } else {
        refused(&env, "entry-twice", run, &[]);
    }
}

#[test]
fn a_file_that_says_eight_exbibytes() {
    let env = env();
    let huge = Entry::file("huge", "little").stating_size((1 << 63) - 1);
    let run = try_build(&env, &over_base(tarball::archive(&[huge])));
    refused(&env, "entry-8-eib", run, &["huge"]);
    let huge = Entry::file("huge", "little").pax("size", "18446744073709551615");
    let run = try_build(&env, &over_base(tarball::archive(&[huge])));
    refused(&env, "entry-16-eib", run, &[]);
}

#[test]
fn a_tar_that_is_none() {
    let env = env();
    let run =
        try_build(&env, &over_base(b"this is no tar at all, but long enough to be looked at".repeat(40)));
    refused(&env, "layer-no-tar", run, &["sha256:"]);
    let mut tar = tarball::archive(&[Entry::file("x", "x".repeat(2000))]);
    tar.truncate(1000);
    let run = try_build(&env, &over_base(tar));
    refused(&env, "layer-half-a-tar", run, &["sha256:"]);
}

#[test]
fn a_configuration_of_a_hundred_megabytes() {
    let env = env();
    let dir = env.dir("hostile");
    over_base(tarball::archive(&[Entry::file("x", "x")])).write(&dir);
    let (_, config) = layout::read(&dir);
    let mut text = config.to_string();
    text.pop();
    text += &format!(",\"padding\":\"{}\"}}", "x".repeat(100 << 20));
    rewrite_config(&dir, &text);
    let run = build_over(&env, BUILD, &layout_name(&dir)).run();
    refused(&env, "config-100-mb", run, &[]);
}

#[test]
fn json_that_is_none_or_nested_without_end() {
    for (name, text) in
        [("config-no-json", "{\"architecture\":".to_owned()), ("config-nested", "[".repeat(200_000))]
    {
        let env = env();
        let dir = env.dir("hostile");
        over_base(tarball::archive(&[Entry::file("x", "x")])).write(&dir);
        rewrite_config(&dir, &text);
        let run = build_over(&env, BUILD, &layout_name(&dir)).run();
        refused(&env, name, run, &[]);
    }
}
