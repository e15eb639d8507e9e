//! Each fault at each kind of request, once and for ever.

#![expect(clippy::disallowed_methods, reason = "a variable says which cases to look at")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orlop_fixtures::fault_proxy::{Fault, Framing, Kind, Phase, Reply};

use super::{Act, World, check_elsewhere, in_time, start, unclear};

/// Cases at one time: nearly all of them wait.
const THREADS: usize = 48;

/// Kinds of requests, and whether each fault happens there once and for ever, or a third of them, once: so each one
/// meets several of the kinds that are answered alike.
const KINDS: &[(Act, Kind, bool)] = &[
    (Act::Pull, Kind::Ping, false),
    (Act::Pull, Kind::GetManifest, true),
    (Act::Pull, Kind::GetBlob, true),
    (Act::Head, Kind::HeadManifest, false),
    (Act::Push, Kind::HeadBlob, false),
    (Act::Push, Kind::StartUpload, true),
    (Act::Push, Kind::PutBlob, true),
    (Act::Push, Kind::PutManifest, true),
    (Act::PushInChunks, Kind::Patch, true),
    (Act::PushInChunks, Kind::PutBlob, false),
    (Act::PushAgain, Kind::UploadStatus, false),
    (Act::PushAgain, Kind::Patch, false),
    (Act::PushByMount, Kind::Mount, false),
    (Act::Tags, Kind::Tags, false),
    (Act::Referrers, Kind::Referrers, false),
    (Act::Delete, Kind::Delete, false),
    (Act::PullRedirected, Kind::GetBlob, false),
    (Act::PullWithToken, Kind::Token, true),
    (Act::PullWithToken, Kind::GetManifest, false),
    (Act::PullWithToken, Kind::GetBlob, false),
    (Act::PushWithToken, Kind::StartUpload, false),
    (Act::PushWithToken, Kind::PutBlob, false),
    (Act::PushWithToken, Kind::PutManifest, false),
];

/// Whether something may end in an error when it happened once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once {
    /// It passes, and the next attempt is right.
    Passes,
    /// The registry's word counts.
    Final,
}

use Once::{Final, Passes};

