//! What a job sees and may do beyond its root.

use super::{Bench, Check};
use crate::{Capabilities, Exit, Network, Security, User};

pub(super) const CHECKS: &[Check] = &[
    ("the job sees its own processes only", processes),
    ("the first process gives nothing away", first_process),
    ("telling parts of /proc and /sys are hidden", masks),
    ("what hides a file cannot be changed on the machine", mask_metadata),
    ("changing parts of /proc and /sys are read-only", protections),
    ("/dev has Docker's devices and they work", devices),
    ("a device node of the job's own opens nothing", own_devices),
    ("nothing of the host's file system is in sight", host_files),
    ("network none has its own loopback only", no_network),
    ("capabilities are Docker's", capabilities),
    ("a user without privileges has none", no_capabilities),
    ("capabilities can be taken and given", chosen_capabilities),
    ("an insecure job may do what orlop may", insecure),
    ("system calls are filtered", seccomp),
    ("no_new_privileges is set when asked", no_new_privileges),
    ("shared memory and host name are the job's own", namespaces),
    ("the report tells what was not given", report),
];

fn processes(bench: &Bench) {
    let listed = bench
        .output(&bench.sh("for p in /proc/[0-9]*; do echo ${p#/proc/}; done; readlink /proc/self; echo $$"));
    assert_eq!(
        listed,
        "1\n2\n3\n2\n".replace("3\n", if listed.starts_with("1\n2\n3") { "3\n" } else { "" }),
        "{listed}"
    );
}

fn first_process(bench: &Bench) {
    let script = "tr '\\0' '\\n' < /proc/1/cmdline | head -1; cat /proc/1/comm; cat /proc/1/environ; \
        ls -l /proc/1/fd | grep -c -e '->'; cat /proc/1/fd/*; ls /proc/1/root; head -c 1 /proc/1/mem; kill -9 1; kill -TERM 1; echo alive";
    let outcome = bench.run(&bench.sh(script));
    assert_eq!(outcome.stdout, "orlop-init\norlop-init\n0\nalive\n", "{}", outcome.stderr);
}

fn masks(bench: &Bench) {
    let script = "for f in acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats; do \
        test -e /proc/$f || continue; n=$(cat /proc/$f 2>/dev/null | head -c 1 | wc -c); \
        m=$(ls /proc/$f/ 2>/dev/null | wc -l); test $n$m = 00 || echo $f $n $m; done; ls /sys/firmware";
    assert_eq!(bench.run(&bench.sh(script)).stdout, "");
}

fn mask_metadata(bench: &Bench) {
    // A file is hidden behind the machine's own /dev/null: its mode and times must not be the job's to change.
    let script = "for f in interrupts kcore keys latency_stats sched_debug timer_list timer_stats; do \
        test -e /proc/$f || continue; chmod 666 /proc/$f 2>&- && echo chmod $f; touch /proc/$f 2>&- && echo touch $f; done; \
        echo done";
    assert_eq!(bench.run(&bench.sh(script)).stdout, "done\n");
}

fn protections(bench: &Bench) {
    let script = "for f in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger; do \
        test -e $f || continue; (echo x > $f) 2>&- && echo wrote $f; done; mkdir /sys/fs/cgroup/x 2>&- && echo cgroup; \
        find /sys -maxdepth 2 -name uevent -exec sh -c 'echo add > {}' ';' 2>&- ; \
        (echo 1 > /sys/kernel/profiling) 2>&- && echo sys; grep -c ' /proc/sys proc ro' /proc/mounts; \
        grep ' /sys sysfs' /proc/mounts | cut -d' ' -f4 | cut -d, -f1";
    assert_eq!(bench.run(&bench.sh(script)).stdout, "1\nro\n");
}

