//! `--trace FILE`, and the summary's line of where the time went. No test looks at how long anything takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use orlop_fixtures::registry;
use orlop_fixtures::tool::{run as run_tool, tool};
use serde_json::Value;

use crate::{FROM, base, build, build_as, env, image_of, snapshot};

/// A span of a trace.
#[derive(Debug)]
struct Span {
    name: String,
    is_task: bool,
    thread: u64,
    from: f64,
    to: f64,
    /// The names of the spans around it, the outermost first.
    around: Vec<String>,
    values: serde_json::Map<String, Value>,
}

/// A trace, found right as one.
struct Trace {
    spans: Vec<Span>,
    /// The last values of counters.
    counters: BTreeMap<String, u64>,
    text: String,
}

impl Trace {
    /// Reads a trace that is whole.
    #[track_caller]
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a trace");
        let (trace, open) = Self::of(&text);
        assert_eq!(open, Vec::<String>::new(), "what began has ended: {text}");
        trace.adds_up();
        trace
    }

    /// What the text says, and what it says of spans that have no end. Spans of a thread lie in each other and have
    /// their times in order, so that those in another are never longer than that together.
    #[track_caller]
    fn of(text: &str) -> (Self, Vec<String>) {
        let events: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let (mut spans, mut counters) = (Vec::new(), BTreeMap::new());
        let mut open: BTreeMap<u64, Vec<Span>> = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut last = 0.0;
        for event in &events {
            let (field, thread) = (|name: &str| event[name].as_str().unwrap_or_default(), &event["tid"]);
            assert!(event["pid"].is_u64(), "{event}");
            if field("name") == "process_name" {
                continue;
            }
            let (thread, at) = (thread.as_u64().expect("a thread"), event["ts"].as_f64().expect("a time"));
            assert!(at >= last, "times are in order: {event}");
            last = at;
            let stack = open.entry(thread).or_default();
            let mut values = event["args"].as_object().cloned().unwrap_or_default();
            match field("ph") {
                "M" => assert!(field("name") == "thread_name" && named.insert(thread), "{event}"),
                "B" => {
                    assert!(named.contains(&thread), "a thread has a name first: {event}");
                    let around = stack.iter().map(|span| span.name.clone()).collect();
                    let (name, is_task) = (field("name").to_owned(), field("cat") == "task");
                    stack.push(Span { name, is_task, thread, from: at, to: at, around, values });
                }
                "E" => {
                    let mut span = stack.pop().unwrap_or_else(|| panic!("it ends and never began: {event}"));
                    span.to = at;
                    span.values.append(&mut values);
                    spans.push(span);
                }
                "C" => {
                    let value = values["bytes"].as_u64().expect("a number");
                    let before = counters.insert(field("name").to_owned(), value);
                    assert!(before.is_none_or(|before| before <= value), "{event}");
                }
                _ => panic!("what is this? {event}"),
            }
        }
        let open = open.into_values().flatten().map(|span| span.name).collect();
        (Self { spans, counters, text: text.to_owned() }, open)
    }

    /// What a thread does inside a span, and at all, takes no longer together than what it is in.
    #[track_caller]
    fn adds_up(&self) {
        let took = |span: &Span| span.to - span.from;
        let inner = |span: &Span, other: &Span| {
            let lies = other.thread == span.thread && other.from >= span.from && other.to <= span.to;
            lies && other.around.len() == span.around.len() + 1
        };
        // Of digits that are cut off.
        let grain = |count: usize| 0.001 * (count + 1) as f64;
        for span in &self.spans {
            let inside: Vec<f64> = self.spans.iter().filter(|other| inner(span, other)).map(took).collect();
            assert!(inside.iter().sum::<f64>() <= took(span) + grain(inside.len()), "{span:?}");
        }
        let threads: BTreeSet<u64> = self.spans.iter().map(|span| span.thread).collect();
        let end = self.spans.iter().map(|span| span.to).fold(0.0, f64::max);
        for thread in threads {
            let outer = self.spans.iter().filter(|span| span.thread == thread && span.around.is_empty());
            let all: Vec<f64> = outer.map(took).collect();
            assert!(all.iter().sum::<f64>() <= end + grain(all.len()), "thread {thread} in {}", self.text);
        }
    }

    fn phases(&self) -> BTreeSet<&str> {
        self.spans.iter().filter(|span| !span.is_task).map(|span| span.name.as_str()).collect()
    }

    /// The task whose title ends so.
    #[track_caller]
    fn task(&self, end: &str) -> &Span {
        let mut found = self.spans.iter().filter(|span| span.is_task && span.name.ends_with(end));
        let one = found.next().unwrap_or_else(|| panic!("no `{end}` in {}", self.text));
        assert!(found.next().is_none(), "several `{end}` in {}", self.text);
        one
    }

    /// The phases right in that task.
    fn inside(&self, task: &Span) -> Vec<&str> {
        let inside = |span: &&Span| span.around.last() == Some(&task.name) && span.thread == task.thread;
        self.spans.iter().filter(inside).map(|span| span.name.as_str()).collect()
    }
}

