//! The command: how it starts, what it gets, what it gives back.

use std::fs::File;
use std::io::Write;

use super::{Bench, Check, args};
use crate::{Exit, RunError, Stdin, Terminal, User};

pub(super) const CHECKS: &[Check] = &[
    ("exit codes are kept", exit_codes),
    ("a signal that ends the command is told apart", signals),
    ("streams are kept apart", streams),
    ("large output arrives whole", large_output),
    ("a missing command is 127", missing_command),
    ("a command that cannot run is 126", not_executable),
    ("a missing working directory is an error", missing_cwd),
    ("working directory and environment are as given", environment),
    ("HOME comes from the user", home),
    ("the command is looked for in the job's PATH", path),
    ("stdin is empty by default", no_stdin),
    ("stdin can be a file", stdin_file),
    ("the user and its groups are as given", users),
    ("a user may open its own output", reopen_output),
    ("no descriptor is inherited", descriptors),
    ("signals, umask and session are as after login", clean_start),
    ("a terminal is a terminal", terminal),
    ("keys reach the terminal", keys),
    ("nonsense is refused before anything runs", nonsense),
];

fn exit_codes(bench: &Bench) {
    for code in [0, 1, 42, 127, 255] {
        assert_eq!(bench.run(&bench.sh(&format!("exit {code}"))).report.exit, Exit::Code(code));
    }
}

fn signals(bench: &Bench) {
    for signal in [1, 9, 15] {
        assert_eq!(bench.run(&bench.sh(&format!("kill -{signal} $$"))).report.exit, Exit::Signal(signal));
    }
    assert_eq!(bench.run(&bench.sh("sh -c 'kill -9 $$'; exit $?")).report.exit, Exit::Code(137));
}

fn streams(bench: &Bench) {
    let outcome = bench.run(&bench.sh("echo out; echo err >&2; echo more"));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\nmore\n", "err\n"));
}

fn large_output(bench: &Bench) {
    let outcome = bench.run(&bench.sh("yes 0123456789abcde | head -c 8388608; head -c 100000 /dev/zero >&2"));
    assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (8 << 20, 100_000));
    assert!(outcome.stdout.as_bytes().chunks(16).all(|line| line == b"0123456789abcde\n"));
}

fn missing_command(bench: &Bench) {
    let mut spec = bench.sh("");
    for (program, message) in [
        ("nosuch", "orlop: nosuch: command not found\n"),
        ("/bin/nosuch", "orlop: /bin/nosuch: not found\n"),
        ("/bin/sh/x", "orlop: /bin/sh/x: not found\n"),
    ] {
        spec.args = args([program, "x"]);
        let outcome = bench.run(&spec);
        assert_eq!((outcome.report.exit, outcome.stderr.as_str()), (Exit::Code(127), message));
    }
    std::fs::write(bench.root.join("bin/script"), "#!/no/such/interpreter\n").expect("write");
    make_executable(bench, "bin/script");
    spec.args = args(["script"]);
    let outcome = bench.run(&spec);
    assert_eq!(outcome.report.exit, Exit::Code(127));
    assert!(outcome.stderr.contains("interpreter"), "{}", outcome.stderr);
}

fn not_executable(bench: &Bench) {
    std::fs::write(bench.root.join("bin/data"), "data").expect("write");
    let mut spec = bench.sh("");
    spec.args = args(["/bin/data"]);
    let outcome = bench.run(&spec);
    let expected = (Exit::Code(126), "orlop: /bin/data: permission denied\n");
    assert_eq!((outcome.report.exit, outcome.stderr.as_str()), expected);
    make_executable(bench, "bin/data");
    let outcome = bench.run(&spec);
    assert_eq!(outcome.report.exit, Exit::Code(126));
    assert!(outcome.stderr.contains("not an executable file"), "{}", outcome.stderr);
}

fn make_executable(bench: &Bench, path: &str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bench.root.join(path), mode).expect("chmod");
    }
    #[cfg(not(unix))]
    let _ = (bench, path);
}

fn missing_cwd(bench: &Bench) {
    let mut spec = bench.sh("true");
    spec.cwd = "/no/such/place".into();
    match bench.try_run(&spec) {
        Err(error @ RunError::Setup { .. }) => {
            assert_eq!(error.to_string(), "cannot enter the working directory `/no/such/place`");
            assert_eq!(error.hint().as_deref(), Some("create it with WORKDIR"));
        }
        other => panic!("{other:?}"),
    }
}

fn environment(bench: &Bench) {
    let mut spec = bench.sh("pwd; env | sort");
    spec.cwd = "/home/web".into();
    spec.env.push(("EMPTY".into(), "".into()));
    spec.env.push(("ODD".into(), "a=b c".into()));
    spec.env.push(("HOME".into(), "/h".into()));
    let expected = "/home/web\nEMPTY=\nHOME=/h\nODD=a=b c\nPATH=/bin\nPWD=/home/web\nSHLVL=1\n";
    assert_eq!(bench.output(&spec), expected);
}

fn home(bench: &Bench) {
    let mut spec = bench.sh("echo $HOME");
    assert_eq!(bench.output(&spec), "/root\n");
    spec.user.home = "/elsewhere".into();
    assert_eq!(bench.output(&spec), "/elsewhere\n");
}