fn devices(bench: &Bench) {
    let names = bench.output(&bench.sh("ls /dev"));
    let expected =
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(names, expected);
    let script = "echo x > /dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c; \
        (echo x > /dev/full) 2>&- || echo full; stat -c '%a %t:%T' /dev/null /dev/full /dev/tty; stat -c %a /dev/shm /dev/mqueue; \
        echo y > /dev/shm/f; cat /dev/shm/f";
    let expected = " 00 00 00 00\n9\nfull\n666 1:3\n666 1:7\n666 5:0\n1777\n1777\ny\n";
    assert_eq!(bench.output(&bench.sh(script)), expected);
    if bench.many_ids {
        let mut spec =
            bench.sh("echo x > /dev/null && head -c 1 /dev/urandom | wc -c; touch /dev/x 2>&- || echo no");
        spec.user = User { uid: 1000, gid: 1001, groups: vec![], home: "/".into() };
        assert_eq!(bench.output(&spec), "1\nno\n");
    }
}

fn own_devices(bench: &Bench) {
    // 1:1 is the machine's memory, 254:0 and 8:0 its disks; in a user namespace mknod fails already.
    let script = "for d in / /dev /dev/shm /tmp; do for n in 'c 1 1' 'b 254 0' 'b 8 0' 'c 1 5'; do \
        rm -f $d/node; mknod $d/node $n 2>&- && (head -c 1 $d/node > /dev/null) 2>&- && echo opened $d $n; done; \
        rm -f $d/node; done; echo done";
    assert_eq!(bench.run(&bench.sh(script)).stdout, "done\n");
}

fn host_files(bench: &Bench) {
    assert_eq!(
        bench
            .output(&bench.sh("ls /; ls -di /.. | tr -d ' '; ls -di / | tr -d ' ' | sed s,/$,/..,"))
            .lines()
            .count(),
        9
    );
    let script = "chroot /proc/1/root ls / 2>&- ; cd /proc/self/cwd/../../..; ls -d home; \
        awk '$5 == \"/\"' /proc/self/mountinfo | wc -l";
    assert_eq!(bench.run(&bench.sh(script)).stdout, "home\n1\n");
}

fn no_network(bench: &Bench) {
    let mut spec = bench.sh("ls /sys/class/net; ifconfig | grep -c UP; ping -c 1 -W 2 127.0.0.1 > /dev/null && echo pong; wget -T 2 -q http://192.0.2.1/ 2>&- || echo no");
    spec.network = Network::None;
    let outcome = bench.run(&spec);
    assert_eq!(outcome.stdout, "lo\n1\npong\nno\n", "{}", outcome.stderr);
}

fn status(bench: &Bench, change: impl FnOnce(&mut crate::RunSpec), pattern: &str) -> String {
    let mut spec = bench.sh(&format!("grep -E '{pattern}' /proc/self/status | tr -d '\\t'"));
    change(&mut spec);
    bench.output(&spec)
}

fn capabilities(bench: &Bench) {
    let expected = "CapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\n\
        CapBnd:00000000a80425fb\nCapAmb:0000000000000000\n";
    assert_eq!(status(bench, |_| {}, "^Cap"), expected);
}

fn no_capabilities(bench: &Bench) {
    if !bench.many_ids {
        return;
    }
    let user = User { uid: 1000, gid: 1001, groups: vec![], home: "/".into() };
    let expected = "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
        CapBnd:00000000a80425fb\nCapAmb:0000000000000000\n";
    assert_eq!(status(bench, |spec| spec.user = user, "^Cap"), expected);
}

fn chosen_capabilities(bench: &Bench) {
    let none = |spec: &mut crate::RunSpec| spec.security.capabilities = Capabilities::EMPTY;
    assert_eq!(status(bench, none, "^Cap(Eff|Bnd)"), "CapEff:0000000000000000\nCapBnd:0000000000000000\n");
}