fn faults(elsewhere: &str, here: &str) -> Vec<(&'static str, Once, Fault)> {
    let answer = |status, code: &str| Fault::Answer(Reply::new(status, code));
    let after = |status, value: &str| {
        Fault::Answer(Reply::new(status, "TOOMANYREQUESTS").header("Retry-After", value))
    };
    let digest = format!("sha256:{}", "ab".repeat(32));
    let ms = Duration::from_millis;
    vec![
        ("cut when connected", Passes, Fault::Cut(Phase::Connected)),
        ("cut in the request's head", Passes, Fault::Cut(Phase::RequestHead)),
        ("cut before the request's body", Passes, Fault::Cut(Phase::RequestBody(0))),
        ("cut in the request's body", Passes, Fault::Cut(Phase::RequestBody(30))),
        ("cut late in the request's body", Passes, Fault::Cut(Phase::RequestBody(150_000))),
        ("cut before the answer", Passes, Fault::Cut(Phase::BeforeAnswer)),
        ("cut in the answer's head", Passes, Fault::Cut(Phase::AnswerHead)),
        ("cut before the answer's body", Passes, Fault::Cut(Phase::AnswerBody(0))),
        ("cut in the answer's body", Passes, Fault::Cut(Phase::AnswerBody(20))),
        ("cut late in the answer's body", Passes, Fault::Cut(Phase::AnswerBody(150_000))),
        ("cut after the answer", Passes, Fault::Cut(Phase::AfterAnswer)),
        ("stall when connected", Passes, Fault::Stall(Phase::Connected)),
        ("stall in the request's body", Passes, Fault::Stall(Phase::RequestBody(30))),
        ("stall before the answer", Passes, Fault::Stall(Phase::BeforeAnswer)),
        ("stall in the answer's head", Passes, Fault::Stall(Phase::AnswerHead)),
        ("stall in the answer's body", Passes, Fault::Stall(Phase::AnswerBody(20))),
        ("delay", Passes, Fault::Delay(ms(100))),
        ("a byte at a time, head", Passes, Fault::Trickle(Phase::AnswerHead, ms(50))),
        ("a byte at a time, body", Passes, Fault::Trickle(Phase::AnswerBody(0), ms(50))),
        ("a byte at a time, request", Passes, Fault::Trickle(Phase::RequestBody(10), ms(50))),
        ("too short by its own account", Passes, Fault::Truncate(10, Framing::Lie)),
        ("too short, chunks without an end", Passes, Fault::Truncate(10, Framing::Chunks)),
        ("too short, no length", Passes, Fault::Truncate(10, Framing::Close)),
        ("another byte", Final, Fault::Flip(15)),
        ("another byte sent", Passes, Fault::FlipRequest(15)),
        ("400", Final, answer(400, "NAME_INVALID")),
        ("401", Final, answer(401, "UNAUTHORIZED")),
        (
            "401 with basic",
            Final,
            Fault::Answer(Reply::new(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"x\"")),
        ),
        ("403", Final, answer(403, "DENIED")),
        ("404", Final, answer(404, "NAME_UNKNOWN")),
        ("404, upload unknown", Final, answer(404, "BLOB_UPLOAD_UNKNOWN")),
        ("405", Final, answer(405, "UNSUPPORTED")),
        ("408", Passes, answer(408, "TIMEOUT")),
        ("413", Final, answer(413, "SIZE_INVALID")),
        ("413 early", Final, Fault::Answer(Reply::page(413).early())),
        ("416", Final, answer(416, "RANGE_INVALID")),
        ("429", Passes, answer(429, "TOOMANYREQUESTS")),
        ("429, a second", Passes, after(429, "1")),
        ("429, a date", Passes, after(429, "Sun, 06 Nov 1994 08:49:37 GMT")),
        ("429, a day", Final, after(429, "86400")),
        ("429, less than nothing", Passes, after(429, "-5")),
        ("429, soon", Passes, after(429, "soon")),
        ("500", Passes, answer(500, "UNKNOWN")),
        ("500 early", Passes, Fault::Answer(Reply::new(500, "UNKNOWN").early())),
        ("502, a page", Passes, Fault::Answer(Reply::page(502))),
        ("503", Passes, answer(503, "UNAVAILABLE")),
        ("504, done all the same", Passes, Fault::AnswerInstead(Reply::page(504))),
        ("204", Final, Fault::Answer(Reply::new(204, ""))),
        ("200 and a page", Final, Fault::Answer(Reply::page(200))),
        ("another digest", Final, Fault::header("Docker-Content-Digest", digest)),
        ("a digest that is none", Final, Fault::header("Docker-Content-Digest", "md5:1")),
        ("a length too large", Final, Fault::header("Content-Length", "999999999")),
        ("a length too small", Passes, Fault::header("Content-Length", "3")),
        ("no length", Final, Fault::header("Content-Length", "")),
        ("a length that is none", Passes, Fault::header("Content-Length", "-1")),
        (
            "a range that lies",
            Final,
            Fault::Headers(vec![
                ("Content-Range".into(), "bytes 7-99/100".into()),
                ("Range".into(), "0-99999999".into()),
            ]),
        ),
        ("a range that goes back", Passes, Fault::header("Range", "0-5")),
        ("no range", Passes, Fault::header("Range", "")),
        ("a type that is none", Passes, Fault::header("Content-Type", "text/html")),
        (
            "no location",
            Final,
            Fault::Headers(vec![
                ("Location".into(), String::new()),
                ("Docker-Upload-UUID".into(), String::new()),
            ]),
        ),
        ("a location that is none", Final, Fault::header("Location", "file:///etc/passwd")),
        (
            "a location elsewhere",
            Final,
            Fault::header("Location", format!("http://{elsewhere}/v2/team/x/blobs/uploads/1?state=hunter2")),
        ),
        ("a head without end", Passes, Fault::EndlessHead),
        ("a body without end", Final, Fault::EndlessBody),
        ("an error without end", Passes, Fault::EndlessError(500)),
        ("a refusal without end", Final, Fault::EndlessError(403)),
        ("many answers before the answer", Passes, Fault::Informational(20)),
        ("HTTP/1.0", Passes, Fault::Old),
        ("no HTTP", Final, Fault::Garbage),
        ("a redirect elsewhere", Passes, Fault::Redirect(307, format!("http://{elsewhere}"))),
        ("a redirect to itself", Final, Fault::Redirect(302, format!("http://{here}"))),
        ("a redirect to nobody", Final, Fault::Redirect(307, "http://127.0.0.1:1".into())),
        ("a redirect that is none", Final, Fault::Redirect(302, "nowhere:".into())),
        ("a redirect with a password", Final, Fault::Redirect(302, format!("http://x:hunter2@{elsewhere}"))),
    ]
}

