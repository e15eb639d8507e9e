//! What single instructions and their flags do when they run, where buildah has no say: BuildKit is the measure.

use std::os::unix::net::UnixListener;

use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::web::{self, Page};
use serde_json::Value;

use crate::{FROM, build, env, image, image_of};

/// What history says of each instruction, in order, the base's own left out.
fn history(config: &Value) -> Vec<&str> {
    let entries = config["history"].as_array().expect("a history");
    entries.iter().skip(1).map(|entry| entry["created_by"].as_str().expect("an instruction")).collect()
}

#[test]
fn history_has_buildkits_words() {
    let env = env();
    env.file("context/a.txt", "a");
    let dockerfile = "ARG BASE\nFROM ${BASE}\nARG ONE=1\nARG GIVEN=default\nARG NONE\nENV A=\"x y\" B=2\nLABEL l=v\n\
        EXPOSE 80 8000-8001/udp\nVOLUME /data /x\nVOLUME [\"/p q\"]\nUSER root\nWORKDIR /w\n\
        SHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $ONE > /one\nRUN [\"true\"]\nCMD echo \"hi\"\n\
        ENTRYPOINT [\"a b\", \"c\"]\nHEALTHCHECK --interval=1m30s --retries=3 CMD curl x\nHEALTHCHECK NONE\n\
        STOPSIGNAL SIGTERM\nONBUILD RUN true\nMAINTAINER me\n\
        COPY --link --chown=1:2 --chmod=${NONE:-755} a.txt ./b/\nCOPY <<x <<y /z/\n1\nx\n2\ny\nWORKDIR /\n";
    let built = image_of(&env, build(&env, dockerfile).args(["--build-arg", "GIVEN=g"]));
    assert_eq!(
        history(&built.config),
        [
            "ARG ONE=1",
            "ARG GIVEN=g",
            "ARG NONE",
            "ENV A=x y B=2",
            "LABEL l=v",
            "EXPOSE [80/tcp 8000/udp 8001/udp]",
            "VOLUME [/data /x]",
            "VOLUME [/p q]",
            "USER root",
            "WORKDIR /w",
            "SHELL [/bin/sh -ec]",
            "RUN |3 ONE=1 GIVEN=g NONE= /bin/sh -ec echo $ONE > /one # buildkit",
            "RUN |3 ONE=1 GIVEN=g NONE= true # buildkit",
            "CMD [\"/bin/sh\" \"-ec\" \"echo \\\"hi\\\"\"]",
            "ENTRYPOINT [\"a b\" \"c\"]",
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}",
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
            "STOPSIGNAL SIGTERM",
            "MAINTAINER me",
            "COPY --chown=1:2 --chmod=755 a.txt ./b/ # buildkit",
            "COPY <<x <<y /z/ # buildkit",
            "WORKDIR /",
        ]
    );
    let comments = built.config["history"].as_array().expect("a history").iter().skip(1);
    assert!(comments.clone().all(|entry| entry["comment"] == "buildkit.dockerfile.v0"));
    assert_eq!(comments.last().expect("the last")["empty_layer"], true, "`/` is always there");
}

#[test]
fn of_arg_and_env_the_later_line_counts() {
    let env = env();
    let dockerfile = "ARG BASE\nFROM ${BASE} AS one\nENV X=env Y=env\nARG X=arg\nRUN echo $X > /1\nARG X\nRUN echo $X > /2\n\
        ENV X=again\nRUN echo $X > /3\nARG Y\nRUN echo $Y > /4\n\
        FROM one\nRUN echo $Y > /5\nARG GIVEN\nRUN echo $GIVEN > /6\n";
    let built = image_of(&env, build(&env, dockerfile).args(["--build-arg", "Y=given"]));
    let read = |name: &str| built.text(name).trim().to_owned();
    assert_eq!(
        ["/1", "/2", "/3", "/4", "/5", "/6"].map(read),
        ["arg", "arg", "again", "given", "env", ""],
        "a stage begins with what its base's image says"
    );
}

