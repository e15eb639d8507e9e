//! Where COPY reads from, when it is no directory: standard input, a URL, a git repository.

use std::fs;
use std::io::Write;
use std::path::Path;

use orlop_fixtures::tarball::{Entry, Kind, archive};
use orlop_fixtures::test_env::{Invocation, Run, Running, TestEnv};
use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::web::{self, Page};
use rustix::process::Signal;

use crate::{Opened, env, image_of, peak_memory, snapshot};

const COPY_ALL: &str = "FROM scratch\nCOPY . /all/\n";

/// `orlop build -t built -` with these bytes on standard input.
fn piped<'a>(env: &'a TestEnv, input: &[u8]) -> Invocation<'a> {
    let file = env.file("input", input);
    env.orlop(["build", "--progress=plain", "-t", "built", "-"]).input(file)
}

/// `orlop build -t built CONTEXT`.
fn build_at<'a>(env: &'a TestEnv, context: &str) -> Invocation<'a> {
    env.orlop(["build", "--progress=plain", "-t", "built", context])
}

fn filter(program: &str, args: &[&str], bytes: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| std::io::Seek::rewind(&mut file)).expect("write");
    run(tool(program).args(args).stdin(file)).stdout
}

/// The message is as it should be, nothing half-made is left, and the next build works.
#[track_caller]
fn refused(env: &TestEnv, name: &str, run: Run, says: &[&str]) {
    snapshot::check(env, name, &run);
    refused_late(env, run, says);
}

/// The same where it takes so long that progress is told of, more or less of it.
#[track_caller]
fn refused_late(env: &TestEnv, run: Run, says: &[&str]) {
    let run = says.iter().fold(run, |run, text| run.says(text));
    assert_eq!(run.stdout, "", "standard output carries results only");
    nothing_left(env);
    let list = env.orlop(["images"]).run().success().stdout;
    assert!(!list.contains("built"), "a failed build left an image: {list}");
    piped(env, &archive(&[Entry::file("Dockerfile", COPY_ALL)])).run().success();
    nothing_left(env);
}

/// Nothing that was unpacked is left in the store.
#[track_caller]
fn nothing_left(env: &TestEnv) {
    let left: Vec<_> = fs::read_dir(env.store().join("work"))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("context"))
        .collect();
    assert!(left.is_empty(), "left in `work`: {left:?}");
}

fn context() -> Vec<u8> {
    archive(&[
        Entry::file("./Dockerfile", COPY_ALL),
        Entry::dir("./d").mode(0o750),
        Entry::file("./d/file", "in a directory").mode(0o640).owner(1234, 5678),
        Entry::symlink("./d/link", "file"),
        Entry::hard("./again", "./d/file").mode(0o640),
    ])
}

#[test]
fn an_archive_of_any_compression_is_a_context() {
    let env = env();
    let tar = context();
    let first = image_of(&env, piped(&env, &tar));
    assert_eq!(first.text("/all/d/file"), "in a directory");
    assert_eq!(first.at("/all/d/link").link.as_deref(), Some("file"));
    assert_eq!(
        (first.at("/all/d").mode.as_deref(), first.at("/all/d/file").mode.as_deref()),
        (Some("0750"), Some("0640"))
    );
    // As for every context: whoever packed it is nobody in the image.
    assert_eq!((first.at("/all/d/file").uid, first.at("/all/d/file").gid), (0, 0));
    assert_eq!(first.text("/all/again"), "in a directory");
    for (program, args) in [("gzip", &["-c"][..]), ("bzip2", &["-c"]), ("xz", &["-c"]), ("zstd", &["-cq"])] {
        // The same content is the same step, however it came.
        let run = piped(&env, &filter(program, args, &tar)).run().success();
        run.says("CACHED");
    }
    nothing_left(&env);
}

#[test]
fn the_dockerfile_may_be_anywhere_in_an_archive() {
    let env = env();
    let tar = archive(&[
        Entry::file("Dockerfile", "FROM nowhere\n"),
        Entry::file("build/app.Dockerfile", "FROM scratch\nCOPY build/x /x\n"),
        Entry::file("build/x", "x"),
        Entry::symlink("linked", "/build/app.Dockerfile"),
    ]);
    for file in ["build/app.Dockerfile", "/build/app.Dockerfile", "linked"] {
        let built = image_of(&env, piped(&env, &tar).args(["-f", file]));
        assert_eq!(built.text("/x"), "x", "{file}");
    }
    let other = archive(&[Entry::file("dockerfile", COPY_ALL)]);
    piped(&env, &other).run().success();
    let other = archive(&[Entry::file("Containerfile", COPY_ALL)]);
    piped(&env, &other).run().success();
}

