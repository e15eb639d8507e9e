//! What the job's completion port tells, as events of the report.
//!
//! Messages are told, never counted: the system promises neither one for each process nor their order. Whether a
//! job is empty is asked of the job.
#![expect(unsafe_code, reason = "completion ports")]

use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatus, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::SystemServices::{
    JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS, JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT,
    JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO, JOB_OBJECT_MSG_END_OF_JOB_TIME, JOB_OBJECT_MSG_EXIT_PROCESS,
    JOB_OBJECT_MSG_JOB_MEMORY_LIMIT, JOB_OBJECT_MSG_NEW_PROCESS, JOB_OBJECT_MSG_NOTIFICATION_LIMIT,
    JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT,
};

use super::identity::Failure;
use super::job::Job;
use super::supervise::Happened;
use crate::{JobEvent, JobEventKind, LimitHit};

/// Events that a report keeps.
const KEPT: usize = 1000;
const KEY: usize = 17;
const QUIT: usize = 18;

/// A message of the job: its kind and the process that it is about, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u32,
    pub(crate) pid: u32,
}

/// The job's port, and the thread that listens to it until this is dropped.
#[derive(Debug)]
pub(super) struct Port(Arc<OwnedHandle>);

impl Port {
    /// Attaches a port to a job that has no process yet.
    pub(super) fn new(job: &Job) -> Result<Self, Failure> {
        // SAFETY: a new port; the handle is ours.
        let port = unsafe {
            let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, null_mut(), 0, 1);
            if port.is_null() {
                return Err(Failure::last("CreateIoCompletionPort"));
            }
            OwnedHandle::from_raw_handle(port)
        };
        job.set_port(port.as_handle(), KEY)?;
        Ok(Self(Arc::new(port)))
    }

    /// Passes the messages on.
    pub(super) fn listen(&self, to: SyncSender<Happened>) {
        let port = Arc::clone(&self.0);
        std::thread::spawn(move || {
            loop {
                let (mut kind, mut key, mut about) = (0, 0, null_mut());
                // SAFETY: an open port; a job's messages carry a process id where others carry a pointer.
                let ok = unsafe {
                    GetQueuedCompletionStatus(port.as_raw_handle(), &mut kind, &mut key, &mut about, u32::MAX)
                };
                if ok == 0 || key == QUIT {
                    return;
                }
                let pid = about as usize as u32;
                if key == KEY && to.send(Happened::Message(Message { kind, pid })).is_err() {
                    return;
                }
            }
        });
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: an open port.
        unsafe { PostQueuedCompletionStatus(self.0.as_raw_handle(), 0, QUIT, null_mut()) };
    }
}

/// The events so far.
#[derive(Debug)]
pub(crate) struct Events {
    started: Instant,
    kept: Vec<JobEvent>,
    omitted: u64,
    limit: Option<LimitHit>,
    near_memory: bool,
}

impl Events {
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, kept: Vec::new(), omitted: 0, limit: None, near_memory: false }
    }

    /// Takes a message. Returns what it means.
    pub(crate) fn take(&mut self, message: Message) -> Option<JobEventKind> {
        let Message { kind, pid } = message;
        let reached = |limit| JobEventKind::LimitReached { limit, pid: (pid != 0).then_some(pid) };
        let event = match kind {
            JOB_OBJECT_MSG_NEW_PROCESS => JobEventKind::ProcessStarted { pid },
            JOB_OBJECT_MSG_EXIT_PROCESS => JobEventKind::ProcessEnded { pid, abnormal: false },
            JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS => JobEventKind::ProcessEnded { pid, abnormal: true },
            JOB_OBJECT_MSG_ACTIVE_PROCESS_LIMIT => reached(LimitHit::Pids),
            JOB_OBJECT_MSG_PROCESS_MEMORY_LIMIT => reached(LimitHit::ProcessMemory),
            JOB_OBJECT_MSG_JOB_MEMORY_LIMIT => reached(LimitHit::Memory),
            JOB_OBJECT_MSG_END_OF_JOB_TIME => reached(LimitHit::CpuTime),
            JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO => JobEventKind::Empty,
            JOB_OBJECT_MSG_NOTIFICATION_LIMIT => {
                self.near_memory = true;
                return None;
            }
            _ => return None,
        };
        self.push(event);
        Some(event)
    }

    /// A limit that orlop itself found exceeded.
    pub(crate) fn hit(&mut self, limit: LimitHit) {
        self.push(JobEventKind::LimitReached { limit, pid: None });
    }

    fn push(&mut self, kind: JobEventKind) {
        if let JobEventKind::LimitReached { limit, .. } = kind {
            // The first is what the job failed of; what follows are its consequences.
            self.limit.get_or_insert(limit);
        }
        // A limit is worth more than the thousandth process.
        if self.kept.len() < KEPT
            || matches!(kind, JobEventKind::LimitReached { .. }) && self.kept.len() < 2 * KEPT
        {
            self.kept.push(JobEvent { at: self.started.elapsed(), kind });
        } else {
            self.omitted += 1;
        }
    }

    /// The limit that the job ran into first.
    pub(crate) fn limit(&self) -> Option<LimitHit> {
        self.limit
    }

    /// Whether the job came within five per cent of its memory limit.
    pub(crate) fn near_memory(&self) -> bool {
        self.near_memory
    }

    /// All that is kept.
    pub(crate) fn into_kept(mut self) -> Vec<JobEvent> {
        if self.omitted > 0 {
            let kind = JobEventKind::Omitted { count: self.omitted };
            self.kept.push(JobEvent { at: self.started.elapsed(), kind });
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_limit_is_the_jobs() {
        let mut events = Events::new(Instant::now());
        for kind in [6, 9, 3, 10, 4, 11, 999] {
            events.take(Message { kind, pid: 7 });
        }
        assert_eq!((events.limit(), events.near_memory()), (Some(LimitHit::ProcessMemory), true));
        let kinds: Vec<JobEventKind> = events.into_kept().into_iter().map(|event| event.kind).collect();
        assert_eq!(
            kinds,
            [
                JobEventKind::ProcessStarted { pid: 7 },
                JobEventKind::LimitReached { limit: LimitHit::ProcessMemory, pid: Some(7) },
                JobEventKind::LimitReached { limit: LimitHit::Pids, pid: Some(7) },
                JobEventKind::LimitReached { limit: LimitHit::Memory, pid: Some(7) },
                JobEventKind::Empty,
            ]
        );
    }

    #[test]
    fn a_storm_of_processes_is_cut_short() {
        let mut events = Events::new(Instant::now());
        for pid in 0..5000 {
            events.take(Message { kind: JOB_OBJECT_MSG_NEW_PROCESS, pid });
        }
        events.hit(LimitHit::Pids);
        let kept = events.into_kept();
        assert_eq!(kept.len(), KEPT + 2);
        assert_eq!(kept.last().map(|event| event.kind), Some(JobEventKind::Omitted { count: 4000 }));
    }
}