fn path(bench: &Bench) {
    std::fs::write(bench.root.join("home/web/mine"), "#!/bin/sh\necho mine $1\n").expect("write");
    make_executable(bench, "home/web/mine");
    let mut spec = bench.sh("");
    spec.args = args(["mine", "own"]);
    spec.env = vec![("PATH".into(), "/nowhere:/bin/sh:/home/web:/bin".into())];
    assert_eq!(bench.output(&spec), "mine own\n");
}

fn no_stdin(bench: &Bench) {
    assert_eq!(bench.output(&bench.sh("cat; readlink /proc/self/fd/0")), "/dev/null\n");
}

fn stdin_file(bench: &Bench) {
    let path = bench.scratch.join("input");
    File::create(&path).and_then(|mut file| file.write_all(b"from a file")).expect("write");
    let mut spec = bench.sh("cat");
    spec.stdin = Stdin::File(File::open(&path).expect("open"));
    assert_eq!(bench.output(&spec), "from a file");
}

fn users(bench: &Bench) {
    let mut spec = bench.sh("id -u; id -g; id -G; touch /tmp/mine; stat -c %u:%g /tmp/mine");
    assert_eq!(bench.output(&spec), "0\n0\n0\n0:0\n");
    if !bench.many_ids {
        spec.user = User { uid: 1000, gid: 1001, groups: vec![], home: "/".into() };
        let error = bench.try_run(&spec).expect_err("there is no such id");
        assert!(error.hint().is_some_and(|hint| hint.contains("/etc/subuid")), "{error}");
        return;
    }
    std::fs::remove_file(bench.root.join("tmp/mine")).expect("made by the job");
    spec.user = User { uid: 1000, gid: 1001, groups: vec![29], home: "/home/web".into() };
    assert_eq!(bench.output(&spec), "1000\n1001\n1001 29\n1000:1001\n");
    // Its own group is among the supplementary ones, and there once.
    let mut spec = bench.sh("grep ^Groups: /proc/self/status");
    for groups in [vec![29, 1001], vec![29]] {
        spec.user = User { uid: 1000, gid: 1001, groups, home: "/home/web".into() };
        let words = bench.output(&spec);
        assert_eq!(words.split_whitespace().collect::<Vec<_>>(), ["Groups:", "29", "1001"]);
    }
}

fn reopen_output(bench: &Bench) {
    let mut spec = bench.sh("echo out > /dev/stdout; echo err > /dev/stderr");
    if bench.many_ids {
        spec.user = User { uid: 1000, gid: 1001, groups: vec![], home: "/".into() };
    }
    let outcome = bench.run(&spec);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
}

fn descriptors(bench: &Bench) {
    let leaky = File::open(&bench.scratch).expect("open");
    #[cfg(target_os = "linux")]
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).expect("an open descriptor");
    // The last is the listing's own.
    assert_eq!(bench.output(&bench.sh("exec ls /proc/self/fd")), "0\n1\n2\n3\n");
    drop(leaky);
}

fn clean_start(bench: &Bench) {
    let script =
        "umask; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; set -- $(cat /proc/self/stat); echo $6";
    let expected =
        "0022\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n2\n";
    assert_eq!(bench.output(&bench.sh(script)), expected);
}

fn terminal(bench: &Bench) {
    let mut spec =
        bench.sh("tty; stty size; ls -l /dev/console | cut -c1; echo $TERM; echo err >&2; echo > /dev/tty");
    spec.terminal = Some(Terminal { rows: 33, columns: 77 });
    let outcome = bench.run(&spec);
    assert_eq!(outcome.stdout, "/dev/pts/0\r\n33 77\r\nc\r\nxterm\r\nerr\r\n\r\n");
    assert_eq!((outcome.report.exit, outcome.stderr.as_str()), (Exit::Code(0), ""));
}

fn keys(bench: &Bench) {
    let path = bench.scratch.join("keys");
    std::fs::write(&path, "typed\n").expect("write");
    let mut spec = bench.sh("read line; echo \"<$line>\"; cat; echo over");
    spec.stdin = Stdin::File(File::open(&path).expect("open"));
    spec.terminal = Some(Terminal::default());
    let outcome = bench.run(&spec);
    assert_eq!(outcome.stdout, "typed\r\n<typed>\r\nover\r\n");
}

fn nonsense(bench: &Bench) {
    let refused = |change: fn(&mut crate::RunSpec)| {
        let mut spec = bench.sh("touch /tmp/ran");
        change(&mut spec);
        let error = bench.try_run(&spec).map(|_| ()).expect_err("nonsense");
        assert!(matches!(error, RunError::Spec(_)), "{error}");
    };
    refused(|spec| spec.args.clear());
    refused(|spec| spec.args = args([""]));
    refused(|spec| spec.args = args(["/bin/sh", "a\0b"]));
    refused(|spec| spec.env.push(("A=B".into(), "x".into())));
    refused(|spec| spec.env.push(("".into(), "x".into())));
    refused(|spec| spec.env.push(("A".into(), "x\0y".into())));
    refused(|spec| spec.cwd = "relative".into());
    refused(|spec| spec.root = "relative".into());
    refused(|spec| spec.limits.cpus = Some(f64::NAN));
    refused(|spec| spec.limits.pids = Some(0));
    refused(|spec| spec.limits.memory = Some(1));
    refused(|spec| spec.mounts.push(crate::Mount::bind("/", "relative", true)));
    refused(|spec| spec.mounts.push(crate::Mount::bind("/bin", "/", true)));
    assert!(!bench.root.join("tmp/ran").exists());
}