#[test]
fn an_archive_without_its_dockerfile() {
    let env = env();
    let none = archive(&[Entry::file("a", "a"), Entry::file("b", "b")]);
    refused(&env, "archive-no-dockerfile", piped(&env, &none).run().code(1), &["no `Dockerfile`"]);
    let env = crate::env();
    let deeper = archive(&[Entry::dir("app-1.0"), Entry::file("app-1.0/Dockerfile", COPY_ALL)]);
    refused(&env, "archive-one-directory", piped(&env, &deeper).run().code(1), &["app-1.0"]);
    for only in [Entry::file("app", "a"), Entry::symlink("app", "/")] {
        piped(&env, &archive(&[only]))
            .run()
            .code(1)
            .says("name the file with `-f FILE`")
            .never_says("tar -C");
    }
    let env = crate::env();
    let run = piped(&env, &none).args(["-f", "sub/Dockerfile"]).run().code(1);
    refused(&env, "archive-no-such-dockerfile", run, &["sub/Dockerfile"]);
}

#[test]
fn a_dockerfile_in_an_archive_that_leads_elsewhere() {
    let env = env();
    env.file("secret", "FROM scratch\n# of the host\n");
    for (name, entry) in [
        ("link", Entry::symlink("Dockerfile", env.path("secret").to_str().unwrap())),
        ("dots", Entry::symlink("Dockerfile", "../../../../../../../../../../etc/passwd")),
    ] {
        let run = piped(&env, &archive(&[entry])).run().code(1);
        assert!(!run.stderr.contains("of the host") && !run.stderr.contains("root:"), "{name}: {run}");
    }
    let pipe = archive(&[Entry::special("Dockerfile", Kind::Fifo)]);
    refused(&env, "archive-dockerfile-pipe", piped(&env, &pipe).run().code(1), &["Dockerfile"]);
}

#[test]
fn a_dockerfile_alone_has_a_context_with_nothing_in_it() {
    let env = env();
    let built = image_of(&env, piped(&env, b"FROM scratch\nCOPY . /all/\nWORKDIR /w\n"));
    assert!(built.has("/all") && built.has("/w"));
    let run = piped(&env, b"FROM scratch\nCOPY app /\n").run().code(1);
    env.orlop(["rmi", "built"]).run().success();
    refused(&env, "stdin-no-context", run, &["`app`: not found"]);
}

#[test]
fn standard_input_is_one_thing_at_a_time() {
    let env = env();
    let text = env.file("input", "FROM scratch\nCOPY f /f\n");
    env.file("dir/f", "f");
    let dir = env.path("dir");
    let build = env.orlop(["build", "--progress=plain", "-t", "built", "-f", "-"]).arg(&dir).input(&text);
    assert_eq!(image_of(&env, build).text("/f"), "f");
    env.orlop(["rmi", "built"]).run().success();
    let both = piped(&env, &context()).args(["-f", "-"]).run().code(2);
    refused(&env, "stdin-twice", both, &["both"]);
    let named = piped(&env, b"FROM scratch\n").args(["-f", "other"]).run().code(2);
    named.says("exclude each other");
}

#[test]
fn the_ignore_file_in_an_archive_is_for_whoever_makes_it() {
    let env = env();
    let tar = archive(&[
        Entry::file("Dockerfile", COPY_ALL),
        Entry::file(".dockerignore", "ignored\n"),
        Entry::file("ignored", "x"),
    ]);
    let build = piped(&env, &tar);
    assert!(image_of(&env, build).has("/all/ignored"), "as with BuildKit");
    piped(&env, &tar).run().success().says("--ignorefile");
    let rules = env.file("rules", "ignored\n");
    let build = piped(&env, &tar).arg("--ignorefile").arg(rules);
    assert!(!image_of(&env, build).has("/all/ignored"));
}

#[test]
fn archives_that_climb_out() {
    let env = env();
    let outside = env.file("outside", "untouched");
    let dots = format!("{}{}", "../".repeat(20), outside.display());
    let climb = archive(&[Entry::file("Dockerfile", COPY_ALL), Entry::file(&dots, "broken")]);
    refused(&env, "archive-dots", piped(&env, &climb).run().code(1), &["leads out"]);
    let link = archive(&[Entry::file("Dockerfile", COPY_ALL), Entry::hard("x", &dots)]);
    refused(&crate::env(), "archive-hard-link", piped(&crate::env(), &link).run().code(1), &["leads out"]);
    // What is absolute, or goes through a link, stays inside.
    let root = outside.display().to_string();
    let parent = outside.parent().unwrap().to_str().unwrap();
    let inside = archive(&[
        Entry::file("Dockerfile", COPY_ALL),
        Entry::file(&root, "broken"),
        Entry::symlink("absolute", parent),
        Entry::file("absolute/outside", "broken"),
        Entry::symlink("up", "../../../../../../../../.."),
        Entry::file(format!("up{root}"), "broken"),
        Entry::symlink("file", &root),
        Entry::file("file", "replaces the link"),
        Entry::file("twice", "first").mode(0o777),
        Entry::file("twice", "second"),
    ]);
    env.orlop(["rmi", "built"]).run().success();
    let built = image_of(&env, piped(&env, &inside));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    assert_eq!(built.text(&format!("/all{root}")), "broken");
    assert_eq!((built.text("/all/file"), built.text("/all/twice")), ("replaces the link", "second"));
    assert_eq!(built.at("/all/twice").mode.as_deref(), Some("0644"));
    nothing_left(&env);
}

