use std::sync::Arc;
use std::time::Duration;

use orlop_store::trace::Trace;
use serde_json::{Value as Json, json};

use super::*;

/// What a trace file holds after `act`; where it is not `ended` the program was killed there.
fn traced(ended: bool, act: impl FnOnce(&Trace)) -> Vec<Json> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.json");
    let recorder = Arc::new(Recorder::new(Some(File::create(&path).unwrap())));
    act(&Trace::to(Arc::clone(&recorder) as Arc<dyn TraceObserver>));
    let killed = std::fs::read_to_string(&path).unwrap();
    recorder.finish().unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Json> = serde_json::from_str(&whole).unwrap_or_else(|e| panic!("{e}: {whole}"));
    match ended {
        true => events,
        // Readers add the end that is missing.
        false => serde_json::from_str(&format!("{killed}]")).unwrap_or_else(|e| panic!("{e}: {killed}")),
    }
}

/// Phase and name of each event that has a thread, or `-`.
fn outline(events: &[Json]) -> Vec<String> {
    let name = |event: &Json| event["name"].as_str().unwrap_or("-").to_owned();
    events.iter().map(|event| format!("{} {}", event["ph"].as_str().unwrap(), name(event))).collect()
}

#[test]
fn a_trace_is_json_in_the_order_of_time() {
    let layer = Digest::of(b"layer");
    let events = traced(true, |trace| {
        let _task = trace.task("[2/3] RUN make");
        let mut span = trace.span("compress", &[("layer", layer.into()), ("as", "gzip-6".into())]);
        trace.moved("uploaded", &layer, 5);
        trace.moved("uploaded", &layer, 9);
        span.add("bytes", 9_u64);
    });
    let expected = [
        "M process_name",
        "M thread_name",
        "B [2/3] RUN make",
        "B compress",
        "C uploaded",
        "C uploaded",
        "E -",
        "E -",
    ];
    assert_eq!(outline(&events), expected);
    assert_eq!(events[0]["args"], json!({ "name": "orlop build" }));
    assert_eq!(events[1]["args"], json!({ "name": "main" }));
    assert_eq!((&events[2]["cat"], &events[3]["cat"]), (&json!("task"), &json!("phase")));
    assert_eq!(events[3]["args"], json!({ "layer": layer.to_string(), "as": "gzip-6" }));
    assert_eq!((&events[5]["args"], &events[6]["args"]), (&json!({ "bytes": 9 }), &json!({ "bytes": 9 })));
    let times: Vec<f64> = events[2..].iter().map(|event| event["ts"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(events.iter().all(|event| event["pid"] == std::process::id()), "{events:?}");
    assert!(events[1..].iter().all(|event| event["tid"] == 1), "{events:?}");
}

#[test]
fn any_title_is_escaped_and_without_passwords() {
    let title = "RUN <<\"E\"\n\tcurl https://me:hunter2@host/\\x\u{1b}[0m \u{2028}é\u{0}";
    let events = traced(true, |trace| {
        let _task = trace.task(title);
        let _span = trace.span("run", &[("what", "https://me:hunter2@host/".into())]);
        let _long = trace.task(&"é".repeat(TITLE + 1));
    });
    let name = events[2]["name"].as_str().unwrap();
    assert_eq!(name, "RUN <<\"E\"  curl https://xxxxx:xxxxx@host/\\x [0m \u{2028}é ");
    assert_eq!(events[3]["args"]["what"], "https://xxxxx:xxxxx@host/");
    assert_eq!(events[4]["name"].as_str().unwrap().chars().count(), TITLE);
}

#[test]
fn what_a_killed_program_leaves_wants_its_end_alone() {
    let events = traced(false, |trace| {
        let span = trace.span("run", &[]);
        drop(trace.span("wait", &[]));
        std::mem::forget(span);
    });
    assert_eq!(outline(&events), ["M process_name", "M thread_name", "B run", "B wait", "E -"]);
}

#[test]
fn spans_of_a_thread_lie_in_each_other_whatever_order_they_are_dropped_in() {
    let events = traced(true, |trace| {
        let outer = trace.task("outer");
        let inner = trace.span("inner", &[]);
        drop(outer);
        drop(inner);
        // One that is dropped elsewhere ends where it began.
        let moved = trace.span("moved", &[]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                trace.thread("other");
                drop(trace.span("there", &[]));
                drop(moved);
            });
        });
        std::mem::forget(trace.span("open", &[]));
    });
    let threads: Vec<u64> = events[1..].iter().map(|event| event["tid"].as_u64().unwrap()).collect();
    let expected = [
        "M process_name",
        "M thread_name",
        "B outer",
        "B inner",
        "E -",
        "E -",
        "B moved",
        "M thread_name",
        "B there",
        "E -",
        "E -",
        "B open",
        "E -",
    ];
    assert_eq!(outline(&events), expected);
    assert_eq!(threads, [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1]);
    assert_eq!(events[7]["args"]["name"], "other");
}

#[test]
fn a_task_counts_as_the_phase_that_it_is_in() {
    let recorder = Arc::new(Recorder::new(None));
    let trace = Trace::to(Arc::clone(&recorder) as Arc<dyn TraceObserver>);
    let pause = || std::thread::sleep(Duration::from_millis(2));
    let key = trace.span("key", &[]);
    let task = trace.task("importing cache");
    pause();
    let import = trace.span("cache import", &[]);
    pause();
    drop((import, task, key));
    let waits = trace.span("wait", &[]);
    pause();
    drop(waits);
    let times = recorder.times();
    let mut phases: Vec<_> = times.iter().map(|time| time.phase).collect();
    phases.sort_unstable();
    assert_eq!(phases, ["cache import", "key"]);
    assert!(times.iter().all(|time| time.time >= Duration::from_millis(2)), "{times:?}");
    recorder.finish().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_at_the_end_and_stops_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let recorder = Arc::new(Recorder::new(Some(full)));
    let trace = Trace::to(Arc::clone(&recorder) as Arc<dyn TraceObserver>);
    drop(trace.span("run", &[]));
    assert_eq!(recorder.times().len(), 1);
    assert_eq!(recorder.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(recorder.finish().is_ok(), "it is told once");
}
