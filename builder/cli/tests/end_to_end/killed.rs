//! The end of the program in the middle of its work, and the command after it.

use std::path::Path;
use std::time::{Duration, Instant};

use orlop_fixtures::registry;
use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::tool::tool;
use rustix::process::Signal;

use crate::{FROM, build, env, image};

/// Processes whose command line contains `text`, as the host sees them.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let listing = std::fs::read_dir("/proc").expect("/proc");
    let found = listing.filter_map(Result::ok).filter_map(|entry| {
        entry.file_name().to_string_lossy().parse::<u32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then_some(line)
    });
    found.collect()
}

/// Whether all processes with `text` in their command line end within a few seconds.
#[track_caller]
pub(crate) fn all_gone(text: &str) {
    let start = Instant::now();
    loop {
        let left = processes(text);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still running: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Control groups that hold the process id `pid` in their name: those of the program's jobs.
fn groups(pid: u32) -> Vec<String> {
    let find =
        tool("find").args(["/sys/fs/cgroup", "-type", "d", "-name", "*orlop*"]).output().expect("find");
    let all = String::from_utf8_lossy(&find.stdout).into_owned();
    all.lines().filter(|line| line.contains(&pid.to_string())).map(ToOwned::to_owned).collect()
}

/// The next command works, and after it nothing of the killed one is left but what it had finished.
#[track_caller]
fn clean_after(env: &TestEnv, pid: u32) {
    env.orlop(["images"]).run().success();
    assert_eq!(groups(pid), Vec::<String>::new(), "control groups are left");
    assert_eq!(env.mounts(), Vec::<std::path::PathBuf>::new(), "mounts are left");
    let in_work = files(&env.store().join("work"));
    assert!(in_work < 20, "{in_work} files are left in `work`");
}

fn files(dir: &Path) -> usize {
    let find = tool("find").arg(dir).args(["-type", "f"]).output().expect("find");
    String::from_utf8_lossy(&find.stdout).lines().count()
}

#[test]
fn killed_in_a_run_step() {
    let env = env();
    let dockerfile = |end: &str| {
        format!(
            "{FROM}RUN cat /proc/sys/kernel/random/uuid | tee /kept\n\
             RUN mkdir /many && for i in $(seq 500); do echo $i > /many/$i; done; echo now-waiting; {end}\n"
        )
    };
    let mut running = build(&env, &dockerfile("(sleep 4231 & setsid sleep 4231 & sleep 4231)")).start();
    assert!(
        running.until(|r| r.stderr().contains("\nnow-waiting") || r.stderr().contains(" now-waiting")),
        "{running:?}"
    );
    let pid = running.pid();
    let killed = running.kill();
    all_gone("sleep 4231");
    clean_after(&env, pid);
    // What was finished before is still there.
    let image = image(&env, &dockerfile("true"));
    assert!(killed.stderr.contains(image.text("/kept").trim_end()), "{killed}");
    assert!(image.has("/many/500"));
}

#[test]
fn killed_in_a_pull() {
    let registry = registry::start();
    let layer = |n: u8| {
        let mut noise = Vec::new();
        for i in 0..200_000_u32 {
            noise.extend(orlop_fixtures::sha256(&[&i.to_le_bytes()[..], &[n]].concat()).into_bytes());
        }
        noise
    };
    let env = env();
    let tar = |n: u8| {
        orlop_fixtures::tarball::archive(&[orlop_fixtures::tarball::Entry::file(
            format!("noise{n}"),
            layer(n),
        )])
    };
    let base = orlop_fixtures::layout::layers(crate::base()).remove(0);
    let gzip = orlop_fixtures::layout::Compression::Gzip;
    let dir = env.dir("big");
    orlop_fixtures::layout::Image::new().tar(base, gzip).tar(tar(1), gzip).tar(tar(2), gzip).write(&dir);
    registry.fill(&dir, "big:1");
    for delay in [20, 60, 120, 200, 350, 500] {
        let running = env.orlop(["pull", &registry.name("big:1")]).start();
        std::thread::sleep(Duration::from_millis(delay));
        let pid = running.pid();
        running.kill();
        clean_after(&env, pid);
    }
    env.orlop(["pull", &registry.name("big:1")]).run().success();
    let run = env
        .orlop(["run", "--rm", &registry.name("big:1"), "sh", "-c", "wc -c < /noise1; wc -c < /noise2"])
        .run();
    assert_eq!(run.success().stdout, "12800000\n12800000\n");
}

#[test]
fn killed_in_a_commit() {
    let env = env();
    let dockerfile = |n: u64| {
        format!(
            "{FROM}RUN echo {n} > /n; mkdir /many; for i in $(seq 1000); do echo $i > /many/$i; done; \
             dd if=/dev/urandom of=/large bs=1M count=20 2> /dev/null; echo almost-done\nRUN echo end > /end\n"
        )
    };
    for n in 0..8 {
        let mut running = build(&env, &dockerfile(n)).start();
        running.until(|r| r.stderr().contains("almost-done\n"));
        std::thread::sleep(Duration::from_millis(n * n * 4));
        let pid = running.pid();
        running.kill();
        clean_after(&env, pid);
    }
    for n in [0, 7] {
        let image = image(&env, &dockerfile(n));
        assert_eq!(image.text("/n"), format!("{n}\n"));
        assert_eq!(image.at("/large").size, Some(20 << 20));
        assert!(image.has("/many/1000") && image.has("/end"));
    }
}

#[test]
fn killed_at_every_rename() {
    let env = env();
    let dockerfile = format!("{FROM}RUN echo x > /x\nCOPY . /c\n");
    env.file("context/f", "f");
    env.orlop(["images"]).run().success();
    // Every rename makes something visible: kill the program just before the first, second, … one.
    for n in 1..40 {
        let file = env.file("Dockerfile", &dockerfile);
        let status = tool("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2", "-e"])
            .arg(format!("inject=rename,renameat,renameat2:signal=KILL:when={n}"))
            .arg(crate::ORLOP)
            .arg("--root")
            .arg(env.store())
            .args(["build", "-t", "built", "--build-arg"])
            .arg(format!("BASE={}", crate::base_name()))
            .arg("-f")
            .arg(file)
            .arg(env.path("context"))
            .env("HOME", env.path("home"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .expect("strace");
        env.orlop(["images"]).run().success();
        if status.success() {
            assert!(n > 1, "no rename was counted");
            break;
        }
    }
    let image = image(&env, &dockerfile);
    assert_eq!((image.text("/x"), image.text("/c/f")), ("x\n", "f"));
}

/// `mark` is how long the step sleeps, which tells its processes from everybody's.
fn interrupted_by(signal: Signal, mark: u32) {
    let env = env();
    let mut running =
        build(&env, &format!("{FROM}RUN trap '' INT TERM; echo waiting-now; sleep {mark}; sleep {mark}\n"))
            .start();
    assert!(running.until(|r| processes(&format!("sleep {mark}")).iter().any(|p| p.starts_with("sleep"))
        || r.stderr().contains("never")));
    let pid = running.pid();
    let start = Instant::now();
    running.signal(signal);
    let run = running.wait().code(130);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}: {run}", start.elapsed());
    all_gone(&format!("sleep {mark}"));
    clean_after(&env, pid);
}

#[test]
fn interrupted_by_ctrl_c() {
    interrupted_by(Signal::INT, 4370);
}

#[test]
fn interrupted_by_sigterm() {
    interrupted_by(Signal::TERM, 4384);
}