fn insecure(bench: &Bench) {
    let mut spec = bench.sh("mkdir /mnt && mount -t tmpfs x /mnt && echo mounted; umount /mnt; rmdir /mnt; grep -c nodev /proc/self/mountinfo > /dev/null");
    spec.security = Security::insecure();
    assert_eq!(bench.run(&spec).stdout, "mounted\n");
    let all = status(bench, |spec| spec.security = Security::insecure(), "^CapEff");
    assert!(all.starts_with("CapEff:000001ff"), "{all}");
    // Nothing of /proc and /sys is hidden or read-only.
    let mounts = |secure: bool| {
        let mut spec = bench.sh("cut -d ' ' -f 5,6 /proc/self/mountinfo | grep -E '^/(proc|sys)[/ ]'");
        if !secure {
            spec.security = Security::insecure();
        }
        bench.output(&spec)
    };
    let (secure, open) = (mounts(true), mounts(false));
    assert!(secure.contains("/proc/sys ro,") && secure.contains("/sys ro,"), "{secure}");
    assert!(!open.contains(" ro,") && !open.contains("/proc/"), "{open}");
    if bench.many_ids {
        // Whoever the user is, and what that user starts has them too.
        let user = User { uid: 1000, gid: 1001, groups: vec![], home: "/".into() };
        let change = |spec: &mut crate::RunSpec| {
            spec.security = Security::insecure();
            spec.user = user.clone();
        };
        let theirs = status(bench, change, "^Cap");
        let bits = all.trim_start_matches("CapEff:").trim();
        for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
            assert!(theirs.contains(&format!("Cap{set}:{bits}")), "{theirs}");
        }
    }
    let mut spec =
        bench.sh("ls -d /dev/fuse /dev/net/tun /dev/loop0 /dev/loop7 /dev/loop-control 2>/dev/null; true");
    assert_eq!(bench.run(&spec).stdout, "");
    spec.security = Security::insecure();
    let devices = bench.run(&spec).stdout;
    let there = devices.lines().count();
    assert!(there == 5 || there == 0, "{devices}");
}

fn seccomp(bench: &Bench) {
    assert_eq!(status(bench, |_| {}, "^(Seccomp|NoNewPrivs):"), "NoNewPrivs:0\nSeccomp:2\n");
    // A user namespace needs no capability: only the filter refuses it.
    let script = "unshare -U true 2>&1; mkdir /mnt; mount -t tmpfs x /mnt 2>&1; rmdir /mnt";
    let outcome = bench.run(&bench.sh(script));
    assert_eq!(
        outcome.stdout.matches("Operation not permitted").count()
            + outcome.stdout.matches("permission denied").count(),
        2,
        "{}",
        outcome.stdout
    );
    let off = status(bench, |spec| spec.security.seccomp = false, "^Seccomp:");
    assert!(off == "Seccomp:0\n" || off == "Seccomp:2\n", "{off}");
}

fn no_new_privileges(bench: &Bench) {
    let set = status(bench, |spec| spec.security.no_new_privileges = true, "^(Seccomp|NoNewPrivs):");
    assert_eq!(set, "NoNewPrivs:1\nSeccomp:2\n");
}

fn namespaces(bench: &Bench) {
    let own = |name: &str| {
        std::fs::read_link(format!("/proc/self/ns/{name}")).map(|link| link.display().to_string())
    };
    for name in ["pid", "mnt", "ipc", "uts", "cgroup"] {
        let theirs = bench.output(&bench.sh(&format!("readlink /proc/self/ns/{name}")));
        assert_ne!(Some(theirs.trim()), own(name).ok().as_deref(), "{name}");
    }
    let theirs = bench.output(&bench.sh("readlink /proc/self/ns/net"));
    assert_eq!(Some(theirs.trim()), own("net").ok().as_deref(), "the host's network");
}

fn report(bench: &Bench) {
    let outcome = bench.run(&bench.sh("true"));
    assert_eq!(outcome.report.exit, Exit::Code(0));
    assert!(outcome.report.confinement.iter().any(|line| line.what == "cgroup memory"));
    let seccomp = outcome.report.confinement.iter().find(|line| line.what == "seccomp");
    assert!(seccomp.is_some_and(|line| line.is_full()), "{seccomp:?}");
    for line in outcome.report.confinement.iter().filter(|line| !line.is_full()) {
        assert!(line.why.as_deref().is_some_and(|why| !why.is_empty()), "{line}");
    }
    assert!(!bench.runner.probe().findings.is_empty());
}
