//! Starting a job's first process: in the job, with the handles that it is to have and nothing else of ours.
#![expect(unsafe_code, reason = "process creation takes structures that point to each other")]

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{
    HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::{SECURITY_CAPABILITIES, SID_AND_ATTRIBUTES};
use windows_sys::Win32::System::SystemServices::SE_GROUP_ENABLED;
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW, CreateProcessW,
    DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, GetProcessId,
    InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY,
    PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES, PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES,
    STARTUPINFOEXW, TerminateProcess, UpdateProcThreadAttribute, WaitForSingleObject,
};

use super::identity::{Failure, Prepared, object, session};
use super::job::Job;

/// What the first process is, ready for the system.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// The program's path.
    pub(super) program: Vec<u16>,
    /// Its command line.
    pub(super) line: Vec<u16>,
    /// Its environment.
    pub(super) environment: Vec<u16>,
    /// Its working directory.
    pub(super) cwd: Vec<u16>,
    /// Its standard input, output and error.
    pub(super) stdio: [&'a OwnedHandle; 3],
}

/// How a process came into its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In it from birth, by attribute: Server 2016 and newer.
    Attribute,
    /// Made suspended, assigned, resumed: where the system has no such attribute.
    Assigned,
}

impl Way {
    /// Which way a system wants, by what it says to the attribute: a refusal is not an error but the other way.
    pub(crate) fn of(attribute: &Result<(), Failure>) -> Self {
        if attribute.is_ok() { Self::Attribute } else { Self::Assigned }
    }

    /// In words, for the report.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Attribute => "from birth",
            Self::Assigned => "suspended, put into the job, then run: this system knows no other way",
        }
    }
}

/// A process of ours that has not run yet, or runs. Dropping it does not end it; the job does.
pub(super) struct Process {
    process: OwnedHandle,
    thread: OwnedHandle,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish()
    }
}

/// Handles are made inheritable for the moment of the call only, and one call at a time: what another thread starts
/// meanwhile must not get them.
pub(super) static STARTING: Mutex<()> = Mutex::new(());

/// Starts it suspended and in the job.
///
/// # Errors
/// The call that failed; nothing is left then.
pub(super) fn start(
    start: &mut Start<'_>,
    job: &Job,
    prepared: &Prepared,
) -> Result<(Process, Way), Failure> {
    let stdio = start.stdio.map(AsRawHandle::as_raw_handle);
    // As numbers, which another thread may be given.
    let handles: Vec<usize> =
        stdio.into_iter().chain(prepared.inherited()).map(|handle| handle as usize).collect();
    let job_handle = job.as_handle().as_raw_handle();
    let mitigation = prepared.mitigation;
    let container = prepared.container.as_ref().map(|container| {
        let sid = words(&container.sid.to_bytes());
        let capabilities: Vec<Vec<u32>> =
            container.capabilities.iter().map(|capability| words(&capability.to_bytes())).collect();
        (sid, capabilities)
    });
    let mut granted: Vec<SID_AND_ATTRIBUTES> = Vec::new();
    let security = container.as_ref().map(|(sid, capabilities)| {
        granted = capabilities
            .iter()
            .map(|sid| SID_AND_ATTRIBUTES {
                Sid: sid.as_ptr().cast_mut().cast(),
                Attributes: SE_GROUP_ENABLED as u32,
            })
            .collect();
        SECURITY_CAPABILITIES {
            AppContainerSid: sid.as_ptr().cast_mut().cast(),
            Capabilities: if granted.is_empty() { null_mut() } else { granted.as_mut_ptr() },
            CapabilityCount: granted.len() as u32,
            Reserved: 0,
        }
    });
    let mut attributes = Attributes::new(4)?;
    // SAFETY: the values live to the end of this function, and the list is dropped before.
    let way = unsafe {
        attributes.add_all(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &handles)?;
        if mitigation != 0 {
            attributes.add(PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY, &mitigation)?;
        }
        if let Some(security) = &security {
            attributes.add(PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES, security)?;
        }
        Way::of(&attributes.add(PROC_THREAD_ATTRIBUTE_JOB_LIST, &job_handle))
    };
    let process = match prepared.letter() {
        None => create(start, &attributes, prepared, &handles),
        // The working directory is looked at before there is a process, and on a letter only who is in its logon
        // session finds it.
        Some(letter) => {
            session::impersonating(letter.session(), || create(start, &attributes, prepared, &handles))
                .flatten()
        }
    }?;
    drop(attributes);
    let placed = match way {
        Way::Attribute => Ok(()),
        Way::Assigned => job.assign(process.as_handle()),
    };
    let inside = placed.and_then(|()| job.holds(process.as_handle()));
    match inside {
        Ok(true) => Ok((process, way)),
        inside => {
            process.terminate();
            Err(inside.err().unwrap_or(Failure { call: "IsProcessInJob", code: 0 }))
        }
    }
}

