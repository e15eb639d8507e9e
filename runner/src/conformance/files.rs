//! The root and what is mounted in it, and that nothing of ours stays in it.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Bench, Check};
use crate::{Exit, Mount, MountKind, RunError, User};

pub(super) const CHECKS: &[Check] = &[
    ("nothing that is mounted over stays in the root", no_trace),
    ("nothing stays after a failure, a kill or an error", no_trace_after_failure),
    ("what the job changed stays changed", own_changes),
    ("the root is writable, or read-only when asked", readonly_root),
    ("a tmpfs is empty, limited and gone", tmpfs),
    ("a secret is a file with its mode and owner", secret),
    ("a mounted script can be started", script),
    ("a read-only bind is read-only", readonly_bind),
    ("a writable bind is shared", writable_bind),
    ("a bind source stays inside what it is in", bind_within),
    ("a socket can be mounted", socket),
    ("mounts nest", nested_mounts),
    ("an image's symlinks do not lead mounts outside", symlinks),
    ("hosts, resolv.conf and host name are there", network_files),
    ("a missing source is an error that names it", missing_source),
];

/// Every path below `root` with its kind, size and modification time.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("just listed");
        let modified = meta
            .modified()
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).map_err(std::io::Error::other));
        lines.push(format!("{} {:?} {:?}", path.display(), meta.file_type(), modified));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        }
    }
    lines.sort();
    lines
}

/// Makes everything old, so that any new time shows.
fn age(root: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 42);
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("just listed");
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
            let times = fs::FileTimes::new().set_modified(old).set_accessed(old);
            fs::File::open(&path).and_then(|directory| directory.set_times(times)).expect("times");
        }
    }
}

fn many_mounts(bench: &Bench) -> Vec<Mount> {
    fs::write(bench.scratch.join("file"), "file").expect("write");
    vec![
        Mount::bind(&bench.scratch, "/made/deep/down", false),
        Mount::bind(bench.scratch.join("file"), "/etc/made/file", true),
        Mount { target: "/home/web/tmp".into(), kind: MountKind::Tmpfs { size: None, mode: 0o1777 } },
        Mount::file("/run/secrets/key", "secret", 0o400, 0, 0),
        Mount::file("/dev/shm/there", "x", 0o400, 0, 0),
    ]
}

fn no_trace(bench: &Bench) {
    age(&bench.root);
    let before = listing(&bench.root);
    let mut spec =
        bench.sh("ls / /etc /made/deep/down /run/secrets /home/web > /dev/null; cat /run/secrets/key");
    spec.mounts = many_mounts(bench);
    assert_eq!(bench.output(&spec), "secret");
    assert_eq!(listing(&bench.root), before);
}

fn no_trace_after_failure(bench: &Bench) {
    age(&bench.root);
    let before = listing(&bench.root);
    let mut spec = bench.sh("kill -9 $$");
    spec.mounts = many_mounts(bench);
    assert_eq!(bench.run(&spec).report.exit, Exit::Signal(9));
    assert_eq!(listing(&bench.root), before, "after a signal");
    spec.limits.wall = Some(Duration::from_millis(100));
    spec.args = super::args(["/bin/sleep", "60"]);
    assert_eq!(bench.run(&spec).report.exit, Exit::Signal(9));
    assert_eq!(listing(&bench.root), before, "after the time limit");
    spec.cwd = "/nosuch".into();
    bench.try_run(&spec).expect_err("no working directory");
    assert_eq!(listing(&bench.root), before, "after an error in the job");
    spec.mounts.push(Mount::bind("/no/such/source", "/etc/other", true));
    bench.try_run(&spec).expect_err("no source");
    assert_eq!(listing(&bench.root), before, "after an error before the job");
}

fn own_changes(bench: &Bench) {
    age(&bench.root);
    let mut spec = bench.sh("echo mine > /made/own; touch /etc/new; mv /home /house; rm /etc/group");
    spec.mounts = many_mounts(bench);
    bench.output(&spec);
    assert_eq!(fs::read_to_string(bench.root.join("made/own")).expect("kept"), "mine\n");
    assert!(!bench.root.join("made/deep").exists() && !bench.root.join("house/web/tmp").exists());
    assert!(bench.root.join("house/web").is_dir() && !bench.root.join("etc/group").exists());
    for gone in ["proc", "sys", "dev", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/made"] {
        assert!(!bench.root.join(gone).exists(), "{gone}");
    }
    let changed = fs::metadata(bench.root.join("etc")).and_then(|meta| meta.modified()).expect("a time");
    assert!(changed.elapsed().is_ok_and(|age| age < Duration::from_secs(600)), "the job's own time is lost");
}

