//! Where images are fetched from by configuration: mirrors, blocked, moved and insecure registries, short names,
//! certificates and proxies. With Debian's registry server, and skopeo beside us where it can tell.

use std::fs;
use std::path::PathBuf;

use orlop_fixtures::certificate;
use orlop_fixtures::layout::Image;
use orlop_fixtures::registry::{self, Options, Registry};
use orlop_fixtures::tarball::Entry;
use orlop_fixtures::test_env::{Run, TestEnv};
use orlop_fixtures::tool::tool;

use crate::{Opened, base, build_as, build_over, env, snapshot};

/// `registries.conf` of the user, which stands for the machine's too.
fn configure(env: &TestEnv, text: &str) -> PathBuf {
    env.file("home/.config/containers/registries.conf", text)
}

/// An image with one file, whose content tells it from others.
fn put(env: &TestEnv, registry: &Registry, name: &str, content: &str) {
    let dir = env.dir(&format!("layout-{content}"));
    Image::new().layer(&[Entry::file("from", format!("{content}\n"))]).write(&dir);
    registry.fill(&dir, name);
}

/// What is in the image that was pulled by `name`.
fn content(env: &TestEnv, name: &str) -> String {
    let archive = env.path("pulled.tar");
    let _ = fs::remove_file(&archive);
    env.orlop(["save", "--format", "oci-archive", "-o"]).arg(&archive).arg(name).run().success();
    Opened::archive(&archive).text("/from").trim_end().to_owned()
}

fn pull(env: &TestEnv, name: &str) -> Run {
    env.orlop(["pull", "--progress=plain", name]).run()
}

/// A port where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn mirrors_serve_in_order() {
    let (one, two, own) = (registry::start(), registry::start(), registry::start());
    let env = env();
    put(&env, &two, "cache/app:1", "two");
    put(&env, &own, "app:1", "own");
    put(&env, &own, "app:2", "own");
    let mirrors = |first: &str| {
        format!(
            "[[registry]]\nprefix = \"images.example/team\"\nlocation = \"{}\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"{first}\"\n\
             [[registry.mirror]]\nlocation = \"{}\"\n",
            own.host(),
            two.name("cache")
        )
    };
    // The first lacks it, or nobody is there: the second serves.
    for first in [one.name("cache"), format!("{}/cache", nobody())] {
        configure(&env, &mirrors(&first));
        let run = pull(&env, "images.example/team/app:1").success();
        let told = run.says(&format!("from the mirror `{}`", two.name("cache/app")));
        assert_eq!(told.stderr.matches("warning: mirror `").count(), 1, "told once: {told}");
        assert_eq!(content(&env, "images.example/team/app:1"), "two");
        env.orlop(["rmi", "images.example/team/app:1"]).run().success();
    }
    // None of the mirrors has it: the registry itself.
    let run = pull(&env, "images.example/team/app:2").success();
    assert!(!run.stderr.contains("from the mirror"), "{run}");
    assert_eq!(content(&env, "images.example/team/app:2"), "own");
    configure(&env, &mirrors(&one.name("cache")));
    let run = pull(&env, "images.example/team/app:3").code(1);
    snapshot::check(&env, "pull-no-mirror-has-it", &run);
}

#[test]
fn a_mirror_that_serves_something_else_is_left() {
    let (mirror, own) = (registry::start(), registry::start());
    let env = env();
    for registry in [&mirror, &own] {
        registry.fill(base(), "base:1");
    }
    // The same size, other bytes: in the layer, the config, the manifest.
    let manifest = own.get("/v2/base/manifests/1");
    let digests: Vec<&str> =
        manifest.match_indices("sha256:").filter_map(|(at, _)| manifest.get(at..at + 71)).collect();
    for digest in digests {
        let path = mirror.blob(digest);
        let mut bytes = fs::read(&path).expect("a blob of the mirror");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("write");
        configure(
            &env,
            &format!(
                "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
                own.host(),
                mirror.host()
            ),
        );
        let run = pull(&env, &own.name("base:1")).success();
        assert!(run.stderr.contains(&format!("warning: mirror `{}`", mirror.host())), "{digest}: {run}");
        let ran = env.orlop(["run", "--rm", &own.name("base:1"), "echo", "right"]).run().success();
        assert_eq!(ran.stdout, "right\n");
        env.orlop(["rmi", &own.name("base:1")]).run().success();
        env.orlop(["store", "gc", "--all"]).run();
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("write");
    }
}

