//! What we write against what other builders write from the same Dockerfile, and whether other tools
//! can read it.

use std::collections::BTreeSet;

use orlop_fixtures::buildah::{self, Built};
use orlop_fixtures::dockerfiles::{self, Fixture};
use orlop_fixtures::tool::{find, run, tool};
use orlop_fixtures::{test_env, tree};

use crate::{FROM, Opened, base, base_name, build, env, image_of};

/// Builds a fixture with orlop and holds it against buildah's result and the fixture's own
/// expectations. Left is orlop, right is buildah.
fn compare(name: &str) {
    let fixture = Fixture::named(name);
    let expect = fixture.expect();
    let env = env();
    let staged = fixture.stage(&env.path(""));
    let build = env
        .orlop(["build", "--progress=plain", "-t", "built", "--build-arg"])
        .arg(format!("BASE={}", base_name()))
        .arg("-f")
        .arg(&staged.dockerfile)
        .args(&staged.args)
        .arg(&staged.context);
    let ours = image_of(&env, build);
    let mut wrong = expect.differences(&ours.tree, ours.settings());
    if expect.buildah {
        let ours = Built {
            tree: ours.tree,
            config: ours.config["config"].clone(),
            author: ours.config["author"].clone(),
        };
        wrong.extend(ours.differences(&buildah::build(&fixture, base()), &expect));
    }
    assert!(wrong.is_empty(), "{name}: orlop, then buildah or what is expected\n{}", wrong.join("\n"));
    assert_eq!(env.mounts(), Vec::<std::path::PathBuf>::new(), "left mounted");
}

macro_rules! fixtures {
    ($($test:ident $name:literal;)*) => {
        const LISTED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                compare($name);
            }
        )*
    };
}

fixtures! {
    privileged_peer_greeting "01-greeting";
    privileged_peer_static_tool "02-static-tool";
    privileged_peer_stage_on_stage "03-stage-on-stage";
    privileged_peer_run_forms "04-run-forms";
    privileged_peer_env_forms "05-env-forms";
    privileged_peer_arg_scopes "06-arg-scopes";
    privileged_peer_workdir_chain "07-workdir-chain";
    privileged_peer_users "08-users";
    privileged_peer_entrypoint_and_cmd "09-entrypoint-and-cmd";
    privileged_peer_labels "10-labels";
    privileged_peer_service_metadata "11-service-metadata";
    privileged_peer_healthcheck_none "12-healthcheck-none";
    privileged_peer_onbuild "13-onbuild";
    privileged_peer_keywords "14-keywords";
    privileged_peer_copy_directories "15-copy-directories";
    privileged_peer_copy_owner_and_mode "16-copy-owner-and-mode";
    privileged_peer_copy_links "17-copy-links";
    privileged_peer_ignore_rules "18-ignore-rules";
    privileged_peer_ignore_beside_dockerfile "19-ignore-beside-dockerfile";
    privileged_peer_add_archives "20-add-archives";
    privileged_peer_add_owned_archive "21-add-owned-archive";
    privileged_peer_deletions "22-deletions";
    privileged_peer_replaced_directories "23-replaced-directories";
    privileged_peer_hard_links "24-hard-links";
    privileged_peer_special_files "25-special-files";
    privileged_peer_capabilities "26-capabilities";
    privileged_peer_user_attributes "27-user-attributes";
    privileged_peer_access_lists "28-access-lists";
    privileged_peer_mode_bits "29-mode-bits";
    privileged_peer_times "30-times";
    privileged_peer_names "31-names";
    privileged_peer_sparse "32-sparse";
    privileged_peer_large_ids "33-large-ids";
    privileged_peer_type_changes "34-type-changes";
    privileged_peer_mounts "35-mounts";
    privileged_peer_no_network "36-no-network";
    privileged_peer_run_heredoc "37-run-heredoc";
    privileged_peer_copy_heredoc "38-copy-heredoc";
    privileged_peer_escape_directive "39-escape-directive";
    privileged_peer_json_forms "40-json-forms";
    privileged_peer_path_cleaning "41-path-cleaning";
    privileged_peer_scratch_config "42-scratch-config";
    privileged_peer_web_app "43-web-app";
    privileged_peer_linked_directories "44-linked-directories";
    privileged_peer_empty_steps "45-empty-steps";
    privileged_peer_predefined_arguments "46-predefined-arguments";
    privileged_peer_target_stage "47-target-stage";
    privileged_peer_merge_over_base "48-merge-over-base";
    privileged_peer_database_image "49-database-image";
    privileged_peer_toolchain_image "50-toolchain-image";
}

#[test]
fn every_fixture_is_compared() {
    let listed: BTreeSet<_> = LISTED.iter().map(ToString::to_string).collect();
    let there: BTreeSet<_> = dockerfiles::all().into_iter().map(|f| f.name).collect();
    assert_eq!(listed, there, "left: listed in this file, right: in `fixtures/dockerfiles`");
}

