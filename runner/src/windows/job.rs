//! The job object, and the seam between what is decided about it and the calls that do it.
//!
//! [`JobCalls`] is thin: each method is one call of the system with values on both sides. The decisions (which
//! limits are refused, which way is taken, what the report says) are tested with recorded answers of systems that
//! are not here.
#![expect(unsafe_code, reason = "the job's information comes and goes as plain structures")]

use std::fmt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null, null_mut};
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_MORE_DATA;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT,
    JOBOBJECT_ASSOCIATE_COMPLETION_PORT, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION, JOBOBJECT_BASIC_UI_RESTRICTIONS,
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JOBOBJECT_NET_RATE_CONTROL_INFORMATION, JOBOBJECT_NOTIFICATION_LIMIT_INFORMATION, JOBOBJECTINFOCLASS,
    JobObjectAssociateCompletionPortInformation, JobObjectBasicAccountingInformation,
    JobObjectBasicAndIoAccountingInformation, JobObjectBasicProcessIdList, JobObjectBasicUIRestrictions,
    JobObjectCpuRateControlInformation, JobObjectExtendedLimitInformation,
    JobObjectNetRateControlInformation, JobObjectNotificationLimitInformation, QueryInformationJobObject,
    SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::identity::Failure;

/// What `JobObjectExtendedLimitInformation` holds, of what orlop uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Basics {
    /// `JOB_OBJECT_LIMIT_…`: which of the others are in force.
    pub(crate) flags: JOB_OBJECT_LIMIT,
    /// Processes at one time.
    pub(crate) processes: u32,
    /// Bytes of one process.
    pub(crate) process_memory: u64,
    /// Bytes of the job.
    pub(crate) job_memory: u64,
    /// User time of all processes, in units of 100 ns.
    pub(crate) user_time: i64,
}

/// A processor rate as the system takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuRate {
    /// Hundredths of a percent of all processors together, 1 to 10,000.
    HardCap(u32),
    /// 1 to 9; 5 is what a job has that does not say.
    Weight(u32),
}

/// What the job has used, as the system tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// User time of all its processes, also of those that have ended.
    pub(crate) user: Duration,
    /// Kernel time.
    pub(crate) kernel: Duration,
    /// Processes ever in it.
    pub(crate) total: u32,
    /// Processes in it now.
    pub(crate) active: u32,
}

/// The calls on one job.
pub(crate) trait JobCalls: fmt::Debug + Send + Sync {
    /// Sets the basic and memory limits, all at once.
    fn set_basics(&self, basics: &Basics) -> Result<(), Failure>;
    /// Reads them back.
    fn basics(&self) -> Result<Basics, Failure>;
    /// Sets the processor rate.
    fn set_cpu_rate(&self, rate: CpuRate) -> Result<(), Failure>;
    /// Reads it back.
    fn cpu_rate(&self) -> Result<Option<CpuRate>, Failure>;
    /// Limits outgoing bytes a second.
    fn set_net_rate(&self, bytes: u64) -> Result<(), Failure>;
    /// Reads it back.
    fn net_rate(&self) -> Result<Option<u64>, Failure>;
    /// Asks for a message when the job's memory passes `bytes`.
    fn notify_memory(&self, bytes: u64) -> Result<(), Failure>;
    /// Sets the restrictions of the user interface.
    fn set_ui(&self, restrictions: u32) -> Result<(), Failure>;
    /// Reads them back.
    fn ui(&self) -> Result<u32, Failure>;
    /// Times and process counts.
    fn counters(&self) -> Result<Counters, Failure>;
    /// Most memory that the job had, in bytes.
    fn peak_memory(&self) -> Result<u64, Failure>;
    /// Bytes read and written by its processes.
    fn io(&self) -> Result<(u64, u64), Failure>;
    /// The ids of its processes.
    fn ids(&self) -> Result<Vec<u32>, Failure>;
    /// Ends all its processes with that exit code. One in the making may be missed.
    fn terminate(&self, code: u32) -> Result<(), Failure>;
}

/// A job object. Closing its only handle ends all its processes.
pub(crate) struct Job(OwnedHandle);

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.0.as_raw_handle()).finish()
    }
}

impl AsHandle for Job {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl Job {
    /// A job without a name and without limits. The handle is not inherited by anybody.
    pub(crate) fn new() -> Result<Self, Failure> {
        // SAFETY: no attributes, no name; the handle is ours.
        unsafe {
            let job = CreateJobObjectW(null(), null());
            if job.is_null() {
                return Err(Failure::last("CreateJobObjectW"));
            }
            Ok(Self(OwnedHandle::from_raw_handle(job)))
        }
    }

    /// A job that somebody else made.
    ///
    /// # Safety
    /// `handle` is a job's, open in this process and nobody else's to close.
    pub(crate) unsafe fn from_raw(handle: RawHandle) -> Self {
        // SAFETY: the caller answers for it.
        Self(unsafe { OwnedHandle::from_raw_handle(handle) })
    }

