//! Flags of `docker build` and `buildah build` that mean something we do not do. They are known, so
//! that the answer is what to do instead and not that there is no such flag.

use clap::builder::Str;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// One such flag.
struct Flag {
    name: &'static str,
    short: Option<char>,
    /// The values that ask for what happens anyway, and are therefore taken.
    fine: &'static [&'static str],
    /// Whether a value always follows; a flag of yes or no has one only behind `=`.
    value: bool,
    why: &'static str,
}

const fn flag(name: &'static str, why: &'static str) -> Flag {
    Flag { name, short: None, fine: &[], value: false, why }
}

const fn fine(name: &'static str, fine: &'static [&'static str], why: &'static str) -> Flag {
    Flag { name, short: None, fine, value: true, why }
}

const fn yes_or_no(name: &'static str, fine: &'static [&'static str], why: &'static str) -> Flag {
    Flag { name, short: None, fine, value: false, why }
}

const ATTESTATIONS: &str = "attestations are not made yet; leave it out";
const JOB: &str = "RUN steps get Docker's default privileges; one that needs more says `RUN --security=insecure` and is allowed it with `--allow security.insecure`";
const CPUS: &str = "use `--cpus`";

/// All of them.
const FLAGS: &[Flag] = &[
    fine("attest", &["type=provenance,disabled=true", "type=sbom,disabled=true"], ATTESTATIONS),
    flag("builder", "orlop has no daemon and no builders"),
    flag("cap-add", JOB),
    flag("cap-drop", JOB),
    flag("cgroup-parent", "the limits of a step are set with `--memory`, `--cpus` and `--pids-limit`"),
    flag("compress", "there is no daemon to send the context to"),
    flag("cpu-period", CPUS),
    flag("cpu-quota", CPUS),
    flag("cpu-shares", "use `--cpu-weight`, where 100 stands for Docker's 1024"),
    flag("cpuset-cpus", CPUS),
    flag("cpuset-mems", CPUS),
    flag("device", JOB),
    flag("env", "set it in the Dockerfile with ENV"),
    yes_or_no("force-rm", &["true"], "the remains of a step are always removed"),
    fine(
        "format",
        &["oci"],
        "images are written as OCI images; for `docker load` use `-o type=docker,dest=FILE`",
    ),
    flag("jobs", "independent stages always run at the same time"),
    yes_or_no("layers", &["true"], "every step is cached; use `--no-cache` to run them all"),
    flag("logfile", "redirect standard error instead"),
    flag(
        "manifest",
        "name the index with `-t`, and all its platforms with `--platform linux/amd64,linux/arm64`",
    ),
    flag("memory-swap", "use `--memory`"),
    fine("provenance", &["false"], ATTESTATIONS),
    yes_or_no("rm", &["true"], "the remains of a step are always removed"),
    fine("sbom", &["false"], ATTESTATIONS),
    flag("security-opt", JOB),
    flag("sign-by", "images are not signed; sign them with `cosign`"),
    yes_or_no(
        "squash",
        &["false"],
        "layers are kept as they are; copy the last stage into a new one with `COPY --from` instead",
    ),
    flag("timestamp", "set the environment variable SOURCE_DATE_EPOCH"),
    flag("unsetenv", "set it in the Dockerfile with ENV"),
    flag("userns", JOB),
    Flag {
        name: "volume",
        short: Some('v'),
        fine: &[],
        value: true,
        why: "use `RUN --mount=type=bind` or `type=cache` in the Dockerfile",
    },
];

/// The flags as clap's arguments: parsing fails with the reason when one is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedFlags;

impl Args for RefusedFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let mut arg = Arg::new(Str::from(flag.name)).long(flag.name).hide(true).action(ArgAction::Append);
            if !flag.value {
                arg = arg.num_args(0..=1).default_missing_value("true");
                // A flag that is taken must not swallow CONTEXT.
                arg = arg.require_equals(!flag.fine.is_empty());
            }
            if let Some(short) = flag.short {
                arg = arg.short(short);
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RefusedFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        for flag in FLAGS {
            let Some(values) = matches.get_many::<String>(flag.name) else { continue };
            for value in values {
                if !flag.fine.contains(&value.as_str()) {
                    let shown = if flag.fine.is_empty() { String::new() } else { format!("={value}") };
                    let text = format!("`--{}{shown}` is not supported: {}\n", flag.name, flag.why);
                    return Err(clap::Error::raw(ErrorKind::InvalidValue, text));
                }
            }
        }
        Ok(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