fn create(
    start: &mut Start<'_>,
    attributes: &Attributes,
    prepared: &Prepared,
    handles: &[usize],
) -> Result<Process, Failure> {
    let mut info = STARTUPINFOEXW::default();
    info.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
    info.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    let stdio = start.stdio.map(AsRawHandle::as_raw_handle);
    [info.StartupInfo.hStdInput, info.StartupInfo.hStdOutput, info.StartupInfo.hStdError] = stdio;
    let mut desktop = prepared.desktop.clone();
    if let Some(desktop) = &mut desktop {
        info.StartupInfo.lpDesktop = desktop.as_mut_ptr();
    }
    info.lpAttributeList = attributes.list();
    let process_words = prepared.process_security.to_words();
    let thread_words = prepared.thread_security.to_words();
    let process_security = object::attributes(&process_words);
    let thread_security = object::attributes(&thread_words);
    let flags =
        CREATE_SUSPENDED | CREATE_NO_WINDOW | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
    let mut made = PROCESS_INFORMATION::default();
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let inheritable = Inheritable::new(handles)?;
    let (program, line) = (start.program.as_ptr(), start.line.as_mut_ptr());
    let (environment, cwd) = (start.environment.as_ptr().cast::<c_void>(), start.cwd.as_ptr());
    let info = (&raw const info).cast();
    // SAFETY: texts end with a zero, the environment with two; the line may be written to; all structures and what
    // they point to live until the calls are over.
    let (call, ok) = unsafe {
        match prepared.token() {
            Some(token) => (
                "CreateProcessAsUserW",
                CreateProcessAsUserW(
                    token.as_raw_handle(),
                    program,
                    line,
                    &process_security,
                    &thread_security,
                    1,
                    flags,
                    environment,
                    cwd,
                    info,
                    &mut made,
                ),
            ),
            None => (
                "CreateProcessW",
                CreateProcessW(
                    program,
                    line,
                    &process_security,
                    &thread_security,
                    1,
                    flags,
                    environment,
                    cwd,
                    info,
                    &mut made,
                ),
            ),
        }
    };
    let failure = (ok == 0).then(|| Failure::last(call));
    drop(inheritable);
    drop(starting);
    match failure {
        Some(failure) => Err(failure),
        // SAFETY: two handles of ours.
        None => Ok(unsafe {
            Process {
                process: OwnedHandle::from_raw_handle(made.hProcess),
                thread: OwnedHandle::from_raw_handle(made.hThread),
            }
        }),
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |part: &[u8]| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        u32::from_le_bytes(word)
    };
    bytes.chunks(4).map(word).collect()
}

/// Handles that are inherited while this lives.
#[derive(Debug)]
pub(super) struct Inheritable<'a>(&'a [usize]);

impl<'a> Inheritable<'a> {
    pub(super) fn new(handles: &'a [usize]) -> Result<Self, Failure> {
        let inheritable = Self(handles);
        for handle in handles {
            // SAFETY: an open handle.
            if unsafe { SetHandleInformation(*handle as HANDLE, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) }
                == 0
            {
                return Err(Failure::last("SetHandleInformation"));
            }
        }
        Ok(inheritable)
    }
}

impl Drop for Inheritable<'_> {
    fn drop(&mut self) {
        for handle in self.0 {
            // SAFETY: an open handle.
            unsafe { SetHandleInformation(*handle as HANDLE, HANDLE_FLAG_INHERIT, 0) };
        }
    }
}

