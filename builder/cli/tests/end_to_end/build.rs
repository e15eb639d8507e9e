//! What `orlop build` does with a good Dockerfile.

use std::time::{Duration, Instant};

use crate::{FROM, build, env, image, image_of};

#[test]
fn the_image_id_alone_is_printed_and_written_to_the_iidfile() {
    let env = env();
    let iid = env.path("iid");
    let run = build(&env, &format!("{FROM}RUN echo noise; echo more >&2\n"))
        .arg("--iidfile")
        .arg(&iid)
        .run()
        .success();
    let id = run.stdout.trim_end();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{run}");
    assert_eq!(run.stdout.lines().count(), 1, "{run}");
    assert_eq!(std::fs::read_to_string(iid).expect("an iidfile").trim_end(), id);
}

#[test]
fn the_metadata_file_names_the_image() {
    let env = env();
    let path = env.path("metadata.json");
    let run = build(&env, FROM).arg("--metadata-file").arg(&path).run().success();
    let text = std::fs::read(path).expect("a metadata file");
    let metadata: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(metadata["containerimage.config.digest"], run.stdout.trim_end(), "{metadata}");
    assert!(
        metadata["containerimage.digest"].as_str().is_some_and(|d| d.starts_with("sha256:")),
        "{metadata}"
    );
}

#[test]
fn quiet_says_nothing_but_the_id() {
    let env = env();
    let file = env.file("Dockerfile", format!("{FROM}RUN echo noise\n"));
    let base = format!("BASE={}", crate::base_name());
    let run = env
        .orlop(["build", "-q", "--build-arg", &base, "-f"])
        .arg(file)
        .arg(env.dir("context"))
        .run()
        .success();
    assert_eq!(run.stderr, "", "{run}");
    assert!(run.stdout.starts_with("sha256:"), "{run}");
}

#[test]
fn rawjson_is_one_object_a_line() {
    let env = env();
    let file = env.file("Dockerfile", format!("{FROM}RUN echo 'to be \"seen\"'\n"));
    let base = format!("BASE={}", crate::base_name());
    let run = env
        .orlop(["build", "--progress=rawjson", "--build-arg", &base, "-f"])
        .arg(file)
        .arg(env.dir("context"))
        .run()
        .success();
    assert!(run.stderr.lines().count() > 3, "{run}");
    for line in run.stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(event.is_object(), "{line}");
    }
}

#[test]
fn output_of_a_step_is_shown_with_both_streams() {
    let env = env();
    build(&env, &format!("{FROM}RUN echo to-stdout; echo to-stderr >&2; printf no-newline\n"))
        .run()
        .success()
        .says("to-stdout")
        .says("to-stderr")
        .says("no-newline");
}

#[test]
fn independent_stages_run_at_the_same_time() {
    let env = env();
    // Each waits for a sign of the other's; one after the other they would wait in vain.
    let wait = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=meet,target=/meet touch /meet/{own} && \
             for i in $(seq 200); do [ -e /meet/{other} ] && exit 0; sleep 0.1; done; exit 1\nRUN echo {own} > /{own}\n"
        )
    };
    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS left\n{}FROM ${{BASE}} AS right\n{}\
         FROM ${{BASE}}\nCOPY --from=left /left /\nCOPY --from=right /right /\n",
        wait("left", "right"),
        wait("right", "left")
    );
    let image = image(&env, &dockerfile);
    assert_eq!((image.text("/left"), image.text("/right")), ("left\n", "right\n"));
}

#[test]
fn a_stage_that_the_target_does_not_need_is_not_run() {
    let env = env();
    let dockerfile = "ARG BASE\nFROM ${BASE} AS broken\nRUN exit 9\n\nFROM ${BASE} AS good\nRUN echo good > /good\n\n\
                      FROM ${BASE} AS last\nCOPY --from=good /good /\n";
    image(&env, dockerfile);
    let early = image_of(&env, build(&env, dockerfile).args(["--target", "good"]));
    assert_eq!(early.text("/good"), "good\n");
    build(&env, dockerfile).args(["--target", "broken"]).run().code(1);
    build(&env, dockerfile).args(["--target", "GOOD"]).run().success();
}

#[test]
fn stage_names_are_the_same_in_any_case() {
    let env = env();
    let dockerfile =
        "ARG BASE\nFROM ${BASE} AS First\nRUN echo 1 > /1\nFROM FIRST\nCOPY --from=first /1 /2\n";
    assert_eq!(image(&env, dockerfile).text("/2"), "1\n");
}