#[test]
fn pushes_go_where_the_name_says() {
    let (named, other) = (registry::start(), registry::start());
    let env = env();
    configure(
        &env,
        &format!(
            "[[registry]]\nprefix = \"{}\"\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
            named.name("team"),
            other.name("elsewhere"),
            other.name("mirror"),
        ),
    );
    named.fill(base(), "base:1");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nRUN echo x > /x\n";
    let build = build_as(&env, dockerfile, &named.name("base:1"), &named.name("team/app:1"));
    build.arg("--push").run().success();
    assert!(named.log().contains("PUT /v2/team/app/manifests/1"), "{}", named.log());
    assert!(!other.log().contains("PUT "), "{}", other.log());
    // Reading goes where it is said to be: nothing is there.
    env.orlop(["rmi", &named.name("team/app:1")]).run().success();
    let run = pull(&env, &named.name("team/app:1")).code(1);
    assert!(run.stderr.contains("/v2/elsewhere/app/manifests/1: 404"), "{run}");
}

/// Short names as podman reads them: the content of the image, or nothing.
#[test]
fn privileged_short_names_mean_what_podman_takes_them_for() {
    let (one, two) = (registry::start(), registry::start());
    let env = env();
    put(&env, &one, "app:1", "one");
    put(&env, &two, "app:1", "two");
    put(&env, &two, "team/app:1", "three");
    put(&env, &two, "library/app:1", "four");
    let (a, b, none) = (one.host(), two.host(), nobody());
    let hosts = format!(
        "[[registry]]\nlocation = \"{a}\"\ninsecure = true\n[[registry]]\nlocation = \"{b}\"\ninsecure = true\n"
    );
    let search = |all: &[&str]| format!("unqualified-search-registries = {all:?}\n");
    let alias = |short: &str, full: &str| format!("[aliases]\n\"{short}\" = \"{full}\"\n");
    for (what, name, head, tail, want) in [
        ("one", "app:1", search(&[&a]), String::new(), Some("one")),
        ("the first that has it", "team/app:1", search(&[&none, &a, &b]), String::new(), Some("three")),
        ("none has it", "other:1", search(&[&a, &b]), String::new(), None),
        ("alias before search", "app:1", search(&[&a]), alias("app", &two.name("team/app")), Some("three")),
        ("alias of two words", "team/app:1", search(&[&b]), alias("team/app", &one.name("app")), Some("one")),
        (
            "a folder is a word",
            "library/app:1",
            search(&[&a, &b]),
            alias("app", &one.name("app")),
            Some("four"),
        ),
        (
            "enforcing, several",
            "app:1",
            format!("short-name-mode = \"enforcing\"\n{}", search(&[&a, &b])),
            String::new(),
            None,
        ),
        (
            "enforcing, one",
            "app:1",
            format!("short-name-mode = \"enforcing\"\n{}", search(&[&b])),
            String::new(),
            Some("two"),
        ),
        (
            "disabled, several",
            "app:1",
            format!("short-name-mode = \"disabled\"\n{}", search(&[&b, &a])),
            String::new(),
            Some("two"),
        ),
        ("in full", &one.name("app:1"), search(&[&b]), alias("app", &two.name("app")), Some("one")),
    ] {
        let conf = configure(&env, &format!("{head}{hosts}{tail}"));
        let run = env.orlop(["pull", "-q", name]).run();
        let ours = (run.status.code() == Some(0)).then(|| content(&env, name));
        assert_eq!(ours.as_deref(), want, "{what}: {run}");
        env.orlop(["rmi", "-f", name]).run();
        let podman = |args: &[&str]| {
            let mut podman = tool("podman");
            podman.arg("--root").arg(env.path("podman/root")).arg("--runroot").arg(env.path("podman/run"));
            podman.args(["--storage-driver", "vfs"]).args(args);
            podman.env("CONTAINERS_REGISTRIES_CONF", &conf).env("HOME", env.path("home"));
            podman.output().expect("podman")
        };
        let out = podman(&["pull", "-q", name]);
        let theirs = out.status.success().then(|| {
            let to = env.path("podman.tar");
            let _ = fs::remove_file(&to);
            let id = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            podman(&["save", "-q", "--format", "oci-archive", "-o", &to.display().to_string(), &id]);
            podman(&["rmi", "-f", &id]);
            Opened::archive(&to).text("/from").trim_end().to_owned()
        });
        assert_eq!(ours, theirs, "{what}: podman says {}", String::from_utf8_lossy(&out.stderr));
    }
}

