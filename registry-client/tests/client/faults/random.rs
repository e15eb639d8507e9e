//! Random faults in random order. A failure names its seed and the fewest faults that still do it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orlop_fixtures::fault_proxy::{Fault, Framing, Kind, Phase, Reply, Rule};

use super::{Act, World, check_elsewhere, in_time, start, unclear};

/// Seeds of one run.
const SEEDS: u64 = 120;

const ACTS: [Act; 7] = [
    Act::Pull,
    Act::Push,
    Act::PushInChunks,
    Act::PushByMount,
    Act::PullRedirected,
    Act::PullWithToken,
    Act::PushWithToken,
];

const KINDS: [Kind; 12] = [
    Kind::Any,
    Kind::Ping,
    Kind::GetManifest,
    Kind::PutManifest,
    Kind::GetBlob,
    Kind::HeadBlob,
    Kind::StartUpload,
    Kind::Mount,
    Kind::Patch,
    Kind::PutBlob,
    Kind::UploadStatus,
    Kind::Token,
];

/// Numbers that follow from a seed alone (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn phase(&mut self) -> Phase {
        let bytes = [0, 1, 100, 70_000, 199_999][self.below(5) as usize];
        match self.below(7) {
            0 => Phase::Connected,
            1 => Phase::RequestHead,
            2 => Phase::RequestBody(bytes),
            3 => Phase::BeforeAnswer,
            4 => Phase::AnswerHead,
            5 => Phase::AfterAnswer,
            _ => Phase::AnswerBody(bytes),
        }
    }

    fn fault(&mut self) -> Fault {
        let status = self.of(&[401, 403, 404, 408, 416, 429, 500, 502, 503, 504]);
        let bytes = self.below(200_000);
        match self.below(12) {
            0..=3 => Fault::Cut(self.phase()),
            4 => Fault::Stall(self.phase()),
            5 => Fault::Answer(Reply::page(status)),
            6 => Fault::Answer(Reply::new(status, "UNKNOWN").early()),
            7 => Fault::AnswerInstead(Reply::new(status, "UNKNOWN")),
            8 => Fault::Truncate(bytes, self.of(&[Framing::Lie, Framing::Chunks, Framing::Close])),
            9 => Fault::Flip(bytes),
            10 => Fault::FlipRequest(bytes),
            _ => Fault::Delay(Duration::from_millis(self.below(200))),
        }
    }

    fn rules(&mut self) -> Vec<Rule> {
        let rule = |r: &mut Self| Rule {
            kind: r.of(&KINDS),
            skip: r.below(3) as u32,
            times: r.of(&[1, 1, 1, 2, 5]),
            fault: r.fault(),
        };
        (0..1 + self.below(6)).map(|_| rule(self)).collect()
    }
}

/// What is wrong with how it ends; nothing when it ends well or in a clear error.
fn wrong(world: &Arc<World>, act: Act, rules: &[Rule], what: &str) -> Option<String> {
    let proxy = Arc::new(start(world, act));
    for rule in rules {
        proxy.rule(rule.kind, rule.skip, rule.times, rule.fault.clone());
    }
    let config = act.config(&proxy, 1);
    let (world, through) = (Arc::clone(world), Arc::clone(&proxy));
    match in_time(what, move || act.run(&world, &through, config)) {
        Ok(Ok(())) => check_elsewhere(&proxy),
        Ok(Err(e)) => check_elsewhere(&proxy).or_else(|| Some(format!("{}: {e}", unclear(&e, &proxy)?))),
        Err(panic) => Some(panic),
    }
}

/// The rules without those that are not needed for it to go wrong.
fn fewest(world: &Arc<World>, act: Act, mut rules: Vec<Rule>) -> Vec<Rule> {
    let mut at = 0;
    while at < rules.len() {
        let mut less = rules.clone();
        less.remove(at);
        match wrong(world, act, &less, "shrinking") {
            Some(_) => rules = less,
            None => at += 1,
        }
    }
    rules
}

#[test]
fn random_faults() {
    let world = World::new();
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let mut random = Random(seed);
                    let (act, rules) = (random.of(&ACTS), random.rules());
                    if let Some(why) = wrong(&world, act, &rules, &format!("seed {seed}")) {
                        let rules = fewest(&world, act, rules);
                        let text = format!("seed {seed}: {act:?}: {why}\n  {rules:#?}");
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
