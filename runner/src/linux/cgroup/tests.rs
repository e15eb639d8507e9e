//! Layouts and counters as real hosts show them, and a version 2 group on a tree of plain files.

use super::*;

const V1_MOUNTS: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup systemd rw,xattr,release_agent=/x,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
35 30 0:31 / /sys/fs/cgroup/my\\040pids rw,relatime - cgroup cgroup rw,pids
";
const V1_OWN: &str = "5:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/user/x\n1:name=systemd:/init\n0::/u\n";

#[test]
fn a_version_1_host_is_understood() {
    let layout = Layout::parse(V1_MOUNTS, V1_OWN);
    let directory = |name| layout.v1_directory(name).map(|(path, _)| path);
    assert_eq!(directory("memory"), Some("/sys/fs/cgroup/memory/b".into()));
    assert_eq!(directory("cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct/user/x".into()));
    assert_eq!(directory("pids"), Some("/sys/fs/cgroup/my pids/".into()));
    assert_eq!(directory("blkio"), None);
    let View::V1(hierarchies) = layout.view() else { panic!("not version 1") };
    let names: Vec<&str> = hierarchies.iter().map(|hierarchy| hierarchy.directory.as_str()).collect();
    assert_eq!(names, ["cpu,cpuacct", "memory", "systemd", "pids"]);
    assert_eq!(hierarchies[2].options, [("none".into(), None), ("name".into(), Some("systemd".into()))]);
}

#[test]
fn a_group_outside_of_what_is_mounted_is_not_used() {
    let layout = Layout::parse(V1_MOUNTS, "4:memory:/elsewhere\n");
    assert_eq!(layout.v1_directory("memory"), None);
}

/// A directory that looks like a version 2 hierarchy with us in `/user/session`.
fn v2_tree(controllers: &str) -> (tempfile::TempDir, Layout) {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(root.path().join("user/session")).expect("mkdir");
    for directory in ["", "user", "user/session"] {
        let directory = root.path().join(directory);
        fs::write(directory.join("cgroup.controllers"), controllers).expect("write");
        fs::write(directory.join("cgroup.subtree_control"), "memory pids cpu io\n").expect("write");
    }
    let mounts = format!("34 30 0:30 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
    (root, Layout::parse(&mounts, "0::/user/session\n"))
}

#[test]
fn version_2_puts_groups_beside_its_own() {
    let (root, layout) = v2_tree("memory pids cpu io\n");
    assert_eq!(layout.v2_parents(), [root.path().join("user"), root.path().to_owned()]);
    assert_eq!(layout.view(), View::V2);
    let limits = Limits { memory: Some(1 << 30), ..Limits::default() };
    let group = Group::create(&layout, &limits);
    let directory = group.directories[0].path.clone();
    assert_eq!(directory.parent(), Some(root.path().join("user").as_path()));
    // A plain directory has no controllers of its own, so the limit is refused and says why.
    let error = group.limit(&limits).expect_err("no controller");
    assert!(
        error.to_string().starts_with("cannot limit memory: controller `memory` is not enabled"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("Delegate=yes")));
}

#[test]
fn version_2_limits_are_written_in_its_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for file in ["memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"] {
        fs::write(directory.path().join(file), "max").expect("write");
    }
    let controllers = ["memory", "cpu", "pids"].map(str::to_owned).to_vec();
    let directories = vec![Directory { path: directory.path().to_owned(), controllers }];
    let group = Group { version: Version::V2, directories, missing: Vec::new() };
    let limits = Limits {
        memory: Some(1 << 20),
        cpus: Some(1.5),
        cpu_weight: Some(50),
        pids: Some(7),
        ..Limits::default()
    };
    group.limit(&limits).expect("all there");
    let read = |file| fs::read_to_string(directory.path().join(file)).expect("read");
    assert_eq!(read("memory.max"), "1048576");
    assert_eq!(read("memory.swap.max"), "0");
    assert_eq!(read("cpu.max"), "150000 100000");
    assert_eq!(read("cpu.weight"), "50");
    assert_eq!(read("pids.max"), "8");
    let cpu: Vec<String> = group.confinement(&limits).into_iter().map(|line| line.asked).collect();
    assert!(cpu.contains(&"1.5 cpus, weight 50".to_owned()), "{cpu:?}");
    // There is no `cpu.stat` among these files: processor time is not counted, so it cannot be limited.
    let limits = Limits { cpu_time: Some(Duration::from_secs(1)), ..Limits::default() };
    let error = group.limit(&limits).expect_err("not counted").to_string();
    assert!(error.starts_with("cannot limit cpu time: "), "{error}");
    fs::write(directory.path().join("cpu.stat"), "user_usec 20\nsystem_usec 10\n").expect("write");
    assert_eq!(group.cpu_time(), Some(Duration::from_micros(30)));
    group.limit(&limits).expect("counted");
    std::mem::forget(group);
}

#[test]
fn version_1_weights_are_shares() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("cpu.shares"), "1024").expect("write");
    let controllers = vec!["cpu".to_owned()];
    let directories = vec![Directory { path: directory.path().to_owned(), controllers }];
    let group = Group { version: Version::V1, directories, missing: Vec::new() };
    for (weight, shares) in [(1, "10"), (100, "1024"), (10_000, "102400")] {
        group.limit(&Limits { cpu_weight: Some(weight), ..Limits::default() }).expect("there");
        let read = fs::read_to_string(directory.path().join("cpu.shares")).expect("read");
        assert_eq!(read, shares, "{weight}");
    }
    std::mem::forget(group);
}

#[test]
fn counters() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |file, text| fs::write(directory.path().join(file), text).expect("write");
    write("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n");
    write("memory.peak", "4096\n");
    write("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0\n");
    write("memory.events", "low 0\noom 2\noom_kill 1\noom_group_kill 0\n");
    write("pids.events", "max 3\n");
    let usage = usage::read_v2(directory.path());
    assert_eq!(usage.user, Some(Duration::from_micros(20)));
    assert_eq!((usage.io_read, usage.io_written), (Some(15), Some(20)));
    assert_eq!((usage.oom_kills, usage.refused_processes, usage.peak_processes), (1, 3, None));
    write("blkio.throttle.io_service_bytes", "8:0 Read 7\n8:0 Write 9\n8:16 Read 1\nTotal 17\n");
    write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
    let usage = usage::read_v1(|_| Some(directory.path()));
    assert_eq!((usage.io_read, usage.io_written, usage.oom_kills), (Some(8), Some(9), 4));
}

#[test]
fn owners_are_told_from_the_dead() {
    let owner = Owner::current().expect("ourselves");
    assert_eq!(Owner::parse(&owner.group_name()), Some(owner));
    assert!(owner.is_alive());
    assert!(!Owner { started: owner.started + 1, ..owner }.is_alive());
    for name in ["orlop-1-2-3", "orlop-1-2-3-4-5", "orlop-a-2-3-4", "docker-1-2-3-4", "orlop-"] {
        assert_eq!(Owner::parse(name), None, "{name}");
    }
}

#[test]
fn stale_groups_are_swept_and_living_ones_left() {
    let (root, layout) = v2_tree("memory\n");
    let mine = Owner::current().expect("ourselves");
    let dead = Owner { started: mine.started.wrapping_sub(1), ..mine };
    let foreign = Owner { namespace: 1, ..dead };
    let paths: Vec<PathBuf> =
        [dead, mine, foreign].iter().map(|owner| root.path().join("user").join(owner.group_name())).collect();
    for path in &paths {
        fs::create_dir(path).expect("mkdir");
    }
    assert_eq!(sweep(&layout), 1);
    assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, true, true]);
}