/// A small image with a program, a user and a volume, as an archive, for other tools to read.
fn archive(env: &test_env::TestEnv) -> std::path::PathBuf {
    let path = env.path("peer.tar");
    let dockerfile = format!(
        "{FROM}RUN echo from the image > /message && chown 1234:5678 /message && ln /message /again\n\
         RUN rm /bin/vi && mkdir /gone && rmdir /gone\n\
         ENV WHO=peer\nUSER worker\nWORKDIR /home/worker\nLABEL a=b\nENTRYPOINT [\"cat\"]\nCMD [\"/message\"]\n"
    );
    build(env, &dockerfile).arg("-o").arg(format!("type=oci,dest={}", path.display())).run().success();
    path
}

#[test]
fn privileged_skopeo_inspects_our_archive() {
    let env = env();
    let path = archive(&env);
    let name = format!("oci-archive:{}", path.display());
    let shown = run(tool("skopeo")
        .args(["--insecure-policy", "inspect", "--config", &name])
        .env("TMPDIR", env.path("tmp")));
    let config: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("skopeo prints JSON");
    assert_eq!(config["config"]["User"], "worker");
    assert_eq!(config["config"]["WorkingDir"], "/home/worker");
    assert_eq!(config["config"]["Labels"]["a"], "b");
    let shown =
        run(tool("skopeo").args(["--insecure-policy", "inspect", &name]).env("TMPDIR", env.path("tmp")));
    let image: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("skopeo prints JSON");
    assert_eq!(image["Os"], "linux");
    assert!(image["Layers"].as_array().is_some_and(|l| l.len() >= 3), "{image}");
}

#[test]
fn privileged_podman_runs_our_archive() {
    let env = env();
    let path = archive(&env);
    // The limits are named because podman's own defaults are above what some hosts allow.
    let script = r#"
        mount --make-rprivate /
        exec "$PODMAN" --root "$DIR/root" --runroot "$DIR/run" --cgroup-manager cgroupfs --runtime "$RUNC" \
            run -q --rm --network none --ulimit nofile=256:256 --ulimit nproc=1000:1000 "oci-archive:$IMAGE"
    "#;
    let mut command = tool("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .env("PODMAN", find("podman"))
        .env("RUNC", find("runc"))
        .env("DIR", env.dir("podman"))
        .env("IMAGE", &path)
        .env("HOME", env.path("home"))
        .env("TMPDIR", env.path("tmp"));
    let output = run(&mut command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from the image\n");
}

#[test]
fn privileged_buildah_mounts_our_image_with_the_same_tree_as_umoci_unpacks() {
    let env = env();
    let path = archive(&env);
    let umoci = Opened::archive(&path).tree;
    let tree = env.path("mounted.tar");
    let script = r#"
        set -e
        mount --make-rprivate /
        buildah() { "$BUILDAH" --root "$DIR/root" --runroot "$DIR/run" "$@"; }
        container=$(buildah from "oci-archive:$IMAGE")
        cp -a "$(buildah mount "$container")" "$DIR/tree"
    "#;
    let dir = env.dir("buildah");
    let mut command = tool("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .env("BUILDAH", find("buildah"))
        .env("DIR", &dir)
        .env("IMAGE", &path)
        .env("HOME", env.path("home"))
        .env("TMPDIR", env.path("tmp"));
    run(&mut command);
    let _ = std::fs::remove_file(tree);
    let mounted = tree::read(&dir.join("tree"));
    // A layer says nothing of the root where a step did not change its mode or owner; containers/storage
    // then gives the layer's directory a mode of its own, which its mount shows.
    let below = |mut tree: tree::Tree| {
        tree.remove("/");
        tree
    };
    let wrong = tree::differences(&below(umoci), &below(mounted.clone()));
    assert!(wrong.is_empty(), "umoci, then buildah\n{}", wrong.join("\n"));
    assert!(mounted.contains_key("/again") && !mounted.contains_key("/bin/vi"));
}

#[test]
fn privileged_buildah_builds_on_our_image() {
    let env = env();
    let path = archive(&env);
    let dockerfile = env.file("Peer", "ARG BASE\nFROM ${BASE}\nUSER root\nRUN cat /message > /copy\n");
    let script = r#"
        set -e
        mount --make-rprivate /
        buildah() { "$BUILDAH" --root "$DIR/root" --runroot "$DIR/run" "$@"; }
        buildah bud --isolation oci --network host --build-arg BASE="oci-archive:$IMAGE" -t on-ours -f "$FILE" "$DIR" >&2
        buildah push -q on-ours "oci:$DIR/layout:latest" >&2
    "#;
    let dir = env.dir("buildah");
    let mut command = tool("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .env("BUILDAH", find("buildah"))
        .env("BUILDAH_RUNTIME", find("runc"))
        .env("DIR", &dir)
        .env("IMAGE", &path)
        .env("FILE", dockerfile)
        .env("HOME", env.path("home"))
        .env("TMPDIR", env.path("tmp"));
    run(&mut command);
    let opened = Opened::from(&format!("oci:{}:latest", dir.join("layout").display()));
    assert_eq!(opened.text("/copy"), "from the image\n");
}