#[test]
fn a_secret_is_seen_by_its_step_and_kept_nowhere() {
    let env = env();
    let secret = env.file("token", "Zm9yIG5vYm9keQ-never-kept");
    let dockerfile = format!(
        "{FROM}RUN --mount=type=secret,id=token,target=/etc/token,mode=0400 wc -c < /etc/token > /length && ls -l /etc/token | cut -c1-10 > /mode\n\
         RUN --mount=type=secret,id=fromenv wc -c < /run/secrets/fromenv > /length2\n\
         RUN --mount=type=secret,id=missing [ ! -e /run/secrets/missing ]\n\
         RUN [ ! -e /etc/token ] && [ ! -e /run/secrets ]\n"
    );
    let run = build(&env, &dockerfile)
        .arg("--secret")
        .arg(format!("id=token,src={}", secret.display()))
        .args(["--secret", "id=fromenv,env=TOKEN"])
        .env("TOKEN", "dmFyaWFibGU-never-kept");
    let image = image_of(&env, run);
    assert_eq!((image.text("/length"), image.text("/mode")), ("25\n", "-r--------\n"));
    assert_eq!(image.text("/length2"), "22\n");
    assert!(!image.has("/etc/token") && !image.has("/run/secrets"));
    let search = orlop_fixtures::tool::tool("grep")
        .args(["-rla", "never-kept"])
        .arg(env.store())
        .output()
        .expect("grep");
    assert_eq!(String::from_utf8_lossy(&search.stdout), "", "the secret is in the store");
    assert!(!image.config.to_string().contains("never-kept"));
}

#[test]
fn a_required_secret_that_is_not_given_is_an_error() {
    let env = env();
    let dockerfile = format!("{FROM}RUN --mount=type=secret,id=token,required=true cat /run/secrets/token\n");
    let run = build(&env, &dockerfile).run().code(1).says("token").says("--secret id=token");
    crate::snapshot::check(&env, "secret-not-given", &run);
}

#[test]
fn nothing_of_the_machine_is_in_the_layers() {
    let env = env();
    let image = image(
        &env,
        &format!(
            "{FROM}RUN cat /etc/hosts /etc/resolv.conf /etc/hostname > /dev/null; ls /proc /sys /dev /dev/pts /dev/shm > /dev/null; echo x > /dev/null; echo done > /done\n\
             RUN --mount=type=cache,target=/deep/er/cache --mount=type=tmpfs,target=/t --mount=type=bind,target=/ctx echo > /ok\n\
             RUN true\n"
        ),
    );
    let names: Vec<_> = image.new_names().into_iter().filter(|n| n != "/").collect();
    assert_eq!(names, ["/done", "/ok"]);
}

#[test]
fn network_none_and_host() {
    let env = env();
    let server = orlop_fixtures::registry::start();
    // Not wget: a static busybox looks every name up through modules of the C library that are not there.
    let (host, port) =
        server.host().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).expect("a port");
    let fetch =
        format!("{{ printf 'GET /v2/ HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {host} {port} | grep -q '200 OK'; }}");
    let dockerfile =
        format!("{FROM}RUN --network=none ! {fetch}\nRUN {fetch} && cat /etc/resolv.conf > /dns\n");
    let image = image(&env, &dockerfile);
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let nameserver = host.lines().find(|l| l.starts_with("nameserver"));
    assert!(nameserver.is_none_or(|line| image.text("/dns").contains(line)), "{}", image.text("/dns"));
    let without = build(&env, &format!("{FROM}RUN {fetch} && echo 2\n")).args(["--network", "none"]);
    without.run().code(1).says("can't connect");
}

#[test]
fn labels_hosts_and_platform_from_the_command_line() {
    let env = env();
    let dockerfile = format!(
        "{FROM}LABEL a=1 b=2\nRUN grep build-host /etc/hosts > /host && df -k /dev/shm | tail -n 1 > /shm\n"
    );
    let run = build(&env, &dockerfile).args([
        "--label",
        "b=3",
        "--label",
        "c=4",
        "--add-host",
        "build-host:10.1.2.3",
        "--shm-size",
        "128m",
        "--platform",
        "linux/amd64",
    ]);
    let image = image_of(&env, run);
    assert_eq!(image.settings()["Labels"], serde_json::json!({"a": "1", "b": "3", "c": "4"}));
    assert!(image.text("/host").contains("10.1.2.3"), "{}", image.text("/host"));
    assert!(image.text("/shm").contains("131072"), "{}", image.text("/shm"));
    assert!(!image.has("/etc/hosts"));
}

#[test]
fn a_process_left_in_the_background_ends_with_its_step() {
    let env = env();
    let start = Instant::now();
    let dockerfile = format!(
        "{FROM}RUN (sleep 4217 &) ; setsid sleep 4217 & echo started\nRUN ps | grep -c '[s]leep 4217' > /left || true\n"
    );
    let image = image(&env, &dockerfile);
    assert_eq!(image.text("/left"), "0\n");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let left = orlop_fixtures::tool::tool("pgrep").args(["-f", "sleep 4217"]).output().expect("pgrep");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "still running");
}