/// The phases of a summary, which are those of its trace.
#[track_caller]
fn times<'t>(stderr: &'t str, trace: &Trace) -> Vec<&'t str> {
    let line = stderr.lines().find_map(|line| line.strip_prefix("time     "));
    let line = line.unwrap_or_else(|| panic!("no line of where the time went in {stderr}"));
    let phases: Vec<&str> = line.split(", ").filter_map(|time| Some(time.rsplit_once(' ')?.0)).collect();
    assert!(phases.iter().all(|phase| trace.phases().contains(phase)), "{line}");
    phases
}

#[test]
fn every_phase_of_a_build_is_in_its_trace() {
    let (env, registry) = (env(), registry::start());
    registry.fill(base(), "base:1");
    env.file("context/a", "a");
    env.file("context/b", "bb");
    let text = "ARG BASE\nFROM $BASE AS first\nRUN sleep 0.1 && echo one > /one\n\
                FROM $BASE\nCOPY --from=first /one /one\nCOPY . /all\nWORKDIR /made\n";
    let (name, cache) = (registry.name("app:1"), registry.name("app:cache"));
    let traced = |file: &str| {
        build_as(&env, text, &registry.name("base:1"), &name)
            .args([
                "--push",
                "--cache-from",
                &cache,
                "--cache-to",
                &format!("type=registry,ref={cache},mode=max"),
            ])
            .arg("-o")
            .arg(format!("type=oci,dest={}", env.path("image.tar").display()))
            .args(["--trace", file])
            .run()
            .success()
    };
    let first = traced("trace.json");
    let trace = Trace::read(&env.path("trace.json"));
    let all = [
        "open",
        "plan",
        "resolve",
        "scan",
        "key",
        "cache import",
        "cache export",
        "pull",
        "download",
        "unpack",
        "index",
        "verify",
        "prepare",
        "run",
        "copy",
        "diff",
        "hash",
        "commit",
        "sync",
        "compress",
        "upload",
        "output",
        "unmount",
        "cleanup",
        "wait",
    ];
    for phase in all {
        assert!(trace.phases().contains(phase), "no `{phase}` in {}", trace.text);
    }
    let shown = times(&first.stderr, &trace);
    assert!(!shown.contains(&"wait") && !shown.contains(&"pull"), "who waits does nothing: {shown:?}");

    let run = trace.task("RUN sleep 0.1 && echo one > /one");
    let inside = trace.inside(run);
    let order = ["key", "prepare", "run", "diff", "commit"];
    let at = |phase| inside.iter().position(|inside| *inside == phase);
    assert!(order.map(at).is_sorted() && order.iter().all(|phase| at(phase).is_some()), "{inside:?}");
    assert_eq!(run.values["outcome"], "done");
    let layer = run.values["layer"].as_str().expect("a layer");
    assert!(trace.spans.iter().any(|s| s.name == "compress" && s.values["layer"] == layer), "{layer}");
    let copy = trace.task("COPY . /all");
    assert!(["scan", "key", "copy"].iter().all(|phase| trace.inside(copy).contains(phase)), "{copy:?}");
    let scan =
        trace.spans.iter().find(|s| s.name == "scan" && s.around.contains(&copy.name)).expect("a scan");
    assert_eq!((&scan.values["bytes"], &scan.values["hashed"]), (&3.into(), &3.into()), "{scan:?}");
    for span in &trace.spans {
        // The store is opened before there is anything to do, and closed when all is done.
        let alone =
            ["open", "plan", "output", "wait", "cleanup", "cache export"].contains(&span.name.as_str());
        let elsewhere = ["download", "read", "compress", "upload", "unpack", "verify", "sync"];
        let helper = span.thread != 1 && elsewhere.contains(&span.name.as_str());
        assert!(span.is_task || alone || helper || !span.around.is_empty(), "{span:?}");
    }
    for counter in ["downloaded", "uploaded"] {
        assert!(trace.counters[counter] > 1000, "{:?}", trace.counters);
    }

    // Nothing is done the second time but what is asked for.
    let second = traced("again.json");
    let again = Trace::read(&env.path("again.json"));
    for phase in ["run", "copy", "diff", "compress", "download", "unpack"] {
        assert!(!again.phases().contains(phase), "`{phase}` in {}", again.text);
    }
    assert_eq!(again.task("COPY . /all").values["outcome"], "cached");
    second.never_says("\ntime ");
}

