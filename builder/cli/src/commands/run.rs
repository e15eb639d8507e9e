//! `orlop run`: a command in a container, to try an image.

mod volume;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use orlop_builder::event::Outcome;
use orlop_builder::execute::check_machine;
use orlop_builder::request::PullPolicy;
use orlop_builder::transfer;
use orlop_runner::{
    HostEntry, Hostname, LimitHit, Mount, Network, OutputSink, RunSpec, Runner, Stdin, Stream, Terminal,
    Ulimit,
};
use orlop_store::snapshot::Committed;
use orlop_store::{Config, Image, Platform, Reference};

use super::build::{host_entry, network, platform, ulimit};
use crate::diagnostics::Failure;
use crate::env;
use crate::global::ProgressArgs;
use crate::limits::LimitArgs;
use crate::session::{App, Session};
use crate::{layers, quantity, system};

/// `PATH` of images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Run a command in a container, to try an image
///
/// The container runs in the foreground, and everything it writes to its file system is gone when it
/// ends: containers are never kept. Its exit code is passed on.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,

    /// Remove the container at its end, which always happens
    #[arg(long)]
    rm: bool,

    /// Show a directory or file of this machine, `HOST:CONTAINER[:ro]` (repeatable)
    #[arg(short = 'v', long = "volume", value_name = "SPEC")]
    volumes: Vec<String>,

    /// Environment variable; without `=` this environment's, if it has one (repeatable)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,

    /// Working directory [default: the image's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,

    /// User, `NAME|UID[:GROUP|GID]` [default: the image's]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,

    /// Host name of the container
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<Hostname>,

    /// Network: `host` (also called `default`) or `none`
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = network)]
    network: Network,

    /// Program to run instead of the image's entry point; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Host name for the container, `NAME:ADDRESS` (repeatable)
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host_entry)]
    add_hosts: Vec<HostEntry>,

    /// Size of `/dev/shm` [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size)]
    shm_size: Option<u64>,

    /// Limit for each process, `NAME=SOFT[:HARD]` (repeatable)
    #[arg(long = "ulimit", value_name = "LIMIT", value_parser = ulimit)]
    ulimits: Vec<Ulimit>,

    /// Make the container's root read-only
    #[arg(long)]
    read_only: bool,

    #[command(flatten)]
    limits: LimitArgs,

    /// When to ask the registry for the image: `always`, `missing`, `never`
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = super::build::pull_policy)]
    pull: PullPolicy,

    /// Platform of the image, `OS/ARCHITECTURE` [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,

    /// Name or ID of the image
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The command and its arguments [default: the image's]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn hostname(text: &str) -> Result<Hostname, String> {
    text.parse().map_err(|error: orlop_runner::SpecError| error.to_string())
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &RunArgs) -> Result<(), Failure> {
    system::container::check()?;
    if args.tty && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("standard input is not a terminal, as `--tty` needs it")
            .with_hint("leave out `-t`".to_owned()));
    }
    let mounts = args.volumes.iter().map(|text| volume::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let session = app.session(args.progress.mode()?)?;
    let here = app.here(&session.store, &args.image)?;
    let image = image(&session, args, &here)?;
    let snapshots = session.store.snapshots()?;
    let active = snapshots.prepare(&Committed::new(image.diff_ids())).map_err(orlop_store::Error::from)?;
    if let Some(note) = session.store.driver_note() {
        session.warn(note);
    }
    check_machine(&session.runner, active.path(), &image.platform(), &session.cancel)?;
    let spec = spec(args, image.config(), active.path(), mounts)?;
    let report = session.runner.run(&spec, &mut Pass::default(), &session.cancel)?;
    if report.cancelled {
        return Err(Failure::interrupted());
    }
    if let Some(limit) = report.limit_hit
        && !report.exit.is_success()
    {
        session.warn(&format!("the container hit its {limit}"));
        if limit == LimitHit::Wall {
            // As timeout(1) has it.
            return Err(Failure::exit(124));
        }
    }
    match report.exit.shell_code() {
        0 => Ok(()),
        code => Err(Failure::exit(code)),
    }
}

/// The image, all its layers here. Nothing is shown where nothing has to be fetched.
fn image(session: &Session, args: &RunArgs, here: &str) -> Result<Image, Failure> {
    let images = session.store.images();
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let name = args.image.parse::<Reference>();
    let named = images.resolve(here);
    // An ID is taken for what it is; whatever platform it is for unless one is asked for.
    let is_id = named.is_ok()
        && !matches!(here.parse::<Reference>().map(|name| images.named(&name)), Ok(Ok(Some(_))));
    if args.pull != PullPolicy::Always
        && let Ok(named) = &named
    {
        let chosen = images.choose(named, &platform)?.unwrap_or_else(|| named.clone());
        let image = images.load(&chosen)?;
        let suits = platform.matches(&image.platform()) || (is_id && args.platform.is_none());
        if suits && layers::are_here(&session.store, &image)? {
            return Ok(image);
        }
    }
    let name = match name {
        Ok(name) if !is_id => name,
        // An ID, whose layers are at a registry.
        _ => {
            let image =
                images.load(&super::for_platform(&session.store, &args.image, args.platform.as_ref())?)?;
            return session.work(|engine, progress| {
                let task = progress.start(format!("fetch the layers of {}", args.image));
                transfer::fetch_layers(engine, &image, None, &task)?;
                task.finish(Outcome::Done, None, None);
                Ok::<_, Failure>(image)
            });
        }
    };
    session.work(|engine, progress| {
        let task = progress.start(format!("pull {}", name.familiar()));
        let image = transfer::pull(engine, &name, &platform, args.pull, &task)?;
        task.finish(Outcome::Done, None, None);
        Ok::<_, Failure>(image)
    })
}

