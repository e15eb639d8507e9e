#![expect(clippy::disallowed_methods, reason = "starts what is kept and ended")]

use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::windows::job::JobCalls;
use crate::windows::security::Sid;

/// A process that waits for input that does not come, in a job of its own.
fn kept() -> (Job, Child) {
    let job = Job::new().expect("a job");
    let mut command = Command::new("cmd");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).creation_flags(0x0800_0000);
    let child = command.spawn().expect("every Windows has it");
    job.assign(child.as_handle()).expect("put into the job");
    (job, child)
}

fn message(what: u8, job: &Job) -> Vec<u8> {
    let copy = job.as_handle().try_clone_to_owned().expect("a copy");
    let handle = copy.as_raw_handle() as usize as u64;
    std::mem::forget(copy);
    std::iter::once(what).chain(handle.to_le_bytes()).collect()
}

#[test]
fn what_is_held_at_the_end_of_input_is_ended_and_what_was_given_back_is_not() {
    let ((ours, mut child), (other, mut stays)) = (kept(), kept());
    let given_back = message(TAKE, &other);
    let input =
        [message(TAKE, &ours), given_back.clone(), [&[GIVE_BACK], &given_back[1..]].concat()].concat();
    serve(&mut &input[..]);
    assert_eq!(child.wait().expect("ended").code(), Some(137));
    assert_eq!(stays.try_wait().expect("it is ours"), None);
    other.terminate(1).expect("it is there");
    stays.wait().expect("ended");
}

#[test]
fn what_is_no_message_ends_it_like_the_end() {
    let (job, mut child) = kept();
    serve(&mut &[message(TAKE, &job), b"?12345678rest".to_vec()].concat()[..]);
    assert_eq!(child.wait().expect("ended").code(), Some(137));
    serve(&mut &b"+123"[..]);
}

/// No test: the program that the next one starts as its keeper, and that would wait for an input here.
#[test]
#[ignore = "is the keeper of `a_keeper_is_started_once_and_again_when_it_is_gone`, which runs it"]
fn as_keeper() {
    serve(&mut io::stdin().lock());
}

#[test]
fn a_keeper_is_started_once_and_again_when_it_is_gone() {
    let program = std::env::current_exe().expect("the program's own path");
    let arguments = ["--ignored", "--exact", "windows::keeper::tests::as_keeper"];
    let keepers = Keepers::new(program, arguments.map(Into::into).to_vec());
    let all = SecurityDescriptor::only([&Sid::everyone()]);
    let admitted = Admitted { process: &all, thread: &all };
    let (job, mut child) = kept();
    let process = || {
        let running = keepers.running();
        running.as_ref().map(|keeper| keeper.process.try_clone().expect("a copy")).expect("it runs")
    };
    assert!(keepers.running().is_none(), "not before the first job");
    let held = keepers.hold(&job, admitted).expect("it can be started");
    let first = process();
    drop(held);
    drop(keepers.hold(&job, admitted).expect("it is there"));
    assert!(!wait(first.as_handle(), Some(Duration::ZERO)).expect("it can be asked"), "the same");

    // SAFETY: an open process of ours.
    unsafe { windows_sys::Win32::System::Threading::TerminateProcess(first.as_raw_handle(), 1) };
    assert!(wait(first.as_handle(), Some(Duration::from_secs(10))).expect("it can be asked"));
    let held = keepers.hold(&job, admitted).expect("another is started");
    let second = process();
    assert!(!wait(second.as_handle(), Some(Duration::ZERO)).expect("it can be asked"));
    // As if we had died with a job at work.
    std::mem::forget(held);
    drop(keepers);
    assert_eq!(child.wait().expect("ended").code(), Some(137));
    assert!(
        wait(second.as_handle(), Some(Duration::from_secs(10))).expect("it can be asked"),
        "gone with us"
    );
}

#[test]
fn without_a_program_nothing_is_held() {
    let keepers = Keepers::default();
    let all = SecurityDescriptor::only([&Sid::everyone()]);
    let job = Job::new().expect("a job");
    drop(keepers.hold(&job, Admitted { process: &all, thread: &all }).expect("nothing is asked for"));
    assert!(keepers.running().is_none());
    let keepers = Keepers::new(PathBuf::from(r"C:\none\none.exe"), Vec::new());
    keepers.hold(&job, Admitted { process: &all, thread: &all }).expect_err("there is no such program");
}
