//! The checks of limits.

use std::time::{Duration, Instant};

use super::bench::{Bench, Tried};
use crate::{CancelToken, LimitHit, Limits, RunError};

const MIB: u64 = 1 << 20;

/// An attack within limits, which ends by itself or by one of them.
fn limited(bench: &Bench<'_>, role: &[&str], hits: LimitHit, set: impl FnOnce(&mut Limits)) -> Tried {
    let mut spec = match bench.spec(role) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    set(&mut spec.limits);
    match bench.run(&mut spec, &CancelToken::new(), &mut |_| {}) {
        Ok(ended) if ended.report.limit_hit == Some(hits) => {
            Tried::Closed(format!("the step hit its {hits}; {}", ended.text))
        }
        Ok(ended) => bench.told(ended),
        Err(error @ (RunError::Unconfined { .. } | RunError::LimitUnavailable { .. })) => {
            Tried::Refused(Box::new(error))
        }
        Err(error) => Tried::Broken(error.to_string()),
    }
}

pub(super) fn processes(bench: &Bench<'_>) -> Tried {
    limited(bench, &["processes", "12"], LimitHit::Pids, |limits| limits.pids = Some(4))
}

pub(super) fn memory(bench: &Bench<'_>) -> Tried {
    limited(bench, &["memory", "256"], LimitHit::Memory, |limits| limits.memory = Some(64 * MIB))
}

pub(super) fn process_memory(bench: &Bench<'_>) -> Tried {
    let set = |limits: &mut Limits| limits.process_memory = Some(64 * MIB);
    limited(bench, &["memory", "256"], LimitHit::ProcessMemory, set)
}

pub(super) fn cpu_time(bench: &Bench<'_>) -> Tried {
    let set = |limits: &mut Limits| limits.cpu_time = Some(Duration::from_secs(1));
    match limited(bench, &["spin", "12000"], LimitHit::CpuTime, set) {
        // The role itself cannot tell: it ends when it has used up its time.
        Tried::Closed(seen) if seen.starts_with("used=") => Tried::Open(format!("ran to its end: {seen} ms")),
        other => other,
    }
}

pub(super) fn cpu(bench: &Bench<'_>) -> Tried {
    match limited(bench, &["spin", "3000"], LimitHit::CpuTime, |limits| limits.cpus = Some(0.25)) {
        Tried::Closed(seen) => {
            let number =
                |name: &str| seen.split(' ').find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
            match (number("used="), number("of=")) {
                (Some(used), Some(of)) if used * 100 <= of * 60 => {
                    Tried::Closed(format!("{used} ms of {of} ms"))
                }
                (Some(used), Some(of)) => Tried::Open(format!("{used} ms of {of} ms")),
                _ => Tried::Broken(seen),
            }
        }
        other => other,
    }
}

pub(super) fn wall(bench: &Bench<'_>) -> Tried {
    let start = Instant::now();
    let set = |limits: &mut Limits| limits.wall = Some(Duration::from_secs(1));
    match limited(bench, &["sleep", "20"], LimitHit::Wall, set) {
        Tried::Closed(seen) if start.elapsed() >= Duration::from_secs(15) => Tried::Open(seen),
        Tried::Closed(_) => Tried::Closed(format!("ended after {:.1} s", start.elapsed().as_secs_f64())),
        other => other,
    }
}