/// What orlop and skopeo make of the same configuration: the content of the image, or nothing.
#[test]
fn the_same_as_skopeo_over_a_table_of_configurations() {
    let (one, two) = (registry::start(), registry::start());
    let env = env();
    put(&env, &one, "team/app:1", "one");
    put(&env, &two, "mir/app:1", "two");
    put(&env, &two, "team/app:1", "three");
    let (a, b, none) = (one.host(), two.host(), nobody());
    let name = "src.example/team/app:1";
    let moved = format!("prefix = \"src.example/team\"\nlocation = \"{a}/team\"\ninsecure = true");
    let here = format!("[[registry]]\nprefix = \"src.example\"\nlocation = \"{none}\"\ninsecure = true");
    let mirror =
        |more: &str| format!("\n[[registry.mirror]]\nlocation = \"{b}/mir\"\ninsecure = true\n{more}");
    let table = [
        ("moved", format!("[[registry]]\n{moved}"), Some("one")),
        (
            "longer prefix",
            format!("[[registry]]\nprefix = \"src.example\"\nlocation = \"{none}\"\n[[registry]]\n{moved}"),
            Some("one"),
        ),
        ("mirror first", format!("[[registry]]\n{moved}{}", mirror("")), Some("two")),
        (
            "digest mirror, tag",
            format!("[[registry]]\n{moved}{}", mirror("pull-from-mirror = \"digest-only\"")),
            Some("one"),
        ),
        (
            "tag mirror, tag",
            format!("[[registry]]\n{moved}{}", mirror("pull-from-mirror = \"tag-only\"")),
            Some("two"),
        ),
        (
            "by digest only",
            format!("[[registry]]\nmirror-by-digest-only = true\n{moved}{}", mirror("")),
            Some("one"),
        ),
        (
            "blocked, with mirror",
            format!(
                "[[registry]]\nprefix = \"src.example/team\"\nlocation = \"src.example/team\"\nblocked = true{}",
                mirror("")
            ),
            Some("two"),
        ),
        ("blocked", "[[registry]]\nlocation = \"src.example\"\nblocked = true".to_owned(), None),
        (
            "blocked mirror",
            format!("[[registry]]\n{moved}{}\n[[registry]]\nlocation = \"{b}\"\nblocked = true", mirror("")),
            Some("one"),
        ),
        (
            "wildcard",
            format!("[[registry]]\nprefix = \"*.example\"\nlocation = \"{a}\"\ninsecure = true"),
            Some("one"),
        ),
        (
            "wildcard of another domain",
            format!("{here}\n[[registry]]\nprefix = \"*.rc.example\"\nlocation = \"{a}\"\ninsecure = true"),
            None,
        ),
        (
            "slash at the end",
            format!(
                "[[registry]]\nprefix = \"src.example/team/\"\nlocation = \"{a}/team/\"\ninsecure = true"
            ),
            Some("one"),
        ),
        (
            "half a word",
            format!(
                "{here}\n[[registry]]\nprefix = \"src.example/te\"\nlocation = \"{a}/te\"\ninsecure = true"
            ),
            None,
        ),
        (
            "a tag in the prefix",
            format!(
                "{here}\n[[registry]]\nprefix = \"src.example/team/app:1\"\nlocation = \"{b}/team/app:1\"\ninsecure = true"
            ),
            None,
        ),
        ("unknown key", format!("[[registry]]\nunknown = 1\n{moved}"), Some("one")),
        (
            "twice",
            format!(
                "[[registry]]\n{moved}\n[[registry]]\nprefix = \"src.example/team\"\nlocation = \"{b}/team\"\ninsecure = true"
            ),
            Some("one"),
        ),
        (
            "contradiction",
            format!("[[registry]]\n{moved}\n[[registry]]\nprefix = \"x.example\"\nlocation = \"{a}/team\""),
            None,
        ),
        ("no location", "[[registry]]\nprefix = \"src.example\"".to_owned(), None),
        ("a scheme", format!("[[registry]]\nprefix = \"src.example\"\nlocation = \"http://{a}\""), None),
        ("bad mode", format!("short-name-mode = \"x\"\n[[registry]]\n{moved}"), None),
        ("bad alias", format!("[[registry]]\n{moved}\n[aliases]\nx = \"a.io/x:1\""), None),
        (
            "both versions",
            format!("[[registry]]\n{moved}\n[registries.search]\nregistries = [\"x.io\"]"),
            None,
        ),
        ("version 1, blocked", "[registries.block]\nregistries = [\"src.example\"]".to_owned(), None),
        ("no TOML", "[[registry]".to_owned(), None),
    ];
    for (what, text, want) in table {
        let conf = configure(&env, &text);
        let run = env.orlop(["pull", "-q", name]).run();
        let ours = (run.status.code() == Some(0)).then(|| content(&env, name));
        assert_eq!(ours.as_deref(), want, "{what}: {run}");
        env.orlop(["rmi", "-f", name]).run();
        let to = env.path("skopeo");
        let _ = fs::remove_dir_all(&to);
        let mut skopeo = tool("skopeo");
        skopeo.arg("--registries-conf").arg(&conf).args(["--insecure-policy", "copy", "-q"]);
        skopeo.arg(format!("docker://{name}")).arg(format!("oci:{}:latest", to.display()));
        let out = skopeo.env("HOME", env.path("home")).output().expect("skopeo");
        let theirs = out.status.success().then(|| {
            Opened::from(&format!("oci:{}:latest", to.display())).text("/from").trim_end().to_owned()
        });
        assert_eq!(ours, theirs, "{what}: skopeo says {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn blocked_registries_and_bad_files_say_where() {
    let env = env();
    configure(&env, "[[registry]]\nlocation = \"bad.example\"\nblocked = true\nblokced = 1\n");
    snapshot::check(&env, "pull-blocked", &pull(&env, "bad.example/app:1").code(1));
    let run = build_over(&env, "ARG BASE\nFROM ${BASE}\nENV A=1\n", "bad.example/app:1").run().code(1);
    assert!(run.stderr.contains("Dockerfile:2") && run.stderr.contains("is blocked by"), "{run}");
    configure(&env, "[[registry]]\nprefix = \"bad.example\"\n");
    snapshot::check(&env, "registries-conf-without-location", &pull(&env, "bad.example/app:1").code(1));
}

#[test]
fn short_names_by_alias_and_by_search() {
    let (one, two) = (registry::start(), registry::start());
    let env = env();
    one.fill(base(), "team/box:1");
    put(&env, &two, "app:1", "two");
    let search = format!(
        "unqualified-search-registries = [\"{}\", \"{}\"]\n[aliases]\nbox = \"{}\"\n",
        one.host(),
        two.host(),
        one.name("team/box")
    );
    configure(&env, &search);
    let run = pull(&env, "box:1").success();
    let full = one.name("team/box:1");
    assert!(run.stderr.contains(&format!("`box:1` is `{full}`, by an alias in `")), "{run}");
    // What was pulled by it is here by it, and under its full name alone.
    let images = env.orlop(["images"]).run().success().stdout;
    assert!(images.contains(&one.name("team/box")) && !images.contains("docker.io"), "{images}");
    let ran = env.orlop(["run", "--rm", "box:1", "echo", "ran"]).run().success();
    assert_eq!(ran.stdout, "ran\n");
    env.orlop(["inspect", "box:1"]).run().success();
    assert_eq!(env.orlop(["images", "-q", "box"]).run().success().stdout.lines().count(), 1);
    env.orlop(["tag", "box:1", "mine:1"]).run().success();
    // A name that was given here needs no registry, nor do FROM and COPY --from of it.
    let dockerfile =
        "FROM mine:1\nCOPY --from=app:1 /from /from\nCOPY --from=box:1 /bin/busybox /bb\nRUN cat /from\n";
    let run = build_over(&env, dockerfile, "").run().success();
    assert!(run.stderr.contains("two"), "{run}");
    assert!(
        run.stderr.contains(&format!("`app:1` is `{}`, by `unqualified-search", two.name("app:1"))),
        "{run}"
    );
    env.orlop(["rmi", "box:1"]).run().success();
    // Nowhere.
    let run = pull(&env, "none:1").code(1);
    for registry in [&one, &two] {
        assert!(run.stderr.contains(&format!("`{}`", registry.name("none:1"))), "{run}");
    }
    // Where one has to be chosen nothing is guessed.
    let text = format!(
        "short-name-mode = \"enforcing\"\n{}",
        search.replace(&one.host(), "a.example").replace(&two.host(), "b.example")
    );
    configure(&env, &text);
    snapshot::check(&env, "pull-ambiguous-name", &pull(&env, "app:1").code(1));
    // Unless it is here: what was pulled in full is meant.
    let text = text.replace("b.example", &two.host());
    configure(&env, &text);
    pull(&env, "app:1").success();
    // Without configuration it is Docker's registry, which nobody reaches here.
    configure(
        &env,
        &format!(
            "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"{}\"\n",
            one.host()
        ),
    );
    one.fill(base(), "library/box:2");
    pull(&env, "box:2").success();
    let images = env.orlop(["images"]).run().success().stdout;
    assert!(images.lines().any(|line| line.starts_with("box ")), "{images}");
}

/// Runs `orlop ARGS…` where the machine has the addresses 10.9.9.8 and 10.9.9.9 and a registry of that storage listens
/// on port 5000 of both, over plain HTTP.
fn beside(env: &TestEnv, storage: &std::path::Path, args: &[&str]) -> Run {
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: \"0.0.0.0:5000\", secret: x}}\n",
        storage.display()
    );
    let config = env.file("beside.yml", config);
    let script = "ip link set lo up && ip address add 10.9.9.8/32 dev lo && ip address add 10.9.9.9/32 dev lo || exit 99
        \"$0\" serve \"$1\" > /dev/null 2>&1 &
        registry=$!
        shift
        until (: < /dev/tcp/10.9.9.9/5000) 2> /dev/null; do sleep 0.05; done
        \"$@\"
        code=$?
        kill $registry
        exit $code";
    let program = |name: &str| orlop_fixtures::tool::find(name);
    orlop_fixtures::tool::find("ip");
    let wrapper = [
        program("unshare"),
        "-n".to_owned(),
        "bash".to_owned(),
        "-c".to_owned(),
        script.to_owned(),
        program("docker-registry"),
        config.display().to_string(),
    ];
    env.wrapped(&wrapper, "store").args(args).run()
}

#[test]
fn privileged_plain_http_is_for_this_machine_and_for_whom_configuration_names() {
    let env = env();
    let storage = env.dir("storage");
    registry::start_with(&Options { storage: Some(storage.clone()), ..Options::default() })
        .fill(base(), "base:1");
    let (one, two) = ("10.9.9.9:5000/base:1", "10.9.9.8:5000/base:1");
    let run = beside(&env, &storage, &["pull", one]).code(1);
    snapshot::check(&env, "pull-plain-http-elsewhere", &run);
    beside(&env, &storage, &["pull", "--insecure-registry", "10.9.9.9:5000", one]).success();
    beside(&env, &storage, &["pull", "--tls-verify=false", one]).success();
    // One host is not another.
    beside(&env, &storage, &["pull", "--insecure-registry", "10.9.9.9:5000", two]).code(1);
    configure(&env, "[[registry]]\nlocation = \"10.9.9.8:5000\"\ninsecure = true\n");
    beside(&env, &storage, &["pull", two]).success();
    beside(&env, &storage, &["pull", one]).code(1);
    // A mirror is what it says of itself, whatever the registry is.
    let mirror = |insecure: bool| {
        format!(
            "[[registry]]\nprefix = \"src.example\"\nlocation = \"10.9.9.8:5000\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"10.9.9.9:5000\"\ninsecure = {insecure}\n"
        )
    };
    for insecure in [false, true] {
        configure(&env, &mirror(insecure));
        let run = beside(&env, &storage, &["pull", "src.example/base:1"]).success();
        assert_eq!(run.stderr.contains("from the mirror"), insecure, "{run}");
    }
}

#[test]
fn https_with_a_certificate_of_ones_own() {
    let env = env();
    let certificate = certificate::make(&env.dir("certificate"));
    let options = Options { certificate: Some(certificate.clone()), clients: true, ..Options::default() };
    let registry = registry::start_with(&options);
    let name = registry.name("app:1");
    crate::build(&env, &format!("{}ENV A=1\n", crate::FROM)).args(["-t", &name]).run().success();
    let dir = env.dir(&format!("home/.config/containers/certs.d/{}", registry.host()));
    fs::copy(&certificate.authority, dir.join("ca.crt")).expect("copy");
    let run = env.orlop(["push", &name]).run().code(1);
    snapshot::check(&env, "push-without-client-certificate", &run);
    fs::copy(&certificate.certificate, dir.join("client.cert")).expect("copy");
    let run = env.orlop(["push", &name]).run().code(1);
    assert!(run.stderr.contains("client.key"), "{run}");
    fs::copy(&certificate.key, dir.join("client.key")).expect("copy");
    env.orlop(["push", &name]).run().success();
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let env = env();
    let nobody = nobody();
    let pull = |name: &str, variable: &str, value: &str| {
        env.orlop(["pull", "--progress=plain", "--insecure-registry", "plain.example.invalid", name])
            .env(variable, value)
            .run()
            .code(1)
            .never_says("hunter2")
    };
    let url = format!("http://user:hunter2@{nobody}");
    let run = pull("registry.example.invalid/app:1", "HTTPS_PROXY", &url);
    snapshot::check(&env, "pull-proxy-down", &run);
    for (name, variable, value) in [
        ("registry.example.invalid/app:1", "https_proxy", &url),
        ("registry.example.invalid/app:1", "ALL_PROXY", &format!("socks5h://user:hunter2@{nobody}")),
        ("plain.example.invalid/app:1", "all_proxy", &url),
    ] {
        let run = pull(name, variable, value);
        assert!(run.stderr.contains(&format!("proxy `{nobody}`")), "{variable}: {run}");
    }
    // In upper case a web server's clients could set it.
    let run = pull("registry.example.invalid/app:1", "HTTP_PROXY", &url);
    assert!(!run.stderr.contains("proxy `"), "{run}");
    let run = pull("registry.example.invalid/app:1", "HTTPS_PROXY", "ftp://user:hunter2@proxy.example");
    assert!(run.stderr.contains("`ftp` is no kind of proxy"), "{run}");
}