#[test]
fn a_large_layer_that_will_be_pushed_is_compressed_while_the_next_step_runs() {
    let (env, registry) = (env(), registry::start());
    registry.fill(base(), "base:1");
    let noise: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(n | 1).to_be_bytes()).collect();
    fs::create_dir_all(env.path("context")).expect("a directory");
    fs::write(env.path("context/large"), &noise).expect("a file");
    env.file("context/small", "small");
    let text = "ARG BASE\nFROM $BASE\nCOPY small /\nCOPY large /\nRUN sleep 2\n";
    let pushed = |file: &str, more: &[&str]| {
        build_as(&env, text, &registry.name("base:1"), &registry.name("app:1"))
            .args(more)
            .args(["--trace", file])
            .run()
            .success();
        Trace::read(&env.path(file))
    };
    let trace = pushed("trace.json", &["--push"]);
    let layer = |step: &str| trace.task(step).values["layer"].clone();
    let compressed = |layer: &Value| {
        let all = trace.spans.iter().filter(|s| s.name == "compress" && s.values["layer"] == *layer);
        let all: Vec<_> = all.collect();
        assert_eq!(all.len(), 1, "once: {}", trace.text);
        all[0]
    };
    let run = trace.task("RUN sleep 2");
    assert!(compressed(&layer("COPY large /")).to < run.to, "{}", trace.text);
    // One for which that is not worth it waits for its turn.
    assert!(compressed(&layer("COPY small /")).from > run.to, "{}", trace.text);
    // What nobody will push is not compressed.
    let kept = pushed("kept.json", &["--no-cache"]);
    assert!(!kept.phases().contains("compress"), "{}", kept.text);
}

#[test]
fn a_build_that_fails_leaves_its_trace() {
    let env = env();
    let run = build(&env, &format!("{FROM}RUN true\nRUN echo no; false\n"));
    run.args(["--trace", "trace.json"]).run().code(1).says("exit code: 1");
    let trace = Trace::read(&env.path("trace.json"));
    let failed = trace.task("RUN echo no; false");
    assert_eq!(failed.values["outcome"], "failed");
    let job = trace.spans.iter().find(|s| s.name == "run" && s.around.contains(&failed.name)).expect("a job");
    assert_eq!(job.values["exit code"], 1, "{job:?}");
    assert_eq!(trace.task("RUN true").values["outcome"], "done");
}

#[test]
fn a_build_that_is_killed_leaves_all_up_to_then() {
    let env = env();
    let mut running = build(&env, &format!("{FROM}RUN echo now-waiting; sleep 100\n"))
        .args(["--trace", "trace.json"])
        .start();
    assert!(running.until(|run| run.stderr().lines().any(|line| line.ends_with(" now-waiting"))));
    running.kill();
    let text = fs::read_to_string(env.path("trace.json")).expect("a trace");
    // Readers do without the end of the array.
    let (trace, open) = Trace::of(&format!("{text}]"));
    assert!(trace.phases().contains("prepare"), "{text}");
    let [step, job] = open.as_slice() else { panic!("{open:?}") };
    assert!(step.ends_with("RUN echo now-waiting; sleep 100") && job == "run", "{open:?}");
}

