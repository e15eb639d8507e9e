//! Limits and isolation of the jobs that run commands: flags, then the configuration file, under the same
//! names and with the same values.

use std::time::Duration;

use clap::Args;
use orlop_runner::{Isolation, Limits, Mitigation};

use crate::config::settings::Settings;
use crate::diagnostics::Failure;
use crate::{env, quantity};

/// Limits of the jobs that run commands; 0 stands for none, as in Docker.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LimitArgs {
    /// Memory that each command may use, all its processes together, `512m`
    #[arg(short, long, value_name = "SIZE", value_parser = quantity::parse_size)]
    memory: Option<u64>,

    /// Memory that each single process of a command may use, `256m`
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size)]
    process_memory: Option<u64>,

    /// Processors' worth of time that each command may use, `1.5`
    #[arg(long, value_name = "NUMBER", value_parser = quantity::parse_cpus)]
    cpus: Option<f64>,

    /// Share of the processors where they are scarce, 1 to 10000, 100 being usual
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    cpu_weight: Option<u16>,

    /// Processes and threads that each command may have at one time (on Windows processes)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = pids)]
    pids_limit: Option<u64>,

    /// Processor time, of all its processes together, after which each command is killed, `10m`
    #[arg(long, value_name = "DURATION", value_parser = quantity::parse_duration)]
    cpu_time: Option<Duration>,

    /// Bytes that each command may send over the network in a second, `10m`
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size)]
    net_rate: Option<u64>,

    /// Time after which each command is killed, `90s`, `1h30m`
    #[arg(long, value_name = "DURATION", value_parser = quantity::parse_duration)]
    timeout: Option<Duration>,

    /// How commands are confined: `job`, with `,allow=NAME,…` where less is accepted than the usual [Windows], and
    /// with `,identity=restricted-token` where programs do not run in the usual `app-container` [Windows]
    #[arg(long, value_name = "ISOLATION", value_parser = isolation)]
    isolation: Option<Isolation>,

    /// Process mitigation policy for commands, such as `win32k-off` (repeatable) [Windows]
    #[arg(long = "mitigation", value_name = "NAME", value_parser = mitigation)]
    mitigations: Vec<Mitigation>,

    /// Run commands of images that have their own `Windows` directory with this machine's system files [Windows]
    #[arg(long)]
    host_system_files: bool,
}

/// What came of flags and files.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) limits: Limits,
    pub(crate) isolation: Isolation,
    pub(crate) mitigations: Vec<Mitigation>,
    pub(crate) host_system_files: bool,
}

impl LimitArgs {
    /// The flags, and where they say nothing the environment and the configuration files.
    pub(crate) fn asked(&self) -> Result<Asked, Failure> {
        let asked = self.over(&Settings::read()?, env::ORLOP_ISOLATION.text().as_deref())?;
        if !cfg!(windows) {
            asked.refuse_what_only_windows_has()?;
        }
        Ok(asked)
    }