#[test]
fn an_insecure_step_is_for_who_allows_it() {
    let env = env();
    let dockerfile = format!(
        "{FROM}RUN echo before > /before\nUSER worker\n\
         RUN --security=insecure grep ^Cap /proc/self/status; ls -d /dev/fuse /dev/loop0\n\
         RUN --security=sandbox grep ^CapEff /proc/self/status; ls -d /dev/fuse || true\n"
    );
    build(&env, &dockerfile)
        .run()
        .code(1)
        .says("`RUN --security=insecure` is not allowed")
        .says("--allow security.insecure")
        .says("Dockerfile:5")
        .never_says("RUN echo before > /before\n#");
    let run = build(&env, &dockerfile).args(["--allow", "security.insecure"]).run().success();
    let bits = |set: &str| {
        let line = run.stderr.lines().find(|line| line.contains(set)).expect(set);
        line.rsplit([' ', '\t']).next().expect("bits").to_owned()
    };
    assert!(bits("CapAmb").starts_with("000001ff") && bits("CapAmb") == bits("CapBnd"), "{run}");
    assert!(run.stderr.contains(" /dev/loop0"), "{run}");
    assert!(run.stderr.contains(" 0000000000000000\n"), "{run}");
    assert!(run.stderr.contains("ls: /dev/fuse: No such file"), "{run}");
}

#[test]
fn being_insecure_is_part_of_a_steps_key() {
    let env = env();
    let step = |flag: &str| format!("{FROM}RUN {flag} grep ^CapBnd /proc/self/status > /caps\n");
    image(&env, &step(""));
    let built =
        image_of(&env, build(&env, &step("--security=insecure")).args(["--allow", "security.insecure"]));
    assert!(built.text("/caps").contains("000001ff"), "{}", built.text("/caps"));
    assert!(image(&env, &step("--security=sandbox")).text("/caps").contains("00000000a80425fb"));
}

#[test]
fn what_nobody_can_allow_is_a_mistake_of_the_command_line() {
    let env = env();
    build(&env, FROM)
        .args(["--allow", "everything"])
        .run()
        .code(2)
        .says("`security.insecure`, `network.host`");
    build(&env, FROM).args(["--cap-add", "SYS_ADMIN"]).run().code(2).says("--allow security.insecure");
}

#[test]
fn a_dockerfile_does_not_take_back_the_network_that_the_user_took_away() {
    let env = env();
    let links = |flag: &str| format!("{FROM}RUN {flag} ip link | grep -c ^[0-9] > /links\n");
    let host = image(&env, &links("--network=host"));
    assert_ne!(host.text("/links"), "1\n", "every step may use the host's network");
    assert_eq!(image(&env, &links("--network=none")).text("/links"), "1\n");
    let without = ["--network", "none"];
    let default = image_of(&env, build(&env, &links("--network=default")).args(without));
    assert_eq!(default.text("/links"), "1\n");
    build(&env, &links("--network=host")).args(without).run().code(1).says("--allow network.host");
    let allowed =
        image_of(&env, build(&env, &links("--network=host")).args(without).args(["--allow", "network.host"]));
    assert_eq!(allowed.text("/links"), host.text("/links"));
}

#[test]
fn a_device_is_refused_where_it_is_required() {
    let env = env();
    build(&env, &format!("{FROM}RUN echo first\nRUN --device=vendor.com/gpu=all,required true\n"))
        .run()
        .code(1)
        .says("the device `vendor.com/gpu=all` is required")
        .never_says("] RUN echo first");
    build(&env, &format!("{FROM}RUN --device=vendor.com/gpu=all echo ran\n"))
        .run()
        .success()
        .says("the device `vendor.com/gpu=all` is not there");
}

#[test]
fn a_stage_has_to_be_there_before_its_files_are_taken() {
    let env = env();
    let copy = "ARG BASE\nFROM ${BASE} AS first\nRUN echo ran\nCOPY --from=later /f /\nFROM ${BASE} AS later\nRUN touch /f\n";
    build(&env, copy)
        .args(["--target", "first"])
        .run()
        .code(1)
        .says("stage `later` is not there yet: it begins on line 5")
        .says("Dockerfile:4")
        .never_says("] RUN echo ran");
    let mount = copy.replace("COPY --from=later /f /", "RUN --mount=from=later,target=/l true");
    build(&env, &mount).args(["--target", "first"]).run().code(1).says("is not there yet");
    let trigger = "ARG BASE\nFROM ${BASE} AS base\nONBUILD COPY --from=later /f /\nFROM base AS child\nFROM ${BASE} AS later\nRUN touch /f\n";
    build(&env, trigger).args(["--target", "child"]).run().code(1).says("is not there yet");
}