#[test]
fn archives_that_are_too_much() {
    let env = env();
    // A tebibyte that is said to be there, and zeros without end.
    let mut bomb =
        archive(&[Entry::file("Dockerfile", COPY_ALL), Entry::file("bomb", "").stating_size(1 << 40)]);
    bomb.truncate(bomb.len() - 1024);
    let zeros = filter("gzip", &["-9c"], &vec![0; 64 << 20]);
    let bomb = [filter("gzip", &["-c"], &bomb), zeros.repeat(50)].concat();
    refused(&env, "archive-bomb", piped(&env, &bomb).run().code(1), &["bomb"]);
    // A million and one entries, which is one too many.
    let mut thousand = archive(&vec![Entry::dir("./"); 1000]);
    thousand.truncate(thousand.len() - 1024);
    let many = filter("gzip", &["-1c"], &thousand).repeat(1001);
    let env = crate::env();
    let run = piped(&env, &many).run().code(1);
    refused_late(&env, run, &["error: cannot unpack the context", "more than 1000000 entries", "hint: "]);
}

#[test]
fn archives_that_are_damaged() {
    let env = env();
    let tar = filter("gzip", &["-c"], &context());
    refused(&env, "archive-cut-off", piped(&env, &tar[..tar.len() / 2]).run().code(1), &["standard input"]);
    let env = crate::env();
    let text = filter("gzip", &["-c"], &b"FROM scratch\n# a Dockerfile, and no archive\n".repeat(30));
    refused(&env, "archive-none", piped(&env, &text).run().code(1), &["standard input"]);
}

#[test]
fn a_url_of_an_archive_is_a_context() {
    let env = env();
    let tar = filter("gzip", &["-c"], &context());
    let server = web::start([
        ("/context.tar.gz", Page::Bytes(tar)),
        ("/moved", Page::Redirect("/context.tar.gz".to_owned())),
        ("/Dockerfile", Page::Bytes(b"FROM scratch\nCOPY d/file /only\n".to_vec())),
    ]);
    let url = server.url("/context.tar.gz");
    assert_eq!(image_of(&env, build_at(&env, &url)).text("/all/d/file"), "in a directory");
    let moved = server.url_for("someone", "hush", "/moved?token=hush");
    let run = build_at(&env, &moved).run().success();
    run.never_says("hush").never_says("someone").says("CACHED");
    let other = server.url("/Dockerfile");
    assert_eq!(image_of(&env, build_at(&env, &url).args(["-f", &other])).text("/only"), "in a directory");
    let stdin = env.file("input", "FROM scratch\nCOPY again /mine\n");
    let build = build_at(&env, &url).args(["-f", "-"]).input(stdin);
    assert_eq!(image_of(&env, build).text("/mine"), "in a directory");
    nothing_left(&env);
}

#[test]
fn a_url_of_a_text_is_the_dockerfile() {
    let env = env();
    let server = web::start([
        ("/x", Page::Bytes(b"FROM scratch\nLABEL from=afar\nCOPY . /\n".to_vec())),
        ("/long", Page::Bytes(vec![b'#'; (16 << 20) + 1])),
        ("/bad", Page::Bytes(b"FROM scratch\nCPOY a b\n".to_vec())),
    ]);
    let built = image_of(&env, build_at(&env, &server.url("/x")));
    assert_eq!(built.settings()["Labels"]["from"], "afar");
    env.orlop(["rmi", "built"]).run().success();
    let bad = build_at(&env, &server.url("/bad")).run().code(1).says("COPY").says("/bad:2");
    assert_eq!(bad.stdout, "");
    let long = build_at(&env, &server.url("/long")).run().code(1);
    refused_late(&env, long, &["/long` is no archive", "too long", "hint: "]);
    let env = crate::env();
    let gone = build_at(&env, &server.url_for("someone", "hush", "/gone?token=hush")).run().code(1);
    refused(&env, "url-gone", gone.never_says("hush"), &["404"]);
}