    fn over(&self, settings: &Settings, variable: Option<&str>) -> Result<Asked, Failure> {
        let wanted = |bytes: &u64| *bytes > 0;
        let time = |time: &Duration| !time.is_zero();
        let size = |flag: Option<u64>, key| match flag {
            Some(bytes) => Ok(Some(bytes)),
            None => settings.value(key, quantity::parse_size),
        };
        let duration = |flag: Option<Duration>, key| match flag {
            Some(time) => Ok(Some(time)),
            None => settings.value(key, quantity::parse_duration),
        };
        let limits = Limits {
            memory: size(self.memory, "memory")?.filter(wanted),
            process_memory: size(self.process_memory, "process-memory")?.filter(wanted),
            cpus: match self.cpus {
                Some(cpus) => Some(cpus),
                None => settings.value("cpus", quantity::parse_cpus)?,
            },
            cpu_weight: match self.cpu_weight {
                Some(weight) => Some(weight),
                None => settings.value("cpu-weight", weight)?,
            },
            pids: match self.pids_limit {
                Some(count) => Some(count),
                None => settings.value("pids-limit", pids)?,
            }
            .filter(wanted),
            cpu_time: duration(self.cpu_time, "cpu-time")?.filter(time),
            net_rate: size(self.net_rate, "net-rate")?.filter(wanted),
            wall: duration(self.timeout, "timeout")?.filter(time),
            grace: None,
        };
        let isolation = match (&self.isolation, variable) {
            (Some(isolation), _) => isolation.clone(),
            (None, Some(text)) => {
                isolation(text).map_err(|why| Failure::usage(format!("ORLOP_ISOLATION: {why}")))?
            }
            (None, None) => settings.value("isolation", isolation)?.unwrap_or_default(),
        };
        let mitigations = match self.mitigations.as_slice() {
            [] => settings.values("mitigation", mitigation)?,
            flags => flags.to_vec(),
        };
        let from_file = settings.value("host-system-files", yes_or_no)?.unwrap_or_default();
        Ok(Asked { limits, isolation, mitigations, host_system_files: self.host_system_files || from_file })
    }
}

impl Asked {
    /// Elsewhere each of these would do nothing.
    fn refuse_what_only_windows_has(&self) -> Result<(), Failure> {
        let what = if let Some(name) = self.isolation.allow.first() {
            format!("`allow={name}` in the isolation names a confinement of jobs on Windows")
        } else if let Some(identity) = self.isolation.identity {
            format!("`identity={}` in the isolation is an identity of jobs on Windows", identity.name())
        } else if let Some(mitigation) = self.mitigations.first() {
            format!("`{}` is a mitigation of processes on Windows", mitigation.name())
        } else if self.host_system_files {
            "`--host-system-files` is for images of Windows, run on Windows".to_owned()
        } else {
            return Ok(());
        };
        Err(Failure::usage(what).with_hint("leave it out on this system".to_owned()))
    }
}

fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        // Docker's words for what is done here anyway.
        "" | "default" => Ok(Isolation::default()),
        "chroot" | "rootless" | "oci" | "process" | "hyperv" => {
            Err(format!("RUN steps are isolated as jobs, there is no `{text}`: write `--isolation=job`"))
        }
        _ => text.parse().map_err(|error| with_hint(&error)),
    }
}

fn mitigation(text: &str) -> Result<Mitigation, String> {
    text.parse().map_err(|error| with_hint(&error))
}

fn with_hint(error: &orlop_runner::SpecError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}

/// Reads `--cpu-weight`.
fn weight(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(weight @ 1..=10_000) => Ok(weight),
        _ => Err(format!("`{text}` is not a weight (1 to 10000, 100 being usual)")),
    }
}