#[test]
fn triggers_run_in_children_once_and_in_order() {
    let env = env();
    let dockerfile = "ARG BASE\nFROM ${BASE} AS src\nRUN mkdir /in && echo 12 > /in/file\n\
        FROM ${BASE} AS base\nONBUILD COPY --from=src /in/file /out/foo\n\
        ONBUILD RUN --mount=type=cache,target=/cache echo ran >> /count\nONBUILD ENV SET=1\nONBUILD WORKDIR /trig\nONBUILD USER worker\n\
        FROM base AS mid\nRUN echo \"$(cat /out/foo) $SET $(pwd) $(id -un)\" > /tmp/seen\n\
        FROM mid\nRUN wc -l < /count > /tmp/times\n";
    let built = image(&env, dockerfile);
    assert_eq!(built.text("/tmp/seen"), "12 1 /trig worker\n");
    assert_eq!(built.text("/tmp/times").trim(), "1");
    assert_eq!(built.settings()["OnBuild"], Value::Null);
}

#[test]
fn cache_mounts_are_told_apart_by_owner_mode_content_and_namespace() {
    let env = env();
    let count = |flags: &str, times: &str| {
        format!(
            "RUN --mount=type=cache,target=/c{flags} touch /c/$(cat /proc/sys/kernel/random/uuid) && ls /c | wc -l > /{times}\n"
        )
    };
    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS from\nRUN mkdir /o && echo f > /o/f && chown 5:6 /o && chmod 0710 /o\nFROM ${{BASE}}\n{}{}{}\
         RUN --mount=type=cache,target=/c,from=from,source=/o stat -c '%a %u:%g' /c > /own && ls /c >> /own\n\
         USER worker\nRUN --mount=type=cache,target=/c,uid=1234,gid=5678 touch /c/mine && stat -c '%a %u:%g' /c > /tmp/theirs\n",
        count("", "first"),
        count(",id=/c", "second"),
        count(",mode=0700", "third")
    );
    let built = image_of(&env, build(&env, &dockerfile).arg("--no-cache"));
    let read = |name: &str| built.text(name).trim().to_owned();
    assert_eq!(["/first", "/second", "/third"].map(read), ["1", "2", "1"]);
    assert_eq!(built.text("/own"), "710 5:6\nf\n");
    assert_eq!(built.text("/tmp/theirs"), "755 1234:5678\n");
    let elsewhere =
        build(&env, &dockerfile).args(["--no-cache", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=other"]);
    assert_eq!(image_of(&env, elsewhere).text("/first").trim(), "1");
}

#[test]
fn builds_share_a_cache_as_its_sharing_says() {
    let env = env();
    // Two builds at once: each says whether it was alone in its directory.
    let both = |sharing: &str, id: &str| {
        let builds = ["one", "two"].map(|name| {
            let dockerfile = format!(
                "{FROM}RUN --mount=type=cache,id={id},target=/c,sharing={sharing} \
                 touch /c/{name}; for i in $(seq 20); do [ -e /c/one ] && [ -e /c/two ] && echo \"{name} met\"; sleep 0.1; done; rm /c/{name}\n"
            );
            let file = env.file(&format!("Dockerfile.{name}"), dockerfile);
            env.orlop(["build", "--progress=plain", "--build-arg"])
                .arg(format!("BASE={}", crate::base_name()))
                .arg("-f")
                .arg(file)
                .arg(env.dir("context"))
                .start()
        });
        builds.map(|build| build.wait().success().stderr.contains(" met\n"))
    };
    image(&env, FROM);
    assert_eq!(both("locked", "a"), [false, false], "one after the other");
    assert_eq!(both("private", "b"), [false, false], "each its own");
    assert_eq!(both("shared", "c"), [true, true], "both at once");
}

#[test]
fn secrets_are_where_buildkit_puts_them() {
    let env = env();
    let secret = env.file("secret", "quiet-as-mice");
    let dockerfile = format!(
        "{FROM}WORKDIR /w\nRUN --mount=type=secret,id=dir/name stat -c '%n %a %u:%g' /run/secrets/name > /1\n\
         RUN --mount=type=secret,id=dir/name,env=TOKEN,target=rel,mode=0444,uid=3,gid=4 \
         [ \"$TOKEN\" = quiet-as-mice ] && stat -c '%n %a %u:%g' /w/rel > /2\n\
         RUN --mount=type=secret,id=dir/name,env=TOKEN [ ! -e /run/secrets ] && echo $TOKEN | wc -c > /3\n\
         RUN --mount=type=secret,id=none echo \"${{TOKEN-unset}}\" > /4; ls /run/secrets /w/rel > /5 2>&1 || true\n"
    );
    let spec = format!("id=dir/name,src={}", secret.display());
    let built = image_of(&env, build(&env, &dockerfile).args(["--secret", spec.as_str()]));
    assert_eq!(built.text("/1"), "/run/secrets/name 400 0:0\n");
    assert_eq!(built.text("/2"), "/w/rel 444 3:4\n");
    assert_eq!((built.text("/3").trim(), built.text("/4")), ("14", "unset\n"));
    assert!(
        built.text("/5").lines().count() == 2 && !built.text("/5").contains("name"),
        "{}",
        built.text("/5")
    );
    assert!(
        !built.layers.iter().any(|layer| layer.windows(4).any(|bytes| bytes == b"quiet-as-mice")),
        "in a layer"
    );
}

#[test]
fn an_agents_socket_is_the_steps_own() {
    let env = env();
    let (one, two) = (env.path("one"), env.path("two"));
    let _agents = [&one, &two].map(|path| UnixListener::bind(path).expect("a socket"));
    let stat = "stat -c '%F %a %u:%g'";
    let dockerfile = format!(
        "{FROM}RUN --mount=type=ssh {stat} $SSH_AUTH_SOCK > /1 && echo $SSH_AUTH_SOCK >> /1\n\
         RUN --mount=type=ssh,id=two --mount=type=ssh,mode=0660,uid=1234,gid=5678 \
         {stat} /run/buildkit/ssh_agent.0 > /2 && {stat} /run/buildkit/ssh_agent.1 >> /2\n\
         RUN --mount=type=ssh,target=/tmp/s echo $SSH_AUTH_SOCK > /3; ls /run/buildkit > /4 2>&1 || true\n\
         RUN --mount=type=ssh,id=none echo ${{SSH_AUTH_SOCK-unset}} > /5\n"
    );
    let agents = [format!("default={}", one.display()), format!("two={}", two.display())];
    let args = ["--ssh", &agents[0], "--ssh", &agents[1]];
    let built = image_of(&env, build(&env, &dockerfile).args(args));
    assert_eq!(built.text("/1"), "socket 600 0:0\n/run/buildkit/ssh_agent.0\n");
    assert_eq!(built.text("/2"), "socket 600 0:0\nsocket 660 1234:5678\n");
    assert_eq!((built.text("/3"), built.text("/5")), ("/tmp/s\n", "unset\n"));
    assert!(built.text("/4").contains("No such file") && !built.has("/run/buildkit"));
}

#[test]
fn a_working_directory_that_has_gone_is_made_anew() {
    let env = env();
    env.file("context/a.txt", "a");
    let dockerfile = format!(
        "{FROM}RUN mkdir /real && ln -s /real /link\nWORKDIR /link/sub/deep\nRUN pwd > /1 && rm -r /real/sub\n\
         USER worker\nRUN pwd > /tmp/2 && stat -c '%a %u:%g' . >> /tmp/2\nUSER root\nCOPY --link a.txt /link/a\n\
         RUN pwd > /3; ls -A /real > /4\n"
    );
    let built = image(&env, &dockerfile);
    assert_eq!(built.text("/1"), "/real/sub/deep\n");
    assert_eq!(built.text("/tmp/2"), "/real/sub/deep\n755 0:0\n");
    // A COPY with `--link` follows no links: there is a directory now, and it has no working directory in it.
    assert_eq!((built.at("/link").kind.as_str(), built.text("/3")), ("dir", "/link/sub/deep\n"));
    assert_eq!(built.text("/4"), "sub\n");
    let file = format!("{FROM}WORKDIR /w\nRUN rm -r /w && touch /w\nRUN true\n");
    build(&env, &file).run().code(1).says("WORKDIR cannot be `/w`");
}

#[test]
fn a_directory_of_workdir_has_the_images_time() {
    let env = env();
    let dockerfile = format!("{FROM}WORKDIR /new/deep\n");
    image(&env, &dockerfile);
    let built =
        image_of(&env, build(&env, &dockerfile).args(["--build-arg", "SOURCE_DATE_EPOCH=1000000000"]));
    for path in ["/new", "/new/deep"] {
        assert_eq!(built.at(path).mtime, "1000000000.000000000", "{path}");
    }
}

#[test]
fn errors_of_mounts_and_owners_are_at_their_flag() {
    let env = env();
    env.file("context/a.txt", "a");
    let under = |dockerfile: &str, word: &str, says: &str| {
        let run = build(&env, &format!("{FROM}{dockerfile}\n")).run().code(1).says(says);
        let column = dockerfile.find(word).expect("the word");
        let marks = format!("     | {}{}\n", " ".repeat(column + 4), "^".repeat(word.len()));
        assert!(run.stderr.contains(&marks), "{word} is not marked: {run}");
    };
    under("RUN --mount=type=bind,target=/ true", "type=bind,target=/", "the root itself");
    under("RUN --mount=type=secret,id=x,required=true true", "type=secret,id=x,required=true", "is required");
    under("RUN --mount=type=ssh,required true", "type=ssh,required", "is required");
    under(
        "RUN --mount=type=bind,source=no,target=/n true",
        "type=bind,source=no,target=/n",
        "`no`: not found",
    );
    under("COPY --chown=root:ghosts a.txt /", "root:ghosts", "no group `ghosts`");
    under("COPY --exclude=[ a.txt /", "[", "`[` has no `]`");
    under("COPY --chmod=9 a.txt /", "9", "octal number");
    under("COPY http://a.example/f /", "http://a.example/f", "write ADD");
    under("ADD --checksum=sha512:00 http://a.example/f /", "sha512:00", "SHA-256 alone");
    under("ADD --checksum=sha256:00 a.txt /", "sha256:00", "is for one source");
    build(&env, &format!("{FROM}WORKDIR /etc/passwd/x\n"))
        .run()
        .code(1)
        .says("WORKDIR cannot be `/etc/passwd/x`");
}

#[test]
fn one_stage_alone_can_be_built_anew() {
    let env = env();
    let dockerfile = "ARG BASE\nFROM ${BASE} AS one\nRUN cat /proc/sys/kernel/random/uuid > /1\nFROM ${BASE} AS Two\nRUN cat /proc/sys/kernel/random/uuid > /2\n\
        FROM ${BASE}\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n";
    let first = image(&env, dockerfile);
    let second = image_of(&env, build(&env, dockerfile).args(["--no-cache-filter", "two"]));
    assert_eq!(first.text("/1"), second.text("/1"));
    assert_ne!(first.text("/2"), second.text("/2"));
    let third = image_of(&env, build(&env, dockerfile).args(["--no-cache-filter", "one,TWO"]));
    assert_ne!(second.text("/1"), third.text("/1"));
    assert_ne!(second.text("/2"), third.text("/2"));
    build(&env, dockerfile).args(["--no-cache-filter", "tow"]).run().success().says("did you mean `two`?");
}

/// The same step in two stages, of which one is to run anew: whichever comes first.
#[test]
fn a_stage_that_runs_anew_takes_nothing_from_its_twin() {
    let env = env();
    let step = "RUN cat /proc/sys/kernel/random/uuid > /uuid";
    let dockerfile = format!(
        "ARG BASE\nFROM ${{BASE}} AS one\n{step}\nFROM ${{BASE}} AS two\n{step}\n\
         FROM scratch\nCOPY --from=one /uuid /1\nCOPY --from=two /uuid /2\n"
    );
    let first = image_of(&env, build(&env, &dockerfile));
    assert_eq!(first.text("/1"), first.text("/2"));
    for anew in ["one", "two"] {
        let built = image_of(&env, build(&env, &dockerfile).args(["--no-cache-filter", anew]));
        let (fresh, kept) = if anew == "one" { ("/1", "/2") } else { ("/2", "/1") };
        assert_ne!(built.text(fresh), built.text(kept), "{anew}");
    }
}

#[test]
fn annotations_are_in_the_manifest() {
    let env = env();
    let args = ["--annotation", "org.example.a=b=c", "--annotation", "manifest:two=2"];
    let built = image_of(&env, build(&env, FROM).args(args));
    assert_eq!(built.manifest["annotations"]["org.example.a"], "b=c", "{}", built.manifest);
    assert_eq!(built.manifest["annotations"]["two"], "2");
    build(&env, FROM).args(args).run().code(2).says("until it is written");
    build(&env, FROM).args(["--annotation", "index:a=b"]).run().code(2).says("only the manifest");
}

#[test]
fn the_host_name_of_steps_is_a_build_argument() {
    let env = env();
    let dockerfile = format!("{FROM}RUN hostname > /name\n");
    let built =
        image_of(&env, build(&env, &dockerfile).args(["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=maker"]));
    assert_eq!(built.text("/name"), "maker\n");
    build(&env, &dockerfile)
        .args(["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=a b"])
        .run()
        .code(1)
        .says("`a b`");
}

#[test]
fn a_build_argument_lets_the_image_carry_its_cache() {
    let env = env();
    let carried = |value: &str| {
        let argument = format!("BUILDKIT_INLINE_CACHE={value}");
        let built =
            image_of(&env, build(&env, &format!("{FROM}RUN true\n")).args(["--build-arg", &argument]));
        built.config["moby.buildkit.cache.v0"].as_str().map(str::to_owned)
    };
    assert_eq!(carried("0"), None);
    assert!(carried("1").is_some_and(|records| !records.is_empty()));
}

/// A server that gives the same few bytes for all of these paths.
fn server() -> web::Server {
    const HEADERS: [(&str, &str); 2] = [
        ("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT"),
        ("Content-Disposition", "attachment; filename=x"),
    ];
    let page = Page::With(&HEADERS, b"hello\n".to_vec());
    web::start(["/d/f.txt", "/a%20b%2Fc%5B.txt", "/", "/d/", "/f"].map(|path| (path, page.clone())))
}

#[test]
fn downloads_have_the_urls_name_and_the_servers_time() {
    let env = env();
    let server = server();
    let at = server.url("");
    let sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let dockerfile = format!(
        "{FROM}ADD {at}/d/f.txt?x=y#z /1/\nADD {at}/a%20b%2Fc%5B.txt /2/\nADD {at}/ /3/\nADD {} /4\n\
         ADD --checksum=sha256:{sum} --chown=1:2 --chmod=4711 {at}/f /5/\n",
        // A scheme has no case.
        server.url("/d/").replace("http", "HTTP")
    );
    let built = image(&env, &dockerfile);
    for name in ["/1/f.txt", "/2/c[.txt", "/3/__unnamed__", "/4", "/5/f"] {
        assert_eq!(built.text(name), "hello\n", "{name}");
    }
    let (plain, given) = (built.at("/1/f.txt"), built.at("/5/f"));
    assert_eq!((plain.mode.as_deref(), plain.uid, plain.gid), (Some("0600"), 0, 0));
    assert_eq!((given.mode.as_deref(), given.uid, given.gid), (Some("4711"), 1, 2));
    build(&env, &format!("{FROM}ADD {at}/none /\n"))
        .run()
        .code(1)
        .says("look at the URL")
        .never_says("registry");
    let wrong = sum.replace('5', "6");
    // What signs a URL is its query.
    let user = at.replace("http://", "http://user:hunter2@");
    for (path, said) in [("none", "cannot download `"), ("f", "` has digest")] {
        let run = build(&env, &format!("{FROM}ADD --checksum=sha256:{wrong} {user}/{path}?signature=x /\n"));
        let run = run.run().code(1).says(&format!("{at}/{path}`")).says(said).never_says("hunter2");
        let titles = run.stderr.lines().filter(|line| line.contains("] ADD http"));
        assert!(
            titles.clone().count() > 0 && titles.clone().all(|line| !line.contains("signature")),
            "{run}"
        );
    }
    build(&env, &format!("{FROM}ADD --checksum=sha256:{wrong} {at}/f /\n"))
        .run()
        .code(1)
        .says("has digest sha256:5891");
}

#[test]
fn a_download_that_wants_a_login_is_for_a_run() {
    let closed =
        orlop_fixtures::git::Options { authorization: Some("nobody's".to_owned()), ..Default::default() };
    let server = orlop_fixtures::git::start_with(&closed);
    build(&env(), &format!("{FROM}ADD http://{}/f /\n", server.host()))
        .run()
        .code(1)
        .says("hint: the server wants a login")
        .says("`--mount=type=secret`");
}

#[test]
fn a_download_without_end_is_refused() {
    let env = env();
    let server =
        web::start([("/f", Page::With(&[("Content-Length", "68719476737")], b"and so on".to_vec()))]);
    build(&env, &format!("{FROM}ADD {} /\n", server.url("/f")))
        .run()
        .code(1)
        .says("/f`")
        .says("longer than 68719476736 bytes");
}

#[test]
fn an_archive_that_ends_too_early_says_so() {
    let env: TestEnv = env();
    env.file("context/t.tar", vec![b'x'; 10]);
    // The header says 1000 bytes, and there are 20.
    let mut header = vec![0_u8; 512];
    header[..1].copy_from_slice(b"f");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000001750");
    header[156] = b'0';
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(&[b'x'; 20]);
    env.file("context/short.tar", header);
    build(&env, &format!("{FROM}ADD short.tar /x/\n")).run().code(1).says("cannot read the archive: ");
    // What does not begin as an archive is a file like any other.
    assert_eq!(image(&env, &format!("{FROM}ADD t.tar /x/\n")).text("/x/t.tar"), "xxxxxxxxxx");
}
