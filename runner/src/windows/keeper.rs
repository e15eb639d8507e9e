//! The keeper: a process beside the builder that ends the builder's jobs when the builder has died.
//!
//! A job's handle closes with the process that has it, and the system then ends what is in the job: once, which under
//! Wine is not always enough (see `ending`). So a second process has a handle of every running job. Its standard
//! input is a pipe of which only the builder has the other end: when that ends, so has the builder, and what is
//! left of its jobs is ended by turns. Should both be killed, the last handle closes, and the system does what it
//! does. The keeper has the access list of the builder from its birth: no step can open it.
#![expect(unsafe_code, reason = "starts a process with security of its own and gives it handles")]

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
use windows_sys::Win32::System::JobObjects::JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
use windows_sys::Win32::System::Threading::{
    CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DETACHED_PROCESS,
    EXTENDED_STARTUPINFO_PRESENT, GetCurrentProcess, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    TerminateProcess,
};

use super::ending::Ending;
use super::identity::{Failure, object};
use super::job::{Basics, Job, JobCalls};
use super::library::wide;
use super::process::{Attributes, Inheritable, STARTING, Way, wait};
use super::security::SecurityDescriptor;
use super::{command_line, directories, pipes};

/// How long the keeper works on jobs that will not be empty.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a builder that is done waits for its keeper to be gone.
const FAREWELL: Duration = Duration::from_secs(2);
const TAKE: u8 = b'+';
const GIVE_BACK: u8 = b'-';

/// The program that is started as a keeper, and the one that runs.
#[derive(Debug, Default)]
pub(super) struct Keepers {
    program: Option<(PathBuf, Vec<OsString>)>,
    running: Mutex<Option<Keeper>>,
}

/// Who may open the keeper and its first thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admitted<'a> {
    pub(super) process: &'a SecurityDescriptor,
    pub(super) thread: &'a SecurityDescriptor,
}

impl Keepers {
    /// None is started before the first job. The program calls [`serve`] when it gets these arguments.
    pub(super) fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program: Some((program, arguments)), running: Mutex::new(None) }
    }

    /// Gives the keeper a handle of a job, until what is returned is dropped.
    ///
    /// # Errors
    /// There is no keeper, although a program for it was named.
    pub(super) fn hold(&self, job: &Job, admitted: Admitted<'_>) -> io::Result<Held<'_>> {
        let Some((program, arguments)) = &self.program else {
            return Ok(Held { keepers: self, handle: None });
        };
        let mut running = self.running();
        let given = running.as_mut().and_then(|keeper| keeper.take(job).ok());
        let handle = match given {
            Some(handle) => handle,
            // None yet, or one that was ended.
            None => {
                let keeper = running.insert(Keeper::start(program, arguments, admitted)?);
                keeper.take(job)?
            }
        };
        Ok(Held { keepers: self, handle: Some(handle) })
    }

    fn running(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that the keeper has a handle of.
#[derive(Debug)]
pub(super) struct Held<'a> {
    keepers: &'a Keepers,
    handle: Option<u64>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let (Some(handle), Some(keeper)) = (self.handle, self.keepers.running().as_mut()) {
            // One that is gone has given it back.
            let _ = keeper.tell(GIVE_BACK, handle);
        }
    }
}

