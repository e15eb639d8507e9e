//! Without privileges: with subordinate ids, and with one id alone.

use orlop_fixtures::buildah::{self, Built};
use orlop_fixtures::dockerfiles::Fixture;
use orlop_fixtures::layout::{self, Compression};
use orlop_fixtures::tarball::{self, Entry};
use orlop_fixtures::test_env::{Invocation, TestEnv};
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::user::User;

use crate::{FROM, ORLOP, base, layout_name};

/// A clean place for an unprivileged user, with a copy of the base that the user can read.
fn env(user: User) -> TestEnv {
    let env = TestEnv::rootless(ORLOP, user);
    run(tool("cp").arg("-r").arg(base()).arg(env.path("base")));
    env
}

fn build<'a>(env: &'a TestEnv, dockerfile: &str) -> Invocation<'a> {
    crate::build_over(env, dockerfile, &layout_name(&env.path("base")))
}

/// Builds as the user, into a directory where the user may write.
fn image(env: &TestEnv, dockerfile: &str) -> crate::Opened {
    opened(env, build(env, dockerfile))
}

fn opened(env: &TestEnv, build: Invocation<'_>) -> crate::Opened {
    let archive = env.path("home/image.tar");
    build.arg("-o").arg(format!("type=oci,dest={}", archive.display())).run().success();
    crate::Opened::archive(&archive)
}

#[test]
fn privileged_rootless_with_subordinate_ids() {
    let env = env(User::with_subordinate_ids());
    env.file("context/f", "f");
    let image = image(
        &env,
        &format!(
            "{FROM}RUN id -u > /id && touch /owned && chown 1234:5678 /owned && chmod 4755 /owned\n\
             COPY --chown=worker:staff f /copied\nUSER worker\nRUN id -u > /tmp/id; touch /tmp/mine\nUSER root\n\
             RUN rm -rf /home/worker && mkdir /home/worker && rm /bin/vi\n"
        ),
    );
    assert_eq!((image.text("/id"), image.text("/tmp/id")), ("0\n", "1234\n"));
    let owner = |path: &str| (image.at(path).uid, image.at(path).gid);
    assert_eq!(owner("/owned"), (1234, 5678));
    assert_eq!(image.at("/owned").mode.as_deref(), Some("4755"));
    assert_eq!(
        (owner("/copied"), owner("/tmp/mine"), owner("/home/worker")),
        ((1234, 50), (1234, 5678), (0, 0))
    );
    assert!(!image.has("/bin/vi"));
    assert_eq!(owner("/bin/busybox"), (0, 0));
}

#[test]
fn privileged_rootless_fixtures_come_out_as_buildahs() {
    let names = [
        "01-greeting",
        "05-env-forms",
        "15-copy-directories",
        "16-copy-owner-and-mode",
        "22-deletions",
        "23-replaced-directories",
        "26-capabilities",
        "34-type-changes",
        "43-web-app",
    ];
    let mut wrong = Vec::new();
    for name in names {
        let fixture = Fixture::named(name);
        let expect = fixture.expect();
        let env = env(User::with_subordinate_ids());
        let staged = fixture.stage(&env.path(""));
        // What the user builds from is the user's own.
        User::with_subordinate_ids().give(&staged.context);
        let build = env
            .orlop(["build", "--progress=plain", "-t", "built", "--build-arg"])
            .arg(format!("BASE={}", layout_name(&env.path("base"))))
            .arg("-f")
            .arg(&staged.dockerfile)
            .args(&staged.args)
            .arg(&staged.context);
        let ours = opened(&env, build);
        wrong.extend(
            expect.differences(&ours.tree, ours.settings()).into_iter().map(|d| format!("{name} {d}")),
        );
        let ours = Built {
            tree: ours.tree,
            config: ours.config["config"].clone(),
            author: ours.config["author"].clone(),
        };
        let theirs = buildah::build(&fixture, base());
        wrong.extend(ours.differences(&theirs, &expect).into_iter().map(|d| format!("{name} {d}")));
    }
    assert!(wrong.is_empty(), "orlop rootless, then buildah or what is expected\n{}", wrong.join("\n"));
}

#[test]
fn privileged_rootless_with_one_id() {
    let env = env(User::alone());
    let run = build(&env, &format!("{FROM}RUN id -u > /id && touch /mine && rm /bin/vi\nCOPY . /c\n"))
        .run()
        .success();
    assert!(
        run.stderr.contains("subuid") || run.stderr.contains("subordinate"),
        "says nothing of the one id: {run}"
    );
    let image = image(&env, &format!("{FROM}RUN id -u > /id && touch /mine && rm /bin/vi\nCOPY . /c\n"));
    assert_eq!(image.text("/id"), "0\n");
    assert_eq!((image.at("/mine").uid, image.at("/bin/busybox").uid), (0, 0));
    assert!(!image.has("/bin/vi"));
    let failed = build(&env, &format!("{FROM}RUN chown 1234 /etc/passwd\n")).run().code(1);
    assert!(failed.stderr.contains("subuid") || failed.stderr.contains("subordinate"), "{failed}");
}