fn readonly_root(bench: &Bench) {
    let mut spec = bench.sh("touch /tmp/x && echo writable || echo no; touch /dev/shm/x && echo shm");
    assert_eq!(bench.run(&spec).stdout, "writable\nshm\n");
    spec.security.readonly_root = true;
    assert_eq!(bench.run(&spec).stdout, "no\nshm\n");
}

fn tmpfs(bench: &Bench) {
    let mut spec = bench.sh("stat -c %a /mem; ls /mem; head -c 3000000 /dev/zero > /mem/x && echo fits; head -c 3000000 /dev/zero > /mem/y || echo full");
    spec.mounts =
        vec![Mount { target: "/mem".into(), kind: MountKind::Tmpfs { size: Some(4 << 20), mode: 0o1750 } }];
    assert_eq!(bench.run(&spec).stdout, "1750\nfits\nfull\n");
    assert!(!bench.root.join("mem").exists());
    let mut spec = bench.sh("df -k /dev/shm | tail -1 | awk '{print $2}'");
    spec.shm_size = 12 << 20;
    assert_eq!(bench.output(&spec), "12288\n");
}

fn secret(bench: &Bench) {
    let (uid, gid) = if bench.many_ids { (1000, 1001) } else { (0, 0) };
    let mut spec = bench.sh("cat /run/secrets/key; stat -c ' %a %u:%g' /run/secrets/key; (echo x > /run/secrets/key) 2>&-; rm /run/secrets/key 2>&-; cat /run/secrets/key");
    spec.mounts = vec![Mount::file("/run/secrets/key", "hunter2", 0o440, uid, gid)];
    assert_eq!(bench.output(&spec), format!("hunter2 440 {uid}:{gid}\nhunter2"));
    assert!(!format!("{spec:?}").contains("hunter2"), "a secret in a debug text");
    if bench.many_ids {
        spec.args = super::args(["/bin/cat", "/run/secrets/key"]);
        spec.user = User { uid: 7, gid: 7, groups: vec![], home: "/".into() };
        assert_ne!(bench.run(&spec).report.exit, Exit::Code(0), "somebody else reads the secret");
        spec.user.groups = vec![gid];
        assert_eq!(bench.output(&spec), "hunter2");
    }
}

/// A heredoc with a `#!` line is such a file.
fn script(bench: &Bench) {
    let mut spec = bench.sh("/dev/pipes/EOF; /dev/pipes/data 2>&- || echo \"not started: $?\"");
    let text = "#!/bin/sh\necho started $0\n";
    spec.mounts = vec![
        Mount::file("/dev/pipes/EOF", text, 0o755, 0, 0),
        Mount::file("/dev/pipes/data", text, 0o644, 0, 0),
    ];
    assert_eq!(bench.output(&spec), "started /dev/pipes/EOF\nnot started: 126\n");
}

fn readonly_bind(bench: &Bench) {
    fs::create_dir(bench.scratch.join("dir")).expect("mkdir");
    let mut spec = bench
        .sh("touch /in/x 2>&- || touch /in/dir/x 2>&- || mount -o remount,rw /in 2>&- || echo read-only");
    spec.mounts = vec![Mount::bind(&bench.scratch, "/in", true)];
    assert_eq!(bench.run(&spec).stdout, "read-only\n");
    assert_eq!(fs::read_dir(&bench.scratch).expect("readable").count(), 1);
}

fn writable_bind(bench: &Bench) {
    let mut spec = bench.sh("echo hello > /in/file; cat /in/file");
    spec.mounts = vec![Mount::bind(&bench.scratch, "/in", false)];
    assert_eq!(bench.output(&spec), "hello\n");
    assert_eq!(fs::read_to_string(bench.scratch.join("file")).expect("written by the job"), "hello\n");
}