#[test]
fn a_git_repository_is_a_context() {
    let server = orlop_fixtures::git::start();
    let app = crate::git::fill(&server);
    app.commit(&[("Dockerfile", orlop_fixtures::git::Node::File("FROM scratch\nCOPY . /src\n"))]);
    let env = env();
    let built = image_of(&env, build_at(&env, &server.url("app")));
    assert_eq!(built.text("/src/README"), "read me\n");
    assert!(!built.has("/src/.git"));
    let text = env.file("input", "FROM scratch\nCOPY file /deep\n");
    let build = build_at(&env, &format!("{}#v1:sub/deep", server.url("app"))).args(["-f", "-"]).input(text);
    assert_eq!(image_of(&env, build).text("/deep"), "deep\n");
    nothing_left(&env);
}

/// A build whose context comes from a pipe that never ends: whoever writes holds it open until `end` is called.
fn endless(env: &TestEnv) -> (Running, impl FnOnce()) {
    let pipe = env.path("pipe");
    if !pipe.exists() {
        run(tool("mkfifo").arg(&pipe));
    }
    let (writer, half) = (pipe.clone(), archive(&[Entry::file("big", vec![b'x'; 4 << 20])]));
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let feeder = std::thread::spawn(move || {
        let mut pipe = fs::File::options().write(true).open(writer).expect("the pipe");
        let _ = pipe.write_all(&half[..2 << 20]);
        let _ = wait.recv();
    });
    let mut running = env.orlop(["build", "--progress=plain", "-"]).input(&pipe).start();
    let work = env.store().join("work");
    assert!(running.until(|_| work_has_context(&work)));
    let end = move || {
        drop(done);
        feeder.join().expect("the feeder");
    };
    (running, end)
}

#[test]
fn a_build_that_waits_for_its_context_stops_when_it_is_told_to() {
    let env = env();
    for signal in [Signal::INT, Signal::TERM] {
        let (running, end) = endless(&env);
        running.signal(signal);
        running.wait().code(130).says("interrupted");
        nothing_left(&env);
        end();
    }
}

#[test]
fn killed_while_a_context_is_unpacked() {
    let env = env();
    let (running, end) = endless(&env);
    let _ = running.kill();
    end();
    let work = env.store().join("work");
    assert!(work_has_context(&work), "what it had unpacked is still there");
    env.orlop(["images"]).run().success();
    nothing_left(&env);
}

fn work_has_context(work: &Path) -> bool {
    let names = fs::read_dir(work).into_iter().flatten().filter_map(Result::ok);
    names.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("context"))
}

#[test]
fn special_files_of_a_context() {
    let env = env();
    let dir = env.dir("context");
    let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).expect("a socket");
    run(tool("mkfifo").arg(dir.join("pipe")));
    std::os::unix::fs::symlink("nowhere", dir.join("dangling")).expect("a link");
    env.file("context/file", "file");
    let built = crate::image(&env, "FROM scratch\nCOPY . /all/\n");
    // As BuildKit: a socket is left out, a pipe is a pipe and nobody waits at it, a link is a link.
    assert!(!built.has("/all/socket"), "{:?}", built.tree.keys());
    assert!(built.has("/all/pipe") && built.has("/all/file"));
    assert_eq!(built.at("/all/dangling").link.as_deref(), Some("nowhere"));
    for (name, says) in [("socket", "a socket cannot be copied"), ("dangling", "`dangling`: not found")] {
        let run = crate::build(&env, &format!("FROM scratch\nCOPY {name} /x\n")).run().code(1);
        run.says(says).says("Dockerfile:2");
    }
    let _: Opened = crate::image(&env, "FROM scratch\nCOPY pipe /x\n");
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let env = env();
    let context = |name: &str, files: usize| {
        let dir = env.dir(name);
        fs::write(dir.join("Dockerfile"), COPY_ALL).expect("write");
        for i in 0..files {
            let dir = dir.join(format!("{}/{}", i / 1000, i / 20));
            if i % 20 == 0 {
                fs::create_dir_all(&dir).expect("make");
            }
            fs::write(dir.join(format!("module-{i}.js")), i.to_string()).expect("write");
        }
        dir.display().to_string()
    };
    let (few, many) = (context("few", 1), context("many", 20_000));
    let bounds = peak_memory(build_at(&env, &few)) + (12 << 10);
    // Made, and found.
    for _ in 0..2 {
        let peak = peak_memory(build_at(&env, &many));
        assert!(peak > 0 && peak < bounds, "{peak} kB, of {bounds}");
    }
    build_at(&env, &many).run().success().says("CACHED");
}