    /// Sends the job's messages to `port` with `key`. Before its first process, or the first messages are lost.
    pub(crate) fn set_port(&self, port: BorrowedHandle<'_>, key: usize) -> Result<(), Failure> {
        let information = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
            CompletionKey: key as *mut _,
            CompletionPort: port.as_raw_handle(),
        };
        self.set(JobObjectAssociateCompletionPortInformation, &information)
    }

    /// Puts a process into the job.
    pub(crate) fn assign(&self, process: BorrowedHandle<'_>) -> Result<(), Failure> {
        // SAFETY: both handles are open.
        match unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process.as_raw_handle()) } {
            0 => Err(Failure::last("AssignProcessToJobObject")),
            _ => Ok(()),
        }
    }

    /// Whether a process is in the job, or in one nested in it.
    pub(crate) fn holds(&self, process: BorrowedHandle<'_>) -> Result<bool, Failure> {
        in_job(process.as_raw_handle(), self.0.as_raw_handle())
    }

    fn set<T>(&self, class: JOBOBJECTINFOCLASS, value: &T) -> Result<(), Failure> {
        let size = size_of::<T>() as u32;
        // SAFETY: the structure of that class with its size; see the callers.
        match unsafe {
            SetInformationJobObject(self.0.as_raw_handle(), class, (&raw const *value).cast(), size)
        } {
            0 => Err(Failure::last("SetInformationJobObject")),
            _ => Ok(()),
        }
    }

    fn get<T: Default>(&self, class: JOBOBJECTINFOCLASS) -> Result<T, Failure> {
        let mut value = T::default();
        let (size, job) = (size_of::<T>() as u32, self.0.as_raw_handle());
        // SAFETY: the structure of that class with its size; any bytes are a value of it.
        match unsafe { QueryInformationJobObject(job, class, (&raw mut value).cast(), size, null_mut()) } {
            0 => Err(Failure::last("QueryInformationJobObject")),
            _ => Ok(value),
        }
    }
}

/// Whether this process is in a job of somebody else's: a CI agent's, a terminal's.
pub(crate) fn nested() -> bool {
    // SAFETY: a constant that stands for the calling process; no job means any.
    in_job(unsafe { GetCurrentProcess() }, null_mut()).unwrap_or(false)
}

fn in_job(
    process: windows_sys::Win32::Foundation::HANDLE,
    job: windows_sys::Win32::Foundation::HANDLE,
) -> Result<bool, Failure> {
    let mut inside = 0;
    // SAFETY: open handles, or none for any job.
    match unsafe { IsProcessInJob(process, job, &mut inside) } {
        0 => Err(Failure::last("IsProcessInJob")),
        _ => Ok(inside != 0),
    }
}

const ENABLE: u32 = 1;
const CPU_WEIGHT: u32 = 2;
const CPU_HARD_CAP: u32 = 4;
const NET_MAX_BANDWIDTH: u32 = 2;
const NOTIFY_JOB_MEMORY: u32 = 0x200;

/// 100 ns units as the system counts them.
pub(super) fn from_ticks(ticks: i64) -> Duration {
    let ticks = u64::try_from(ticks).unwrap_or(0);
    Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100)
}

