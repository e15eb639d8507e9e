//! What a step may use, how it is ended, and what is said of what it used.

use std::time::{Duration, Instant};

use crate::{FROM, build, env, image_of, snapshot};

#[test]
fn memory_is_limited_and_the_message_says_so() {
    let env = env();
    let dockerfile = format!("{FROM}RUN dd if=/dev/zero of=/dev/null bs=200M count=1\n");
    build(&env, &dockerfile).args(["--memory", "64m"]).run().code(1).says("memory");
    build(&env, &dockerfile).args(["--memory", "600m"]).run().success();
}

#[test]
fn processes_are_limited() {
    let env = env();
    let dockerfile = format!("{FROM}RUN for i in $(seq 100); do sleep 5 & done; wait\n");
    let start = Instant::now();
    build(&env, &dockerfile).args(["--pids-limit", "20"]).run().code(1);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_step_that_takes_too_long_is_ended() {
    let env = env();
    let start = Instant::now();
    let dockerfile = format!("{FROM}RUN trap '' TERM INT; echo begun; sleep 4219 & wait; sleep 4219\n");
    let run = build(&env, &dockerfile).args(["--timeout", "2s"]).run().code(1).says("begun");
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let left = orlop_fixtures::tool::tool("pgrep").args(["-f", "sleep 4219"]).output().expect("pgrep");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "still running");
    snapshot::check(&env, "step-timed-out", &run);
}

#[test]
fn ulimits_reach_the_step() {
    let env = env();
    let dockerfile = format!("{FROM}RUN ulimit -n > /soft; ulimit -Hn > /hard\n");
    let image = image_of(&env, build(&env, &dockerfile).args(["--ulimit", "nofile=100:200"]));
    assert_eq!((image.text("/soft"), image.text("/hard")), ("100\n", "200\n"));
}

#[test]
fn a_step_has_dockers_capabilities_and_a_filter() {
    let env = env();
    let dockerfile = format!(
        "{FROM}RUN grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status > /status; ! mount -t tmpfs none /mnt\n"
    );
    let image = image_of(&env, build(&env, &dockerfile));
    let status = image.text("/status");
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw
    // sys_chroot mknod audit_write setfcap, as far as the host itself has them.
    let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let own = own.lines().find_map(|l| l.strip_prefix("CapBnd:")).map(str::trim).unwrap_or_default();
    let host = u64::from_str_radix(own, 16).unwrap_or(u64::MAX);
    let want = format!("{:016x}", 0xa804_25fb & host);
    assert_eq!(status.matches(&want).count(), 2, "expected {want}\n{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
}

#[test]
fn a_step_is_alone_in_its_namespaces() {
    let env = env();
    let dockerfile = format!(
        "{FROM}RUN echo $$ > /pid; ps | wc -l > /processes; hostname > /hostname; ls /proc/kcore /proc/sys > /dev/null; \
         head -c 1 /proc/kcore | wc -c > /kcore; ! sh -c 'echo 1 > /proc/sys/kernel/panic' 2> /dev/null && echo kept > /sysctl; \
         ls /dev | sort | tr '\\n' ' ' > /devices\n"
    );
    let image = image_of(&env, build(&env, &dockerfile));
    let pid: u32 = image.text("/pid").trim().parse().expect("a pid");
    assert!(pid < 10, "{pid}");
    let processes: u32 = image.text("/processes").trim().parse().expect("a count");
    assert!(processes < 6, "{processes}");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    assert_ne!(image.text("/hostname"), host);
    assert_eq!((image.text("/kcore"), image.text("/sysctl")), ("0\n", "kept\n"));
    let devices = image.text("/devices");
    for device in ["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "tty", "urandom", "zero"] {
        assert!(devices.split(' ').any(|d| d == device), "/dev/{device} is missing: {devices}");
    }
    assert!(
        !devices.split(' ').any(|d| d.starts_with("vd") || d.starts_with("sd") || d == "mem"),
        "{devices}"
    );
}

#[test]
fn what_a_step_used_is_reported() {
    let env = env();
    let run =
        build(&env, &format!("{FROM}RUN head -c 50000000 /dev/zero | tail -c 1 > /x\n")).run().success();
    assert!(run.stderr.contains("MB") || run.stderr.contains("MiB"), "no memory in the report: {run}");
}
