//! With links, and with other people's programs.

#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::process::Command;

use super::*;

#[test]
fn a_layout_whose_links_lead_out_is_refused() {
    let (dir, from, image) = filled();
    let layout = dir.path().join("layout");
    from.save_layout(&layout, &named(&image, &["app"]), &SaveOptions::default()).unwrap();
    let blob = layout.join("blobs/sha256").join(image.id().hex());
    let outside = dir.path().join("outside");
    std::fs::rename(&blob, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &blob).unwrap();
    let (_b, to) = store();
    let error = to.load(&layout, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("leads out of it"), "{error}");
}

/// What other people's programs make of what is written here, and the other way round.
#[test]
fn skopeo_and_umoci_read_and_write_the_same_images() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        panic!("this test needs skopeo and umoci: apt-get install skopeo umoci");
    }
    let (dir, from, image) = filled();
    let image = image.with_config(|c| {
        c.set_env("A", "b c");
        c.set_label("l", "v");
    });
    let at = |name: &str| dir.path().join(name);
    let run = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).current_dir(dir.path()).output().unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{program} {args:?}: {error}");
        String::from_utf8(out.stdout).unwrap()
    };
    let images = named(&image, &["app:1"]);
    let options = SaveOptions::default();
    from.save(&at("oci.tar"), ArchiveFormat::Oci, &images, &options).unwrap();
    from.save(&at("docker.tar"), ArchiveFormat::Docker, &images, &options).unwrap();
    from.save_layout(&at("layout"), &images, &options).unwrap();
    for source in ["oci-archive:oci.tar:1", "docker-archive:docker.tar:app:1", "oci:layout:1"] {
        let config: serde_json::Value =
            serde_json::from_str(&run("skopeo", &["inspect", "--config", source])).unwrap();
        assert_eq!(config["config"]["Env"][0], "A=b c", "{source}");
        let text = run("skopeo", &["inspect", "--raw", source]);
        assert!(!text.is_empty());
        // Policy free, as on a machine without configuration.
        run("skopeo", &["--insecure-policy", "copy", source, "oci:copied:x"]);
        let (_b, to) = store();
        let loaded = to.load(&at("copied"), &LoadOptions::default()).unwrap();
        assert_eq!(loaded[0].image.diff_ids(), image.diff_ids(), "{source}");
        std::fs::remove_dir_all(at("copied")).unwrap();
    }
    run("skopeo", &["--insecure-policy", "copy", "oci:layout:1", "docker-archive:theirs.tar:their/name:9"]);
    let (_b, to) = store();
    let loaded = to.load(&at("theirs.tar"), &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].names, [name("their/name:9")]);
    assert_eq!(loaded[0].image.config().labels()["l"], "v");
    run("umoci", &["unpack", "--rootless", "--image", "layout:1", "bundle"]);
    assert_eq!(std::fs::read_to_string(at("bundle/rootfs/file")).unwrap(), "two");
}