#[test]
fn the_same_build_in_two_stores_has_the_same_layers() {
    let (first, second) = (env(), env());
    // Directories that a COPY or a WORKDIR makes are of now, as BuildKit's: SOURCE_DATE_EPOCH is for the config.
    let dockerfile = format!("{FROM}COPY f /f\nCOPY --chown=1:2 f /g\nCOPY --link --chmod=600 f /h\n");
    let layers = |env: &orlop_fixtures::test_env::TestEnv| {
        let file = env.file("context/f", "same");
        orlop_fixtures::tool::run(orlop_fixtures::tool::tool("touch").args(["-d", "@1500000000"]).arg(file));
        let image = image_of(env, build(env, &dockerfile).env("SOURCE_DATE_EPOCH", "1600000000"));
        (image.config["rootfs"].clone(), image.config["created"].clone())
    };
    let (a, b) = (layers(&first), layers(&second));
    assert_eq!(a, b);
    assert_eq!(a.1, "2020-09-13T12:26:40Z");
}

#[test]
fn a_step_that_changes_nothing_adds_no_files() {
    let env = env();
    let image = image(&env, &format!("{FROM}RUN true\nRUN touch /x && rm /x\nRUN echo kept > /kept\n"));
    let names: Vec<_> = image.new_names().into_iter().filter(|n| n != "/").collect();
    assert_eq!(names, ["/kept"]);
    assert_eq!(image.config["history"].as_array().map(Vec::len), Some(4));
}

#[test]
fn configuration_fields_of_a_base_survive() {
    let env = env();
    let mut base = orlop_fixtures::layout::Image::new().layer(&[orlop_fixtures::tarball::Entry::dir("etc")]);
    base.config["config"]["Healthcheck"] =
        serde_json::json!({"Test": ["CMD", "/x"], "Interval": 5, "StartInterval": 7});
    base.config["config"]["ArgsEscaped"] = serde_json::json!(true);
    base.config["config"]["Shell"] = serde_json::json!(["/bin/x"]);
    base.config["config"]["com.example.unknown"] = serde_json::json!({"b": [1, 2.5], "a": null});
    base.config["unknown"] = serde_json::json!("kept");
    base.config["variant"] = serde_json::json!("v9");
    base.write(&env.dir("base"));
    let name = crate::layout_name(&env.path("base"));
    let image = image_of(&env, crate::build_over(&env, "ARG BASE\nFROM ${BASE}\nENV A=1\n", &name));
    for key in ["Healthcheck", "ArgsEscaped", "Shell", "com.example.unknown"] {
        assert_eq!(image.settings()[key], base.config["config"][key], "{key}");
    }
    assert_eq!(
        (&image.config["unknown"], &image.config["variant"]),
        (&base.config["unknown"], &base.config["variant"])
    );
}

/// `docker import` and others make bases without: `$PATH` must not come out empty.
#[test]
fn a_base_without_a_path_gets_the_usual_one() {
    const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = env();
    let mut base = orlop_fixtures::layout::Image::new().layer(&[orlop_fixtures::tarball::Entry::dir("etc")]);
    for (given, dockerfile, expected) in [
        (vec![], "ENV A=1 PATH=/opt/bin:$PATH\n", vec![format!("PATH=/opt/bin:{USUAL}"), "A=1".to_owned()]),
        (vec!["B=2"], "", vec!["B=2".to_owned(), format!("PATH={USUAL}")]),
        (vec!["PATH="], "ENV PATH=/x$PATH\n", vec!["PATH=/x".to_owned()]),
    ] {
        base.config["config"]["Env"] = serde_json::json!(given);
        base.write(&env.dir("base"));
        let name = crate::layout_name(&env.path("base"));
        let image = image_of(
            &env,
            crate::build_over(&env, &format!("ARG BASE\nFROM ${{BASE}}\n{dockerfile}"), &name),
        );
        assert_eq!(image.settings()["Env"], serde_json::json!(expected), "{given:?}");
        std::fs::remove_dir_all(env.path("base")).unwrap();
    }
}

/// <https://aka.ms/customizecontainer> writes `USER $APP_UID` also for bases that do not set it.
#[test]
fn user_and_workdir_may_expand_to_nothing() {
    let env = env();
    let dockerfile =
        format!("{FROM}WORKDIR /app\nUSER 8\nUSER $NONE\nWORKDIR ${{NONE}}\nRUN id -u > uid; pwd > dir\n");
    let image = image(&env, &dockerfile);
    assert_eq!(image.text("/app/uid"), "0\n");
    assert_eq!(image.text("/app/dir"), "/app\n");
}