struct Keeper {
    process: OwnedHandle,
    pipe: Option<File>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Keeper {
    fn start(program: &PathBuf, arguments: &[OsString], admitted: Admitted<'_>) -> io::Result<Self> {
        let (theirs, ours) = {
            let (read, write) = pipes::pipe()?;
            (read, File::from(write))
        };
        let handles = [theirs.as_raw_handle() as usize];
        // Until it runs: who is started and not yet let run would wait for ever for a builder that died meanwhile.
        let cradle = Job::new()?;
        cradle.set_basics(&Basics { flags: JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE, ..Basics::default() })?;
        let cradle_handle = cradle.as_handle().as_raw_handle();
        let mut attributes = Attributes::new(2)?;
        // SAFETY: the handles outlive the list.
        let way = unsafe {
            attributes.add_all(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &handles)?;
            Way::of(&attributes.add(PROC_THREAD_ATTRIBUTE_JOB_LIST, &cradle_handle))
        };
        let mut info = STARTUPINFOEXW::default();
        info.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
        info.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        info.StartupInfo.hStdInput = theirs.as_raw_handle();
        info.lpAttributeList = attributes.list();
        let words: Vec<OsString> =
            std::iter::once(program.clone().into()).chain(arguments.to_vec()).collect();
        let mut line =
            command_line::program(&words, None).map_err(|unquotable| io::Error::other(unquotable.why()))?;
        let (process_words, thread_words) = (admitted.process.to_words(), admitted.thread.to_words());
        let (process_security, thread_security) =
            (object::attributes(&process_words), object::attributes(&thread_words));
        // Not the builder's working directory, which its user may want to remove.
        let (_, cwd) = directories()?;
        let (program, cwd) = (wide(program), wide(cwd));
        let flags =
            DETACHED_PROCESS | CREATE_SUSPENDED | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
        let mut made = PROCESS_INFORMATION::default();
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let inheritable = Inheritable::new(&handles)?;
        // SAFETY: texts end with a zero; the line may be written to; all structures and what they point to live until
        // the call is over.
        let ok = unsafe {
            CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                &process_security,
                &thread_security,
                1,
                flags,
                null(),
                cwd.as_ptr(),
                (&raw const info).cast(),
                &mut made,
            )
        };
        let failure = (ok == 0).then(io::Error::last_os_error);
        drop((inheritable, starting));
        if let Some(failure) = failure {
            return Err(failure);
        }
        // SAFETY: two handles of ours.
        let (process, thread) = unsafe {
            (OwnedHandle::from_raw_handle(made.hProcess), OwnedHandle::from_raw_handle(made.hThread))
        };
        let running = match way {
            Way::Attribute => Ok(()),
            Way::Assigned => cradle.assign(process.as_handle()),
        };
        // SAFETY: an open thread.
        let running = running.and_then(|()| match unsafe { ResumeThread(thread.as_raw_handle()) } {
            u32::MAX => Err(Failure::last("ResumeThread")),
            // From here on it ends when its input does, and not with us.
            _ => cradle.set_basics(&Basics::default()),
        });
        if let Err(failure) = running {
            // SAFETY: an open process.
            unsafe { TerminateProcess(process.as_raw_handle(), 1) };
            return Err(failure.into());
        }
        Ok(Self { process, pipe: Some(ours) })
    }

    /// Gives it a handle of a job. Returns the handle's number there.
    fn take(&mut self, job: &Job) -> io::Result<u64> {
        let mut theirs = null_mut();
        // SAFETY: open handles; the new one is the keeper's.
        let ok = unsafe {
            DuplicateHandle(
                GetCurrentProcess(),
                job.as_handle().as_raw_handle(),
                self.process.as_raw_handle(),
                &mut theirs,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        };
        if ok == 0 {
            return Err(io::Error::last_os_error());
        }
        let handle = theirs as usize as u64;
        self.tell(TAKE, handle)?;
        Ok(handle)
    }

    fn tell(&mut self, what: u8, handle: u64) -> io::Result<()> {
        let mut message = [what; 9];
        message[1..].copy_from_slice(&handle.to_le_bytes());
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(&message))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Whoever compares lists of processes before and after finds nobody.
        let _ = wait(self.process.as_handle(), Some(FAREWELL));
    }
}

/// What a keeper does: holds the jobs that `input` names, and ends them when it ends.
pub(super) fn serve(input: &mut dyn Read) {
    let mut jobs: Vec<(u64, Job)> = Vec::new();
    let mut message = [0; 9];
    while input.read_exact(&mut message).is_ok() {
        let [what, handle @ ..] = message;
        let handle = u64::from_le_bytes(handle);
        match what {
            // SAFETY: the builder has put this handle into this process for nobody else.
            TAKE => jobs.push((handle, unsafe { Job::from_raw(handle as usize as *mut _) })),
            GIVE_BACK => jobs.retain(|(held, _)| *held != handle),
            _ => break,
        }
    }
    let jobs: Vec<Job> = jobs.into_iter().map(|(_, job)| job).collect();
    end(&jobs);
}

fn end(jobs: &[Job]) {
    let since = Instant::now();
    let mut left: Vec<Ending<'_>> = jobs.iter().map(Ending::new).collect();
    while !left.is_empty() && since.elapsed() < DEADLINE {
        // What cannot be done is tried again; in the end the last handle is closed.
        left.retain_mut(|ending| !matches!(ending.turn(), Ok(None)));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests;