/// Reads `--pids-limit`; Docker writes -1 for no limit.
fn pids(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(0),
        Ok(count) if count >= 0 => Ok(count.unsigned_abs()),
        _ => Err(format!("`{text}` is not a number of processes")),
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut out = Settings::default();
        out.add("config.toml", text).unwrap();
        out
    }

    #[test]
    fn an_identity_is_read_from_files_too() {
        let file = settings("[limits]\nisolation = \"job,identity=restricted-token,allow=named-objects\"\n");
        let asked = LimitArgs::default().over(&file, None).unwrap();
        assert_eq!(asked.isolation.identity, Some(orlop_runner::Identity::RestrictedToken));
        assert!(asked.isolation.allows("named-objects"));
        let file = settings("[limits]\nisolation = \"job,identity=root\"\n");
        let error = LimitArgs::default().over(&file, None).unwrap_err().to_string();
        assert!(error.contains("`job,identity=root` is not an isolation"), "{error}");
        assert!(error.contains("identity=app-container|restricted-token"), "{error}");
    }

    #[test]
    fn flags_win_over_the_variable_and_the_variable_over_files() {
        let file =
            settings("[limits]\nmemory = \"1g\"\ncpus = 2\npids-limit = 9\nisolation = \"job,allow=file\"\n");
        let args = LimitArgs { memory: Some(1 << 20), ..LimitArgs::default() };
        let asked = args.over(&file, Some("job,allow=variable")).unwrap();
        assert_eq!(asked.limits.memory, Some(1 << 20));
        assert_eq!((asked.limits.cpus, asked.limits.pids), (Some(2.0), Some(9)));
        assert!(asked.isolation.allows("variable") && !asked.isolation.allows("file"));
        assert!(args.over(&file, None).unwrap().isolation.allows("file"));
        let flag = LimitArgs { isolation: Some(Isolation::default()), ..args };
        assert_eq!(flag.over(&file, Some("job,allow=x")).unwrap().isolation, Isolation::default());
    }

    #[test]
    fn a_flag_of_nothing_takes_a_limit_of_the_file_away() {
        let file = settings(
            "[limits]\ntimeout = \"1h\"\ncpu-time = 60\nnet-rate = \"1m\"\nprocess-memory = \"64m\"\n",
        );
        let asked = LimitArgs::default().over(&file, None).unwrap();
        assert_eq!(asked.limits.wall, Some(Duration::from_secs(3600)));
        assert_eq!(asked.limits.cpu_time, Some(Duration::from_secs(60)));
        assert_eq!((asked.limits.net_rate, asked.limits.process_memory), (Some(1 << 20), Some(64 << 20)));
        let flags = LimitArgs { timeout: Some(Duration::ZERO), net_rate: Some(0), ..LimitArgs::default() };
        let asked = flags.over(&file, None).unwrap();
        assert_eq!((asked.limits.wall, asked.limits.net_rate), (None, None));
    }

    #[test]
    fn what_a_file_says_wrong_is_named_with_its_line() {
        for (text, why) in [
            ("[limits]\nmemory = \"lots\"\n", "`config.toml`, line 2: `memory`: `lots` is not a size"),
            ("[limits]\n\ncpu-weight = 0\n", "line 3: `cpu-weight`: `0` is not a weight"),
            ("[limits]\nisolation = \"hyperv\"\n", "there is no `hyperv`"),
            ("[limits]\nmitigation = [\"none\"]\n", "`none` is not a process mitigation"),
            ("[limits]\nhost-system-files = \"maybe\"\n", "neither `true` nor `false`"),
        ] {
            let error = LimitArgs::default().over(&settings(text), None).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = LimitArgs::default().over(&Settings::default(), Some("vm")).unwrap_err().to_string();
        assert!(error.contains("ORLOP_ISOLATION"), "{error}");
    }

    #[test]
    fn what_only_windows_has_is_refused_elsewhere() {
        let file = settings("[limits]\nmitigation = [\"win32k-off\", \"fonts-off\"]\n");
        let asked = LimitArgs::default().over(&file, None).unwrap();
        assert_eq!(asked.mitigations, [Mitigation::Win32kOff, Mitigation::FontsOff]);
        assert!(asked.refuse_what_only_windows_has().is_err());
        let flags = LimitArgs { host_system_files: true, ..LimitArgs::default() };
        let asked = flags.over(&Settings::default(), None).unwrap();
        assert!(
            asked.refuse_what_only_windows_has().unwrap_err().to_string().contains("--host-system-files")
        );
        for (_, name) in orlop_runner::Identity::ALL {
            let text = format!("job,identity={name}");
            let asked = LimitArgs::default().over(&Settings::default(), Some(&text)).unwrap();
            let error = asked.refuse_what_only_windows_has().unwrap_err().to_string();
            assert!(error.contains(&format!("`identity={name}`")), "{error}");
        }
        let asked = LimitArgs::default().over(&Settings::default(), Some("job")).unwrap();
        assert!(asked.refuse_what_only_windows_has().is_ok());
    }
}
