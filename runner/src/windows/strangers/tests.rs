//! The guard with real processes: this test is the process of the job, and what it starts has left it.
#![expect(clippy::disallowed_methods, reason = "starts the stray processes")]

use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::super::console::Guard;
use super::super::identity::Windows;
use super::super::job::JobCalls;
use super::*;

/// A process that counts as one of the job's, and a child of it that has left: both wait for input that does not come.
struct Strays {
    member: Child,
    stray: u32,
    handle: Opened,
    job: Arc<Job>,
    guard: Guard<Machine>,
}

fn strays() -> Strays {
    let job = Arc::new(Job::new().expect("a job"));
    let machine = Machine { job: Arc::clone(&job), calls: Arc::new(Windows), sid: None, places: Vec::new() };
    let mut guard = Guard::new(machine, std::process::id());
    let mut command = Command::new("cmd");
    // Without a window, as a job's.
    command.args(["/C", "cmd"]).stdin(Stdio::piped()).stdout(Stdio::null()).creation_flags(0x0800_0000);
    let member = command.spawn().expect("every Windows has it");
    guard.member(member.id());
    let machine = Machine { job: Arc::clone(&job), calls: Arc::new(Windows), sid: None, places: Vec::new() };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let child = |listed: &Listed| listed.parent == member.id() && listed.name.eq_ignore_ascii_case("cmd.exe");
    let stray = loop {
        match machine.list().into_iter().find(child) {
            Some(listed) => break listed.pid,
            None => assert!(std::time::Instant::now() < until, "it does not start"),
        }
    };
    let handle = machine.open(stray).expect("it is ours");
    Strays { member, stray, handle, job, guard }
}

impl Drop for Strays {
    fn drop(&mut self) {
        // It has ended with its child, or not if the test failed.
        let _ = self.member.kill();
        let _ = self.member.wait();
    }
}

fn has_ended(process: &Opened) -> bool {
    wait(process.0.as_handle(), Some(std::time::Duration::from_secs(10))).expect("it can be waited for")
}

#[test]
fn a_real_stray_is_put_into_the_job() {
    let mut strays = strays();
    strays.guard.sweep(false).expect("nothing is left");
    let noted = format!("(process {}) was found outside the job and put into it", strays.stray);
    assert!(strays.guard.notes.iter().any(|note| note.ends_with(&noted)), "{:?}", strays.guard.notes);
    assert!(strays.job.holds(strays.handle.0.as_handle()).expect("it can be asked"));
    assert!(strays.job.ids().expect("a list").contains(&strays.stray));
    let notes = strays.guard.notes.len();
    strays.guard.sweep(false).expect("nothing is left");
    assert_eq!(strays.guard.notes.len(), notes, "it is inside now");
    strays.job.terminate(3).expect("it is there");
    assert!(has_ended(&strays.handle));
}

#[test]
fn a_real_stray_is_ended_after_the_job() {
    let mut strays = strays();
    strays.guard.sweep(true).expect("nothing is left");
    // It ends by itself where the host of its console is ended first, which then is what is noted.
    let ended = |note: &&String| note.ends_with("was found outside the job and ended");
    let own = format!("(process {}) ", strays.stray);
    let noted =
        strays.guard.notes.iter().filter(ended).any(|note| note.contains(&own) || note.contains("conhost"));
    assert!(noted, "{:?}", strays.guard.notes);
    assert!(has_ended(&strays.handle));
    assert_eq!(strays.job.ids(), Ok(Vec::new()));
}