/// Kinds at which a refusal that was not meant so is passed over, or asked for in another way.
fn shrugged_off(kind: Kind, name: &str) -> bool {
    match kind {
        // HEAD and mount only save time.
        Kind::HeadBlob | Kind::HeadManifest | Kind::Mount => {
            !name.contains("a redirect") && !matches!(name, "429, a day" | "another digest")
        }
        Kind::UploadStatus => true,
        _ => false,
    }
}

/// Kinds at which nothing tells that what came was not meant so.
fn counts(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Tags | Kind::Token => name.contains("too short") || name == "a length too small",
        Kind::PutManifest => name == "another byte sent",
        _ => false,
    }
}

struct Case {
    act: Act,
    kind: Kind,
    name: &'static str,
    once: Once,
    times: u32,
    number: usize,
}

#[test]
fn every_fault_at_every_request() {
    let world = World::new();
    // `ORLOP_FAULTS="Push PutManifest"` is for looking at some.
    let only = std::env::var("ORLOP_FAULTS").ok();
    let mut cases = Vec::new();
    for (place, (act, kind, all)) in KINDS.iter().enumerate() {
        for (number, (name, once, _)) in faults("", "").into_iter().enumerate() {
            if !all && (place + number) % 3 != 0 {
                continue;
            }
            // Nobody can tell that such an answer to DELETE is not the registry's.
            if *kind == Kind::Delete && matches!(name, "204" | "200 and a page") {
                continue;
            }
            for times in if *all { &[1, u32::MAX][..] } else { &[1] } {
                let what = format!("{act:?} {kind:?} {name} x{times}");
                if only.as_ref().is_some_and(|only| !what.contains(only.as_str())) {
                    continue;
                }
                cases.push(Case { act: *act, kind: *kind, name, once, times: *times, number });
            }
        }
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ends = Mutex::new(BTreeMap::<bool, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what = format!("{:?} {:?} {} x{}", case.act, case.kind, case.name, case.times);
                    match run(&world, case, &what, 1).or_else(|why| {
                        match why.contains("within the time limit") {
                            // A machine that is busy is no fault of the client's.
                            true => run(&world, case, &what, 10),
                            false => Err(why),
                        }
                    }) {
                        Ok(passed) => *ends.lock().unwrap().entry(passed).or_default() += 1,
                        Err(why) => failures.lock().unwrap().push(format!("{what}: {why}")),
                    }
                }
            });
        }
    });
    // A table that only passes, or never does, tests nothing.
    assert!(only.is_some() || ends.into_inner().unwrap().len() == 2);
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Whether it ended well; an error that must not be.
fn run(world: &Arc<World>, case: &Case, what: &str, slow: u32) -> Result<bool, String> {
    let proxy = Arc::new(start(world, case.act));
    let (_, _, fault) = faults(&proxy.elsewhere(), &proxy.host()).swap_remove(case.number);
    proxy.rule(case.kind, 0, case.times, fault);
    let config = case.act.config(&proxy, slow);
    let (world, through, act) = (Arc::clone(world), Arc::clone(&proxy), case.act);
    let end = in_time(what, move || act.run(&world, &through, config))?;
    if let Some(leak) = check_elsewhere(&proxy) {
        return Err(leak);
    }
    match end {
        Ok(()) => Ok(true),
        Err(e) => {
            let passes = case.once == Passes && !counts(case.kind, case.name);
            if case.times == 1 && (passes || shrugged_off(case.kind, case.name)) {
                return Err(format!("must pass: {e}: {:?}", std::error::Error::source(&e)));
            }
            unclear(&e, &proxy).map_or(Ok(false), |why| Err(format!("{why}: {e}: {e:?}")))
        }
    }
}