/// `PROC_THREAD_ATTRIBUTE_…` with their values.
#[derive(Debug)]
pub(super) struct Attributes(Vec<usize>);

impl Attributes {
    pub(super) fn new(count: u32) -> Result<Self, Failure> {
        let mut size = 0;
        // SAFETY: asks for the size, then initialises as many bytes.
        unsafe {
            InitializeProcThreadAttributeList(null_mut(), count, 0, &mut size);
            let mut list = vec![0usize; size.div_ceil(size_of::<usize>()).max(1)];
            match InitializeProcThreadAttributeList(list.as_mut_ptr().cast(), count, 0, &mut size) {
                0 => Err(Failure::last("InitializeProcThreadAttributeList")),
                _ => Ok(Self(list)),
            }
        }
    }

    /// # Safety
    /// `value` outlives the list and is what the attribute takes.
    pub(super) unsafe fn add<T>(&mut self, attribute: u32, value: &T) -> Result<(), Failure> {
        // SAFETY: the caller answers for it.
        unsafe { self.add_all(attribute, std::slice::from_ref(value)) }
    }

    /// # Safety
    /// `values` outlive the list and are what the attribute takes.
    pub(super) unsafe fn add_all<T>(&mut self, attribute: u32, values: &[T]) -> Result<(), Failure> {
        let (list, value, size) = (self.list(), values.as_ptr().cast(), size_of_val(values));
        // SAFETY: an initialised list; the caller answers for the value.
        let done = unsafe {
            UpdateProcThreadAttribute(list, 0, attribute as usize, value, size, null_mut(), null())
        };
        if done == 0 { Err(Failure::last("UpdateProcThreadAttribute")) } else { Ok(()) }
    }

    pub(super) fn list(&self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.0.as_ptr().cast_mut().cast()
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: an initialised list.
        unsafe { DeleteProcThreadAttributeList(self.list()) };
    }
}

impl AsHandle for Process {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.process.as_handle()
    }
}

impl Process {
    pub(super) fn id(&self) -> u32 {
        // SAFETY: an open process.
        unsafe { GetProcessId(self.process.as_raw_handle()) }
    }

    /// Lets it run.
    pub(super) fn resume(&self) -> Result<(), Failure> {
        // SAFETY: an open thread.
        match unsafe { ResumeThread(self.thread.as_raw_handle()) } {
            u32::MAX => Err(Failure::last("ResumeThread")),
            _ => Ok(()),
        }
    }

    /// Gives it exactly that environment. Only before it is resumed.
    pub(super) fn set_environment(&self, block: &[u16]) -> Result<(), Failure> {
        super::memory::set_environment(self.as_handle(), block)
    }

    /// Ends it, where it is not to run at all.
    pub(super) fn terminate(&self) {
        // SAFETY: an open process; it may have ended meanwhile.
        unsafe { TerminateProcess(self.process.as_raw_handle(), 1) };
    }

    /// The exit code, once it has ended.
    pub(super) fn code(&self) -> Result<u32, Failure> {
        let mut code = 0;
        // SAFETY: an open process.
        match unsafe { GetExitCodeProcess(self.process.as_raw_handle(), &mut code) } {
            0 => Err(Failure::last("GetExitCodeProcess")),
            _ => Ok(code),
        }
    }
}

/// Waits for a process to end. `None` waits for ever.
pub(super) fn wait(process: BorrowedHandle<'_>, time: Option<std::time::Duration>) -> io::Result<bool> {
    let milliseconds = time.map_or(u32::MAX, |time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX - 1));
    // SAFETY: an open process.
    match unsafe { WaitForSingleObject(process.as_raw_handle(), milliseconds) } {
        WAIT_OBJECT_0 => Ok(true),
        WAIT_TIMEOUT => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_the_attribute_takes_the_other_way() {
        assert_eq!(Way::of(&Ok(())), Way::Attribute);
        // What Server 2012 R2 says to an attribute that it does not know.
        for code in [50, 87, 24] {
            let refused = Err(Failure { call: "UpdateProcThreadAttribute", code });
            assert_eq!(Way::of(&refused), Way::Assigned);
        }
    }
}