#[test]
fn privileged_rootless_push_pull_and_run() {
    let env = env(User::with_subordinate_ids());
    let registry = orlop_fixtures::registry::start();
    let name = registry.name("app:1");
    let dockerfile = format!("{FROM}RUN echo rootless > /r && chown 8 /r\nCMD [\"cat\", \"/r\"]\n");
    let base = layout_name(&env.path("base"));
    crate::build_as(&env, &dockerfile, &base, &name).arg("--push").run().success();
    env.orlop(["rmi", &name]).run().success();
    env.orlop(["pull", &name]).run().success();
    let run = env.orlop(["run", "--rm", &name]).run().success();
    assert_eq!(run.stdout, "rootless\n");
    assert_eq!(env.orlop(["run", "--rm", &name, "stat", "-c", "%u", "/r"]).run().success().stdout, "8\n");
}

#[test]
fn privileged_rootless_killed_leaves_nothing() {
    let env = env(User::with_subordinate_ids());
    let mut running =
        build(&env, &format!("{FROM}RUN (setsid sleep 4243 &) ; echo waiting-now; sleep 4243\n")).start();
    let sleeping = || {
        String::from_utf8_lossy(&tool("pgrep").args(["-f", "^sleep 4243"]).output().expect("pgrep").stdout)
            .lines()
            .count()
    };
    assert!(running.until(|_| sleeping() >= 2));
    running.kill();
    let start = std::time::Instant::now();
    while sleeping() > 0 {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "still running");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(image(&env, &format!("{FROM}RUN echo x > /x\n")).text("/x"), "x\n");
}

#[test]
fn the_default_store_of_a_user_is_in_the_home() {
    let env = env(User::with_subordinate_ids());
    env.bare(["images"]).run().success();
    assert!(env.path("home/.local/share/orlop").is_dir(), "no store in `~/.local/share/orlop`");
}

#[test]
fn privileged_rootless_adds_repositories_and_builds_in_them() {
    use orlop_fixtures::git::Node;
    for user in [User::with_subordinate_ids(), User::alone()] {
        let (server, app) = crate::git::app();
        let env = env(user);
        let url = server.url("app");
        let built = image(&env, &format!("{FROM}ADD {url} /src\nADD --keep-git-dir {url}#dev /dev-src\n"));
        assert_eq!((built.text("/src/README"), built.text("/dev-src/new")), ("read me\n", "new\n"));
        assert_eq!((built.at("/src/README").uid, built.at("/dev-src/.git/HEAD").uid), (0, 0));
        let base = layout_name(&env.path("base"));
        app.commit(&[("Dockerfile", Node::File(&format!("FROM {base}\nCOPY . /src\n")))]);
        let built = opened(&env, env.orlop(["build", "--progress=plain", "-t", "built", &url]));
        assert_eq!(built.text("/src/later"), "later\n");
    }
}

#[test]
fn privileged_rootless_insecure_steps_have_what_the_user_has() {
    let env = env(User::with_subordinate_ids());
    let dockerfile = format!(
        "{FROM}USER worker\nRUN --security=insecure grep ^CapEff /proc/self/status; mount -t tmpfs x /mnt && echo mounted; ls /dev/fuse || true\n"
    );
    build(&env, &dockerfile).run().code(1).says("--allow security.insecure");
    build(&env, &dockerfile)
        .args(["--allow", "security.insecure"])
        .run()
        .success()
        .says("000001ffffffffff")
        .says(" mounted")
        .says("no devices");
}

/// Root in a container of few capabilities has no mounts and no `trusted` attributes. What needs neither works, and a
/// store that was made so is not mixed up with one of root's.
#[test]
fn privileged_root_without_the_right_to_mount() {
    let env = crate::env();
    let below = [Entry::dir("d"), Entry::file("d/old", "old"), Entry::dir("e"), Entry::file("e/x", "x")];
    let above = [
        Entry::dir("d"),
        Entry::file("d/.wh..wh..opq", ""),
        Entry::file("d/new", "new"),
        Entry::dir("e"),
        Entry::file("e/.wh.x", ""),
    ];
    layout::Image::new()
        .tar(tarball::archive(&below), Compression::Gzip)
        .tar(tarball::archive(&above), Compression::Gzip)
        .write(&env.dir("image"));
    env.file(
        "context/Dockerfile",
        "ARG BASE\nFROM ${BASE} AS base\nFROM scratch\nCOPY --from=base / /copied\n",
    );
    let wrapper = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"].map(str::to_owned);
    let build = |invocation: Invocation<'_>| {
        let archive = env.path("image.tar");
        invocation
            .args(["build", "--build-arg"])
            .arg(format!("BASE={}", layout_name(&env.path("image"))))
            .arg("-o")
            .arg(format!("type=oci,dest={}", archive.display()))
            .arg(env.path("context"))
            .run()
    };
    build(env.wrapped(&wrapper, "store")).success();
    let built = crate::Opened::archive(&env.path("image.tar"));
    assert_eq!(built.text("/copied/d/new"), "new");
    assert!(!built.has("/copied/d/old") && !built.has("/copied/e/x") && built.has("/copied/e"));
    // Root of the machine would see what is hidden.
    let root = ["env".to_owned()];
    let other = build(env.wrapped(&root, "store")).code(125);
    other.says("were made without CAP_SYS_ADMIN").says("hint: use another store with `--root`");
    env.wrapped(&root, "store").arg("images").run().success();
}
