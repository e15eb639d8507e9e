//! Pull and push, ended a hundred times each in the middle: the command after it completes, what it left behind is swept,
//! and the store and the registry have nothing wrong in them.
//!
//! The proxy slows the transfer down, so that it has a middle; the moments are spread over the whole of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orlop_fixtures::fault_proxy::{self, FaultProxy};
use orlop_fixtures::layout::{self, Compression};
use orlop_fixtures::registry::{self, Registry};
use orlop_fixtures::tarball::{Entry, archive};
use orlop_fixtures::test_env::TestEnv;
use orlop_fixtures::tool::tool;
use rustix::process::Signal;

use crate::{Opened, env};

/// Kills of each kind.
const KILLS: u32 = 100;
/// Kills before a command may complete and all is looked at.
const ROUND: u32 = 10;
/// Bytes a second of each connection.
const SPEED: u64 = 600_000;

/// An image of four layers, in a directory of its own.
fn image(env: &TestEnv) -> PathBuf {
    let noise = |n: u8| -> Vec<u8> {
        (0..2500_u32)
            .flat_map(|i| orlop_fixtures::sha256(&[&i.to_le_bytes()[..], &[n]].concat()).into_bytes())
            .collect()
    };
    let dir = env.dir("image");
    let mut image = layout::Image::new();
    for n in 0..4 {
        image = image.tar(archive(&[Entry::file(format!("noise{n}"), noise(n))]), Compression::Gzip);
    }
    image.write(&dir);
    dir
}

struct World {
    registry: Registry,
    proxy: FaultProxy,
    layout: PathBuf,
    _env: TestEnv,
}

impl World {
    fn new() -> Self {
        let (registry, env) = (registry::start(), env());
        let layout = image(&env);
        registry.fill(&layout, "team/image:1");
        let proxy = fault_proxy::start(&registry.host());
        proxy.throttle(SPEED);
        Self { registry, proxy, layout, _env: env }
    }
}

/// Files that no finished thing owns.
fn left_in_work(env: &TestEnv) -> usize {
    let find = tool("find")
        .arg(env.store().join("work"))
        .args(["-type", "f", "-size", "+0"])
        .output()
        .expect("find");
    String::from_utf8_lossy(&find.stdout).lines().count()
}

/// Runs `command` again and again and ends it by `signal` at moments all over the time that it takes, until that was
/// done `kills` times. Every so often it may complete, and `check` looks at what there is then.
fn end_in_the_middle(
    signal: Signal,
    kills: u32,
    fresh: impl Fn(u32) -> (TestEnv, Vec<String>),
    check: impl Fn(&TestEnv, &[String]),
) {
    let (env, command) = fresh(0);
    let started = Instant::now();
    env.orlop(&command).run().success();
    let whole = started.elapsed();
    check(&env, &command);
    let (mut done, mut round, mut attempts) = (0, 0, 0_u32);
    while done < kills {
        round += 1;
        let (env, command) = fresh(round);
        let in_round = done;
        // Early moments first: what was finished before a kill need not be done again.
        for at in 0..ROUND * 2 {
            if done - in_round == ROUND || done == kills {
                break;
            }
            attempts += 1;
            assert!(attempts < kills * 5, "{done} of {attempts} attempts were ended in the middle");
            // By the golden ratio, the moments never fall upon the same.
            let part = (f64::from(attempts) * 0.618_034).fract() * f64::from(at + 2) / f64::from(ROUND + 2);
            let running = env.orlop(&command).start();
            std::thread::sleep(whole.mul_f64(part.min(1.0)));
            running.signal(signal);
            if signal == Signal::KILL {
                let run = running.kill();
                if run.status.code().is_none() {
                    done += 1;
                    continue;
                }
                break;
            }
            let asked = Instant::now();
            let run = running.wait();
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}: {run}", asked.elapsed());
            match run.status.code() {
                Some(130) => done += 1,
                // Before the program watches for signals, they end it.
                None => {}
                _ => {
                    run.success();
                    break;
                }
            }
        }
        env.orlop(&command).run().success();
        check(&env, &command);
    }
}

fn nothing_is_left(env: &TestEnv) {
    env.orlop(["images"]).run().success();
    assert_eq!(left_in_work(env), 0, "files are left in `work`");
    env.orlop(["store", "check"]).run().success();
    assert_eq!(env.mounts(), Vec::<PathBuf>::new(), "mounts are left");
}

fn pulls(signal: Signal, kills: u32) {
    let world = World::new();
    let fresh = |_| (env(), vec!["pull".to_owned(), world.proxy.name("team/image:1")]);
    end_in_the_middle(signal, kills, fresh, |env, command| {
        nothing_is_left(env);
        let saved = env.path("saved.tar");
        env.orlop(["save", "--format=oci-archive", "-o"]).arg(&saved).arg(&command[1]).run().success();
        assert!(Opened::archive(&saved).has("/noise3"));
    });
}

fn pushes(signal: Signal, kills: u32) {
    let world = World::new();
    let archive = world._env.path("image.tar");
    pack(&world.layout, &archive);
    let fresh = |round| {
        let (env, name) = (env(), world.proxy.name(&format!("team/round{round}:1")));
        env.orlop(["load", "-i"]).arg(&archive).run().success();
        let listed = env.orlop(["images", "-q"]).run().success().stdout;
        env.orlop(["tag", listed.trim(), &name]).run().success();
        (env, vec!["push".to_owned(), name])
    };
    end_in_the_middle(signal, kills, fresh, |env, command| {
        nothing_is_left(env);
        let (_, name) = command[1].split_once('/').expect("a name");
        assert!(Opened::from(&format!("docker://{}", world.registry.name(name))).has("/noise3"));
    });
}

/// The layout as one file.
fn pack(layout: &Path, archive: &Path) {
    let tar = tool("tar").arg("-cf").arg(archive).arg("-C").arg(layout).arg(".").status();
    assert!(tar.is_ok_and(|status| status.success()), "tar");
}

/// A kill between the two leaves a layer unpacked without the bytes that it came with.
#[test]
fn a_layer_without_its_blob_is_fetched_again() {
    let (world, env) = (World::new(), env());
    let name = world.proxy.name("team/image:1");
    env.orlop(["pull", &name]).run().success();
    let (manifest, _) = layout::read(&world.layout);
    for layer in manifest["layers"].as_array().expect("layers") {
        let digest = layer["digest"].as_str().expect("a digest");
        let path = env.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        std::fs::remove_file(&path).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()));
    }
    env.orlop(["pull", &name]).run().success();
    env.orlop(["save", "--format=oci-archive", "-o"]).arg(env.path("saved.tar")).arg(&name).run().success();
    nothing_is_left(&env);
}

#[test]
fn pulls_killed_a_hundred_times() {
    pulls(Signal::KILL, KILLS);
}

#[test]
fn pushes_killed_a_hundred_times() {
    pushes(Signal::KILL, KILLS);
}

#[test]
fn pulls_and_pushes_interrupted() {
    pulls(Signal::INT, 10);
    pushes(Signal::TERM, 10);
}
