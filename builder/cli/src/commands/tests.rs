use clap::CommandFactory;
use clap::Parser;

use super::*;

fn parse(words: &[&str]) -> Result<Cli, String> {
    Cli::try_parse_from([&["orlop"], words].concat()).map_err(|error| error.to_string())
}

#[test]
fn the_flags_do_not_contradict_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn docker_build_lines_are_understood() {
    for line in [
        "build .",
        "bud -t a -t b:1 -f x/Dockerfile --build-arg A=1 --build-arg B .",
        "--root /s build --progress=plain --build-arg BASE=r:5000/b -t n -f D -o type=oci,dest=o ctx",
        "build --pull --no-cache -q .",
        "build --pull=never --pids-limit -1 -m 512m --cpus 1.5 --timeout 10m .",
        "build --process-memory 64m --cpu-weight 50 --cpu-time 1h --net-rate 10m --isolation=job,allow=a,b,allow=c .",
        "build --isolation=default --mitigation win32k-off --mitigation fonts-off --host-system-files .",
        "build --secret id=a,env=B --ssh default --add-host h:1.2.3.4 --add-host g=host-gateway --shm-size 1g .",
        "build --ulimit nofile=10:20 --network none --platform linux/arm64 --label a=b --target x .",
        "build --rm --force-rm --layers --provenance=false --sbom=false --format=oci .",
        "build --push --load --iidfile i --metadata-file m -",
        "run -it --rm -v /a:/b:ro -e A=1 -w /x -u 0:0 --entrypoint sh image -c 'ls -l' --root x",
        "store prune --all",
        "rmi -af",
        "login -u jo --password-stdin r.example:5000",
        "login --tls-verify=false --username jo",
        "login --authfile a --get-login r.example/team/app",
        "logout --all --authfile a",
        "logout https://index.docker.io/v1/",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        if let Err(why) = parse(&words) {
            panic!("{line}: {why}");
        }
    }
}

#[test]
fn what_is_not_done_is_refused_with_the_reason() {
    for (line, why) in [
        ("build --squash .", "`--squash=true` is not supported"),
        ("build --device /dev/fuse .", "privileges"),
        ("build --cgroup-parent x .", "--memory"),
        ("build --attest type=sbom .", "attestations"),
        ("build --provenance=true .", "attestations"),
        ("build --layers=false .", "--no-cache"),
        ("build --format=docker .", "type=docker"),
        ("build --security-opt seccomp=unconfined .", "privileges"),
        ("build -v /a:/b .", "RUN --mount"),
        ("build --isolation chroot .", "isolated"),
        ("build --isolation=job,file .", "is not an isolation"),
        ("build --mitigation none .", "is not a process mitigation"),
        ("build --cpu-weight 0 .", "is not a weight"),
        ("build --platform linux/amd64,a/b/c/d .", "a/b/c/d"),
        ("build --network bridge .", "there is no network `bridge`"),
        ("build --pull=sometimes .", "`always`, `missing`, `never`"),
        ("build -t UPPER .", "lower case"),
        ("build --memory lots .", "not a size"),
        ("build --no-such-flag .", "--no-such-flag"),
        ("rmi -a x", "cannot be used with"),
        ("inspect --format={{.Id}} x", "invalid value"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        match parse(&words) {
            Err(text) => assert!(text.contains(why), "{line}: {text}"),
            Ok(_) => panic!("{line} was taken"),
        }
    }
}

#[test]
fn flags_of_the_whole_program_stand_before_or_behind_the_command() {
    for line in ["--root /s images", "images --root /s"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(parse(&words).unwrap().global.root.as_deref(), Some(std::path::Path::new("/s")));
    }
}

#[test]
fn what_follows_the_image_belongs_to_its_command() {
    let cli = parse(&["run", "image", "ls", "-l", "--root", "x"]).unwrap();
    assert_eq!(cli.global.root, None);
}

#[test]
fn commands_of_other_programs_have_a_hint() {
    let hint = |word: &str| super::instead(&Cli::try_parse_from(["orlop", word]).unwrap_err());
    assert!(hint("buildx").is_some_and(|hint| hint.contains("orlop build")));
    assert!(hint("ps").is_some());
    assert_eq!(hint("bild"), None);
    let usage = super::instead(&Cli::try_parse_from(["orlop", "build", "--nope"]).unwrap_err());
    assert_eq!(usage, None);
}