#[test]
fn no_secret_is_in_a_trace() {
    let env = env();
    env.file("token", "SECRET-of-a-file");
    let text = "RUN --mount=type=secret,id=token --mount=type=secret,id=other,env=OTHER \
                cat /run/secrets/token; echo $OTHER\nARG PASSWORD\nENV AGAIN=$PASSWORD\n\
                RUN echo $PASSWORD > /dev/null; : https://user:SECRET-of-a-url@host/x\n\
                COPY --chown=0 <<EOF /$PASSWORD\n$PASSWORD\nEOF\nWORKDIR /w/$AGAIN\n\
                ADD https://user:SECRET-of-add@127.0.0.1:1/x /x\n";
    let run = build(&env, &format!("{FROM}{text}"))
        .args(["--secret", "id=token,src=token", "--secret", "id=other,env=ORLOP_OTHER"])
        .env("ORLOP_OTHER", "SECRET-of-the-environment")
        .args(["--build-arg", "PASSWORD=SECRET-of-an-argument", "--trace", "trace.json"]);
    // It fails where it would download: by then all the others were done.
    let run = run.run().code(1);
    assert!(run.stderr.contains("SECRET-of-a-file"), "the step had it: {run}");
    let trace = Trace::read(&env.path("trace.json"));
    assert!(trace.task("WORKDIR /w/$AGAIN").values["outcome"] == "done", "{}", trace.text);
    assert!(!trace.text.contains("SECRET"), "{}", trace.text);
    assert!(trace.text.contains("https://xxxxx:xxxxx@host/x"), "{}", trace.text);
}

#[test]
fn a_trace_is_no_part_of_the_context() {
    let env = env();
    env.file("context/sub/a", "a");
    env.file("context/trace.json", "an old one, longer than nothing");
    let text = format!("{FROM}COPY . /all\nRUN --mount=type=bind,target=/m cp -r /m /mounted\n");
    let traced = |file: &str| build(&env, &text).args(["--trace", file]);
    let opened = image_of(&env, traced("context/sub/my trace [1].json"));
    assert_eq!(opened.text("/all/sub/a"), "a");
    for dir in ["/all", "/mounted"] {
        assert!(opened.has(&format!("{dir}/trace.json")), "{dir}");
        assert!(!opened.has(&format!("{dir}/sub/my trace [1].json")), "{dir}");
    }
    // Else it would be another context each time.
    traced("context/sub/my trace [1].json").run().success().says("2 cached, 0 run");
    // Where a link leads counts.
    std::os::unix::fs::symlink("context/trace.json", env.path("link")).expect("a link");
    let opened = image_of(&env, traced("link"));
    assert!(!opened.has("/all/trace.json") && opened.has("/all/sub/my trace [1].json"));
    Trace::read(&env.path("context/trace.json"));
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_built() {
    let env = env();
    let text = format!("{FROM}RUN true\n");
    let run = build(&env, &text).args(["--trace", "no/such/trace.json"]).run().code(1);
    snapshot::check(&env, "trace-no-such-directory", &run);
    let run = build(&env, &text).args(["--trace", "-"]).run().code(2);
    snapshot::check(&env, "trace-to-standard-output", &run);
    build(&env, &text)
        .args(["--trace", "trace.json", "--check"])
        .run()
        .code(2)
        .says("`--trace` is for builds");
    assert!(!env.path("trace.json").exists());
    build(&env, &text).args(["--trace", "."]).run().code(1).says("Is a directory");
}

#[test]
fn a_disk_that_fills_up_costs_the_trace_and_not_the_build() {
    let env = env();
    let run = build(&env, &format!("{FROM}RUN true\n")).args(["--trace", "/dev/full"]).run().success();
    let run = run.says("warning: the trace `/dev/full` is not whole: No space left on device");
    assert_eq!(run.stderr.matches("/dev/full").count(), 1, "{run}");
    // Of a file what fits is there, and no half of an event.
    run_tool(tool("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(env.dir("small")));
    let text = format!("{FROM}{}", "RUN date +%N > /now\n".repeat(5));
    let run = build(&env, &text).args(["--trace", "small/trace.json"]).run().success();
    run.says("warning: the trace `small/trace.json` is not whole: No space left on device");
    let text = fs::read_to_string(env.path("small/trace.json")).expect("a trace");
    assert!(text.len() > 3000 && text.ends_with('}'), "{text}");
    Trace::of(&format!("{text}]"));
}

#[test]
fn a_reader_that_goes_away_stops_nothing() {
    let env = env();
    let pipe = env.path("pipe");
    run_tool(tool("mkfifo").arg(&pipe));
    let reader = std::thread::spawn(move || {
        use std::io::Read;
        let mut first = [0; 10];
        fs::File::open(pipe).and_then(|mut pipe| pipe.read_exact(&mut first)).map(|()| first)
    });
    let run = build(&env, &format!("{FROM}RUN sleep 0.2\n")).args(["--trace", "pipe"]).run().success();
    run.says("warning: the trace `pipe` is not whole: Broken pipe");
    assert_eq!(&reader.join().expect("a reader").expect("an event"), b"[\n{\"ph\":\"M");
}
