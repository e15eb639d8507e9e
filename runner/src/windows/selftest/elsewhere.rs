//! The checks of what others of the machine do for a step, and of what they see of it.

use std::fs;
use std::time::Duration;

use super::attack;
use super::bench::{Bench, Ended, Tried};
use crate::windows::identity::{Calls, Windows};
use crate::{CancelToken, RunError};

/// A process that a service starts for the step: it writes its own id beside its program, and stays.
pub(super) fn started(bench: &Bench<'_>, service: &str) -> Tried {
    let name = attack::entry_name();
    let mut spec = match bench.spec(&[service, &name]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    // Several tools one after the other, and some are slow when they start for the first time.
    spec.limits.wall = Some(Duration::from_secs(90));
    let mark = spec.root.join(attack::MARK);
    let tried = bench.attack_with(spec);
    attack::clear(service, &name);
    let marked = fs::read_to_string(&mark).ok();
    match (marked.as_deref().map(|text| text.trim().parse::<u32>()), tried) {
        (Some(Ok(pid)), _) if attack::alive(pid) => {
            attack::end_own(pid);
            Tried::Open("a process was started outside of the job, and lived on after the step".into())
        }
        (Some(_), Tried::Closed(_) | Tried::Open(_)) => {
            Tried::Closed("a process was started outside of the job, and ended with the step".into())
        }
        (_, tried) => tried,
    }
}

/// Drive letters that the step defines.
pub(super) fn letters(bench: &Bench<'_>) -> Tried {
    let seen = |letter| Windows.has_letter(None, letter);
    let Some(letter) = ('D'..='Y').rev().find(|letter| seen(*letter) == Ok(false)) else {
        return Tried::Absent("every letter is taken".into());
    };
    let tried =
        bench.against(&["define-letter", &letter.to_string(), "20"], |said| match (said, seen(letter)) {
            (_, Ok(true)) => Tried::Open("a letter that the step defines is everybody's".into()),
            ("defined", Ok(false)) => Tried::Closed("it can define one, which nobody else sees".into()),
            (_, Err(failure)) => Tried::Broken(failure.to_string()),
            (said, Ok(false)) => Tried::Closed(said.to_owned()),
        });
    if seen(letter) != Ok(false) {
        attack::remove_letter(letter);
    }
    tried
}

/// The root on a letter of the step's own.
pub(super) fn own_letter(bench: &Bench<'_>) -> Tried {
    let mut spec = match bench.spec(&["letter"]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    spec.windows.drive_letter = true;
    let mut others = None;
    let ended = bench.run(&mut spec, &CancelToken::new(), &mut |line| {
        let letter = line.strip_prefix("on ").and_then(|rest| rest.chars().next());
        others = others.take().or(letter.map(|letter| Windows.has_letter(None, letter)));
    });
    let Ended { report, text } = match ended {
        Ok(ended) => ended,
        Err(error) => return Tried::Broken(error.to_string()),
    };
    let why = report.view.as_deref().and_then(|view| view.split("on no drive letter: ").nth(1));
    match (others, why) {
        (Some(Ok(false)), None) => Tried::Closed(format!("{text}; the builder does not see it")),
        (Some(Ok(true)), _) => Tried::Open(format!("{text}; the builder sees it too")),
        (None, Some(why)) => Tried::Lacking(text, why.to_owned()),
        _ => Tried::Broken(format!("{}: {text}", report.exit)),
    }
}

/// A second job over the root of one that runs.
pub(super) fn second_job(bench: &Bench<'_>) -> Tried {
    let mut first = match bench.spec(&["sleep", "20"]) {
        Ok(spec) => spec,
        Err(why) => return Tried::Broken(why),
    };
    let root = first.root.clone();
    let stop = CancelToken::new();
    let mut tried = None;
    let ended = bench.run(&mut first, &stop, &mut |_| {
        let second = bench.spec_over(root.clone(), &["exit", "0"]);
        let second = second.map(|mut spec| {
            spec.limits.wall = Some(Duration::from_secs(10));
            bench.run(&mut spec, &CancelToken::new(), &mut |_| {})
        });
        tried = Some(match second {
            Ok(Err(RunError::Setup { .. })) => Tried::Closed("the second is refused".into()),
            Ok(Ok(_)) => Tried::Open("both run".into()),
            Ok(Err(error)) => Tried::Broken(error.to_string()),
            Err(why) => Tried::Broken(why),
        });
        stop.kill();
    });
    match (tried, ended) {
        (Some(tried), _) => tried,
        (None, Ok(ended)) => Tried::Broken(ended.text),
        (None, Err(error)) => Tried::Broken(error.to_string()),
    }
}