fn bind_within(bench: &Bench) {
    let inside = bench.scratch.join("image");
    fs::create_dir_all(inside.join("etc")).expect("mkdir");
    fs::write(inside.join("etc/passwd"), "the image's").expect("write");
    fs::write(bench.scratch.join("outside"), "outside").expect("write");
    link("/etc", &inside.join("absolute"));
    link("../outside", &inside.join("up"));
    let mut spec = bench.sh("cat /in/passwd");
    let bind = |source: &str| Mount {
        target: "/in".into(),
        kind: MountKind::Bind { source: source.into(), within: Some(inside.clone()), readonly: true },
    };
    for source in ["/etc", "absolute", "../../etc"] {
        spec.mounts = vec![bind(source)];
        assert_eq!(bench.output(&spec), "the image's", "{source}");
    }
    spec.mounts = vec![bind("up")];
    assert!(matches!(bench.try_run(&spec), Err(RunError::Setup { .. })), "led outside");
}

fn link(target: &str, path: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, path).expect("symlink");
    #[cfg(not(unix))]
    let _ = (target, path);
}

fn socket(bench: &Bench) {
    #[cfg(unix)]
    {
        let path = bench.scratch.join("agent");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let mut spec = bench.sh("test -S /run/agent && echo socket");
        spec.mounts = vec![Mount::bind(&path, "/run/agent", false)];
        assert_eq!(bench.output(&spec), "socket\n");
        drop(listener);
        assert!(!bench.root.join("run").exists());
    }
    #[cfg(not(unix))]
    let _ = bench;
}

fn nested_mounts(bench: &Bench) {
    let mut spec = bench.sh("cat /a/b/secret; echo > /a/b/new; ls /a /a/b");
    spec.mounts = vec![
        Mount::file("/a/b/secret", "s\n", 0o400, 0, 0),
        Mount::bind(&bench.scratch, "/a", false),
        Mount { target: "/a/b".into(), kind: MountKind::Tmpfs { size: None, mode: 0o755 } },
    ];
    assert_eq!(bench.output(&spec), "s\n/a:\nb\n\n/a/b:\nnew\nsecret\n");
    assert_eq!(fs::read_dir(&bench.scratch).expect("readable").count(), 0);
    assert!(!bench.root.join("a").exists());
}

fn symlinks(bench: &Bench) {
    let outside = bench.scratch.join("outside");
    fs::create_dir(&outside).expect("mkdir");
    link(&outside.display().to_string(), &bench.root.join("trap"));
    link("../../../../../../../..", &bench.root.join("up"));
    link("/run/elsewhere/resolv.conf", &bench.root.join("etc/resolv.conf"));
    let mut spec = bench.sh("cat /trap/a/key /up/key2; test -f /run/elsewhere/resolv.conf && echo resolv");
    spec.mounts =
        vec![Mount::file("/trap/a/key", "1\n", 0o400, 0, 0), Mount::file("/up/key2", "2\n", 0o400, 0, 0)];
    assert_eq!(bench.output(&spec), "1\n2\nresolv\n");
    assert_eq!(fs::read_dir(&outside).expect("readable").count(), 0, "made outside of the root");
    assert!(!bench.root.join("key2").exists() && !bench.root.join("run").exists());
    link("/etc", &bench.root.join("proc"));
    let error = bench.try_run(&spec).expect_err("/proc is a link");
    assert!(error.hint().is_some_and(|hint| hint.contains("/proc")), "{error}");
}

fn network_files(bench: &Bench) {
    let mut spec = bench.sh("hostname; cat /etc/hostname; grep -c . /etc/hosts; tail -2 /etc/hosts; echo x >> /etc/hosts; ls -l /etc/resolv.conf | cut -c1-10");
    spec.hostname = "box".parse().expect("a host name");
    spec.add_hosts =
        vec!["db:192.0.2.7".parse().expect("an entry"), "gw=host-gateway".parse().expect("an entry")];
    let expected = "box\nbox\n8\n192.0.2.7\tdb\n127.0.0.1\tgw\n-rw-r--r--\n";
    assert_eq!(bench.output(&spec), expected);
    spec.mounts = vec![Mount::file("/etc/hosts", "mine\n", 0o644, 0, 0)];
    spec.args = super::args(["/bin/cat", "/etc/hosts"]);
    assert_eq!(bench.output(&spec), "mine\n", "the caller's own file wins");
}

fn missing_source(bench: &Bench) {
    let mut spec = bench.sh("true");
    spec.mounts = vec![Mount::bind("/no/such/source", "/in", true)];
    let error = bench.try_run(&spec).expect_err("nothing there");
    assert_eq!(error.to_string(), "cannot mount `/no/such/source`");
    spec.mounts.clear();
    spec.root = "/no/such/root".into();
    let error = bench.try_run(&spec).expect_err("no root");
    assert_eq!(error.to_string(), "cannot open the job's root `/no/such/root`");
}