impl JobCalls for Job {
    fn set_basics(&self, basics: &Basics) -> Result<(), Failure> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        let basic = &mut limits.BasicLimitInformation;
        basic.LimitFlags = basics.flags;
        basic.ActiveProcessLimit = basics.processes;
        basic.PerJobUserTimeLimit = basics.user_time;
        limits.ProcessMemoryLimit = usize::try_from(basics.process_memory).unwrap_or(usize::MAX);
        limits.JobMemoryLimit = usize::try_from(basics.job_memory).unwrap_or(usize::MAX);
        self.set(JobObjectExtendedLimitInformation, &limits)
    }

    fn basics(&self) -> Result<Basics, Failure> {
        let limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = self.get(JobObjectExtendedLimitInformation)?;
        Ok(Basics {
            flags: limits.BasicLimitInformation.LimitFlags,
            processes: limits.BasicLimitInformation.ActiveProcessLimit,
            process_memory: limits.ProcessMemoryLimit as u64,
            job_memory: limits.JobMemoryLimit as u64,
            user_time: limits.BasicLimitInformation.PerJobUserTimeLimit,
        })
    }

    fn set_cpu_rate(&self, rate: CpuRate) -> Result<(), Failure> {
        let mut information = JOBOBJECT_CPU_RATE_CONTROL_INFORMATION::default();
        match rate {
            CpuRate::HardCap(rate) => {
                information.ControlFlags = ENABLE | CPU_HARD_CAP;
                information.Anonymous.CpuRate = rate;
            }
            CpuRate::Weight(weight) => {
                information.ControlFlags = ENABLE | CPU_WEIGHT;
                information.Anonymous.Weight = weight;
            }
        }
        self.set(JobObjectCpuRateControlInformation, &information)
    }

    fn cpu_rate(&self) -> Result<Option<CpuRate>, Failure> {
        let got: JOBOBJECT_CPU_RATE_CONTROL_INFORMATION = self.get(JobObjectCpuRateControlInformation)?;
        // SAFETY: all members of the union are numbers.
        let (rate, weight) = unsafe { (got.Anonymous.CpuRate, got.Anonymous.Weight) };
        let flags = got.ControlFlags;
        Ok(match flags & ENABLE != 0 {
            true if flags & CPU_HARD_CAP != 0 => Some(CpuRate::HardCap(rate)),
            true if flags & CPU_WEIGHT != 0 => Some(CpuRate::Weight(weight)),
            _ => None,
        })
    }

    fn set_net_rate(&self, bytes: u64) -> Result<(), Failure> {
        let information = JOBOBJECT_NET_RATE_CONTROL_INFORMATION {
            MaxBandwidth: bytes,
            ControlFlags: (ENABLE | NET_MAX_BANDWIDTH) as _,
            ..Default::default()
        };
        self.set(JobObjectNetRateControlInformation, &information)
    }

    fn net_rate(&self) -> Result<Option<u64>, Failure> {
        let got: JOBOBJECT_NET_RATE_CONTROL_INFORMATION = self.get(JobObjectNetRateControlInformation)?;
        Ok((got.ControlFlags as u32 & ENABLE != 0).then_some(got.MaxBandwidth))
    }

    fn notify_memory(&self, bytes: u64) -> Result<(), Failure> {
        let information = JOBOBJECT_NOTIFICATION_LIMIT_INFORMATION {
            JobMemoryLimit: bytes,
            LimitFlags: NOTIFY_JOB_MEMORY,
            ..Default::default()
        };
        self.set(JobObjectNotificationLimitInformation, &information)
    }

    fn set_ui(&self, restrictions: u32) -> Result<(), Failure> {
        let information = JOBOBJECT_BASIC_UI_RESTRICTIONS { UIRestrictionsClass: restrictions };
        self.set(JobObjectBasicUIRestrictions, &information)
    }

    fn ui(&self) -> Result<u32, Failure> {
        let got: JOBOBJECT_BASIC_UI_RESTRICTIONS = self.get(JobObjectBasicUIRestrictions)?;
        Ok(got.UIRestrictionsClass)
    }

    fn counters(&self) -> Result<Counters, Failure> {
        let got: JOBOBJECT_BASIC_ACCOUNTING_INFORMATION = self.get(JobObjectBasicAccountingInformation)?;
        Ok(Counters {
            user: from_ticks(got.TotalUserTime),
            kernel: from_ticks(got.TotalKernelTime),
            total: got.TotalProcesses,
            active: got.ActiveProcesses,
        })
    }

    fn peak_memory(&self) -> Result<u64, Failure> {
        let limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = self.get(JobObjectExtendedLimitInformation)?;
        Ok(limits.PeakJobMemoryUsed as u64)
    }

    fn io(&self) -> Result<(u64, u64), Failure> {
        let got: JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION =
            self.get(JobObjectBasicAndIoAccountingInformation)?;
        Ok((got.IoInfo.ReadTransferCount, got.IoInfo.WriteTransferCount))
    }

    fn ids(&self) -> Result<Vec<u32>, Failure> {
        let mut buffer = vec![0usize; 130];
        loop {
            let (size, job) = (size_of_val(&buffer[..]) as u32, self.0.as_raw_handle());
            let at = buffer.as_mut_ptr().cast();
            // SAFETY: the buffer has as many bytes as is said.
            let got =
                unsafe { QueryInformationJobObject(job, JobObjectBasicProcessIdList, at, size, null_mut()) };
            let header = buffer.as_ptr().cast::<u32>();
            // SAFETY: the buffer begins with two numbers of 32 bits: how many there are, how many are listed.
            let (there, listed) = unsafe { (*header as usize, *header.add(1) as usize) };
            let first = 8 / size_of::<usize>();
            let failure = (got == 0).then(|| Failure::last("QueryInformationJobObject"));
            match failure {
                Some(failure) if failure.code != ERROR_MORE_DATA => return Err(failure),
                None if listed >= there => {
                    return Ok(buffer.iter().skip(first).take(listed).map(|id| *id as u32).collect());
                }
                // Processes come and go: with room to spare, again.
                _ if buffer.len() < 1 << 20 => buffer = vec![0; (buffer.len() * 2).max(there * 2)],
                _ => return Err(Failure { call: "QueryInformationJobObject", code: ERROR_MORE_DATA }),
            }
        }
    }

    fn terminate(&self, code: u32) -> Result<(), Failure> {
        // SAFETY: an open job.
        match unsafe { TerminateJobObject(self.0.as_raw_handle(), code) } {
            0 => Err(Failure::last("TerminateJobObject")),
            _ => Ok(()),
        }
    }
}