/// The job that the flags and the image's config ask for.
fn spec(args: &RunArgs, config: &Config, root: &Path, mounts: Vec<Mount>) -> Result<RunSpec, Failure> {
    let words = words(args.entrypoint.as_deref(), &args.command, config);
    if words.is_empty() {
        return Err(Failure::user("the image has no command of its own")
            .with_hint(format!("name one: `orlop run {} COMMAND`", args.image)));
    }
    let mut spec = RunSpec::new(root, words);
    system::container::set_user(&mut spec, args.user.as_deref().or(config.user()).unwrap_or_default())?;
    let cwd = config.working_dir().filter(|dir| !dir.is_empty()).unwrap_or("/");
    spec.cwd = args.workdir.clone().unwrap_or_else(|| cwd.into());
    spec.env =
        variables(&args.env, config).into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    spec.mounts = mounts;
    spec.network = args.network;
    spec.add_hosts.clone_from(&args.add_hosts);
    spec.shm_size = args.shm_size.filter(|&bytes| bytes > 0).unwrap_or(spec.shm_size);
    spec.ulimits.clone_from(&args.ulimits);
    let asked = args.limits.asked()?;
    spec.limits = asked.limits;
    spec.isolation = asked.isolation;
    spec.windows.mitigations = asked.mitigations;
    spec.windows.host_system_files = asked.host_system_files;
    spec.security.readonly_root = args.read_only;
    if let Some(hostname) = &args.hostname {
        spec.hostname = hostname.clone();
    }
    if args.interactive {
        spec.stdin = Stdin::Inherit;
    }
    if args.tty {
        spec.terminal = Some(Terminal::default());
    }
    Ok(spec)
}

/// Entry point and command: words on the command line replace the image's command, an entry point there
/// replaces both.
fn words(entrypoint: Option<&str>, command: &[String], config: &Config) -> Vec<String> {
    let mut out = match entrypoint {
        Some("") => Vec::new(),
        Some(program) => vec![program.to_owned()],
        None => config.entrypoint().unwrap_or_default(),
    };
    match command {
        [] if entrypoint.is_none() => out.extend(config.cmd().unwrap_or_default()),
        command => out.extend_from_slice(command),
    }
    out
}

/// The image's variables, then the flags'.
fn variables(flags: &[String], config: &Config) -> Vec<(String, String)> {
    let mut out = config.env();
    let mut set = |name: &str, value: String| match out.iter_mut().find(|(known, _)| known == name) {
        Some((_, slot)) => *slot = value,
        None => out.push((name.to_owned(), value)),
    };
    for flag in flags {
        match flag.split_once('=') {
            Some((name, value)) => set(name, value.to_owned()),
            None => {
                if let Some(value) = env::named_by_user(flag).and_then(|value| value.into_string().ok()) {
                    set(flag, value);
                }
            }
        }
    }
    if !out.iter().any(|(name, _)| name == "PATH") {
        out.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
    }
    out
}

/// Passes output on as it comes. When nobody reads it any more the rest is dropped.
#[derive(Default)]
struct Pass {
    gone: [bool; 2],
}

impl OutputSink for Pass {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let (gone, result) = match stream {
            Stream::Stdout => {
                let mut out = std::io::stdout().lock();
                (&mut self.gone[0], out.write_all(bytes).and_then(|()| out.flush()))
            }
            Stream::Stderr => (&mut self.gone[1], std::io::stderr().lock().write_all(bytes)),
        };
        *gone |= result.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let bytes = br#"{"config":{"Entrypoint":["/e"],"Cmd":["c"],"Env":["A=1","B=2"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        Config::parse(bytes).unwrap()
    }

    #[test]
    fn words_come_from_the_line_before_the_image() {
        let words = |entrypoint, command: &[&str]| {
            let command: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
            words(entrypoint, &command, &config())
        };
        assert_eq!(words(None, &[]), ["/e", "c"]);
        assert_eq!(words(None, &["x", "y"]), ["/e", "x", "y"]);
        assert_eq!(words(Some("/z"), &[]), ["/z"]);
        assert_eq!(words(Some(""), &["x"]), ["x"]);
        assert!(words(Some(""), &[]).is_empty());
    }

    #[test]
    fn flags_replace_variables_in_their_place() {
        let flags = ["B=3".to_owned(), "C=".to_owned(), "NO_SUCH_VARIABLE_HERE".to_owned()];
        let shown: Vec<String> =
            variables(&flags, &config()).iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(shown[..3], ["A=1", "B=3", "C="]);
        assert!(shown[3].starts_with("PATH=/usr/local/sbin"));
        assert_eq!(shown.len(), 4);
    }
}
