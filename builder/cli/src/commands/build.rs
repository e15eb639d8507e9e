//! `orlop build`: an image from a Dockerfile.

mod annotation;
mod cache;
mod call;
mod context;
mod destination;
mod git;
mod keys;
mod named;
mod refused;
mod secret;
mod summary;
mod trace;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use orlop_builder::output::{Destination, Output, Packing};
use orlop_builder::request::{Allowed, BuildRequest, ContextSource, PullPolicy};
use orlop_builder::source::SourceFile;
use orlop_runner::{HostEntry, Network, Ulimit};
use orlop_store::{Platform, Reference};

use crate::diagnostics::Failure;
use crate::global::ProgressArgs;
use crate::limits::LimitArgs;
use crate::session::App;
use crate::system::machine;
use crate::{env, file, quantity};

use call::{Call, Work};
use context::Found;
use refused::RefusedFlags;
use trace::Traced;

/// Build an image from a Dockerfile
///
/// Standard output carries the image's ID and nothing else; of several platforms that of their index. Without `-o`
/// the image stays in the store, under the names that `-t` gives.
#[derive(Args, Debug)]
pub(crate) struct BuildArgs {
    /// What COPY and ADD read from: a directory, a git repository (`https://…/x.git#REF:DIRECTORY`, `git@HOST:PATH`),
    /// the URL of an archive or a Dockerfile, or `-` for one on standard input
    #[arg(value_name = "CONTEXT")]
    context: Option<OsString>,

    /// Name for the image, `NAME[:TAG]` (repeatable)
    #[arg(short = 't', long = "tag", value_name = "NAME", value_parser = reference)]
    tags: Vec<Reference>,

    /// The Dockerfile, `-` for standard input, or a URL; a path in CONTEXT where that is no directory
    /// [default: CONTEXT/Dockerfile, CONTEXT/dockerfile, CONTEXT/Containerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// File of patterns for what COPY does not see [default, of directories: FILE.dockerignore,
    /// CONTEXT/.containerignore, CONTEXT/.dockerignore]
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,

    /// Context by name, for `--from=NAME` and `FROM NAME`, in the place of a stage or an image of that name: `NAME=DIR`,
    /// `docker-image://IMAGE`, `oci-layout://DIR[:TAG]`, or the URL of a git repository or of a file (repeatable)
    #[arg(long = "build-context", value_name = "NAME=WHERE")]
    build_contexts: Vec<String>,

    /// Value of an ARG; without `=` the environment's, if it has one (repeatable)
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,

    /// Stage to build, by name or number [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,

    /// What to do: `build`; `check` to look for mistakes without building; `outline` for what the target takes from
    /// outside; `targets` for the stages; with `,format=json` for programs
    #[arg(long, value_name = "METHOD", value_parser = call::parse)]
    call: Option<Call>,

    /// Look for mistakes without building, `--call=check`; exit code 1 where there are some
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
          value_name = "BOOL", hide_possible_values = true, action = clap::ArgAction::Set)]
    check: bool,

    /// Run every step, also those whose result is known
    #[arg(long)]
    no_cache: bool,

    /// Run every step of the stage of this name (repeatable)
    #[arg(long = "no-cache-filter", value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,

    /// Where to look for results of steps that the store has not: `type=registry,ref=NAME` or `NAME`, a cache or an
    /// image that carries one; `type=local,src=DIR[,tag=TAG|,digest=DIGEST]` (repeatable)
    #[arg(long = "cache-from", value_name = "FROM")]
    cache_from: Vec<String>,

    /// Where results of steps go, each as soon as it is there: `type=registry,ref=NAME` or `NAME`;
    /// `type=local,dest=DIR[,tag=TAG]`; `type=inline`, into the image itself. With `,mode=max` those of all stages, and
    /// `compression=gzip|zstd|uncompressed`, `compression-level=N`, `force-compression=`, `image-manifest=`,
    /// `ignore-error=` as `docker buildx` has them (repeatable)
    #[arg(long = "cache-to", value_name = "TO")]
    cache_to: Vec<String>,

    /// When to ask the registry for images that the store has: `always`, `missing`, `never`
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always",
          default_value = "missing", value_parser = pull_policy)]
    pull: PullPolicy,

    /// Platforms to build for, `OS/ARCHITECTURE[/VARIANT]` or `local`, with commas between them (repeatable). Of
    /// several the result is an index [default: this machine's]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', value_parser = one_of_platforms)]
    platforms: Vec<Platform>,

    /// Label of the image (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,

    /// Network of RUN steps: `host` (also called `default`) or `none`
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = network)]
    network: Network,

    /// What RUN steps may ask for: `security.insecure` for `RUN --security=insecure`, `network.host` for
    /// `RUN --network=host` where `--network` is `none` (repeatable)
    #[arg(long = "allow", value_name = "NAME")]
    allow: Vec<String>,

    /// Secret for `RUN --mount=type=secret`, or for git where ID is `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`: `id=ID,src=FILE` or `id=ID,env=NAME` (repeatable)
    #[arg(long = "secret", value_name = "SPEC")]
    secrets: Vec<String>,

    /// Agent for `RUN --mount=type=ssh` and for repositories over ssh: `default` or `ID=SOCKET` (repeatable)
    #[arg(long = "ssh", value_name = "SPEC")]
    ssh: Vec<String>,

    /// Host name for RUN steps, `NAME:ADDRESS` or `NAME:host-gateway` (repeatable)
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host_entry)]
    add_hosts: Vec<HostEntry>,

    /// Size of `/dev/shm` [default: 64m]
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size)]
    shm_size: Option<u64>,

    /// Limit for each process of a RUN step, `NAME=SOFT[:HARD]` (repeatable)
    #[arg(long = "ulimit", value_name = "LIMIT", value_parser = ulimit)]
    ulimits: Vec<Ulimit>,

    #[command(flatten)]
    limits: LimitArgs,

    /// Destination: a directory, `-` for a tar on standard output, or `type=oci|docker|local|tar|image|registry`
    /// with `dest=FILE,name=NAME,compression=gzip|zstd|uncompressed` and more (repeatable)
    #[arg(short = 'o', long = "output", value_name = "DEST")]
    outputs: Vec<String>,

    /// Annotation of the manifest in what is written and pushed (repeatable)
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    annotations: Vec<String>,

    /// Push the image to the registry of each of its names
    #[arg(long)]
    push: bool,

    /// Keep the image in the store as well, where `-o` names other destinations only
    #[arg(long)]
    load: bool,

    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Write what was built to this file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,

    /// Write what the build spends its time with to this file, for `ui.perfetto.dev` or `chrome://tracing`. It is no
    /// part of the context
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    #[command(flatten)]
    pub(super) progress: ProgressArgs,

    #[command(flatten)]
    refused: RefusedFlags,
}

/// Reads a name of an image; the error carries its hint.
pub(crate) fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error: orlop_store::reference::ReferenceError| match error.hint() {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    })
}

/// Reads the one platform of a command that works with one.
pub(crate) fn platform(text: &str) -> Result<Platform, String> {
    if text.contains(',') {
        return Err("this takes one platform; only `orlop build` takes several".to_owned());
    }
    one_of_platforms(text)
}

/// Reads one of the platforms of a build; `local` is this machine's, as in `docker buildx build`.
fn one_of_platforms(text: &str) -> Result<Platform, String> {
    match text.trim() {
        "" => Err("the platform is empty".to_owned()),
        "local" => Ok(Platform::host()),
        text => text.parse().map_err(|error: orlop_store::platform::PlatformParseError| error.to_string()),
    }
}

/// Reads `--network`.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    match text {
        "host" | "default" => Ok(Network::Host),
        "none" => Ok(Network::None),
        _ => Err(format!("there is no network `{text}` (use `host` or `none`)")),
    }
}

pub(crate) fn pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text.to_ascii_lowercase().as_str() {
        "always" | "true" | "1" => Ok(PullPolicy::Always),
        "missing" | "ifmissing" | "false" | "0" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(format!("`{text}` is none of `always`, `missing`, `never`")),
    }
}

pub(crate) fn host_entry(text: &str) -> Result<HostEntry, String> {
    text.parse().map_err(|error: orlop_runner::SpecError| with_hint(&error))
}

pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    text.parse().map_err(|error: orlop_runner::SpecError| with_hint(&error))
}

fn with_hint(error: &orlop_runner::SpecError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}

/// Runs the command.
pub(crate) fn run(app: &App, args: &BuildArgs) -> Result<(), Failure> {
    let work = Call::of(args.call, args.check)?.work();
    if args.trace.is_some() && !matches!(work, Work::Build) {
        return Err(Failure::usage("`--trace` is for builds, and nothing is to be built"));
    }
    let question = match work {
        Work::Print(text) => return call::print(&text),
        Work::Answer(question) => Some(question),
        Work::Build => None,
    };
    let Some(context) = &args.context else {
        return Err(Failure::usage("no context is given")
            .with_hint("build from this directory with `orlop build .`".to_owned()));
    };
    let mode = args.progress.mode()?;
    let mut request = request(app, args)?;
    let files = (args.file.as_deref(), args.ignorefile.as_deref());
    let mut pending = None;
    match context::find(Path::new(context), files.0, files.1)? {
        Found::Ready(inputs) => inputs.give(&mut request),
        Found::Pending(rest) => pending = Some(rest),
    }
    if let Some(question) = question {
        let Some(rest) = pending else { return question.answer(app, &request, mode) };
        let session = app.session(mode)?;
        // What was fetched is there until the answer is given.
        let _held = session.work(|engine, progress| rest.load(engine, progress, &mut request))?;
        return question.answer(app, &request, mode);
    }
    let traced = Traced::begin(args.trace.as_deref())?;
    let session = app.session_traced(mode, traced.trace())?;
    // What was fetched is there as long as the build is.
    let built = session.work(|engine, progress| {
        let _held = pending.map(|rest| rest.load(engine, progress, &mut request)).transpose()?;
        traced.keep_out(&mut request);
        Ok::<_, Failure>(orlop_builder::build(engine, progress, &request)?)
    });
    traced.finish(&session);
    let report = built?;
    let id = report.image_id.to_string();
    if let Some(path) = &args.iidfile {
        file::replace(path, id.as_bytes())?;
    }
    if let Some(path) = &args.metadata_file {
        file::replace(path, &summary::metadata(&session.store, &report, &request)?)?;
    }
    session.display.summary(&summary::summary(&session.store, &report, &request, &traced.times()));
    if !request.outputs.iter().any(to_stdout) {
        writeln!(std::io::stdout(), "{id}").map_err(|error| Failure::stdout(&error))?;
    }
    Ok(())
}

/// Whether the output has standard output for itself.
fn to_stdout(output: &Output) -> bool {
    let dest = match output {
        Output::Oci { dest, .. } | Output::Docker { dest, .. } | Output::Tar { dest, .. } => dest,
        Output::Store { .. } | Output::Registry { .. } | Output::Local { .. } => return false,
    };
    matches!(dest, Destination::Open(_))
}

/// What the flags ask for; the Dockerfile and its context are still to be found.
fn request(app: &App, args: &BuildArgs) -> Result<BuildRequest, Failure> {
    let epoch = source_date_epoch(&args.build_args)?;
    let mut build_args = Vec::new();
    if let Some((text, _)) = &epoch
        && !args.build_args.iter().any(|arg| arg.split('=').next() == Some(EPOCH))
    {
        build_args.push((EPOCH.to_owned(), text.clone()));
    }
    for arg in &args.build_args {
        match arg.split_once('=') {
            Some((name, value)) => build_args.push((name.to_owned(), value.to_owned())),
            None => match env::named_by_user(arg).map(OsString::into_string) {
                Some(Ok(value)) => build_args.push((arg.clone(), value)),
                Some(Err(_)) => return Err(Failure::usage(format!("the variable `{arg}` is not UTF-8"))),
                // As Docker: a variable that is not set leaves the ARG as it is.
                None => {}
            },
        }
    }
    if let Some((name, _)) = build_args.iter().find(|(name, _)| name.is_empty()) {
        return Err(Failure::usage(format!("`--build-arg {name}=`: the name is empty")));
    }
    let labels = args
        .labels
        .iter()
        .map(|label| match label.split_once('=') {
            Some(("", _)) => Err(Failure::usage(format!("`--label {label}`: the name is empty"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Ok((label.clone(), String::new())),
        })
        .collect::<Result<_, _>>()?;
    let cache_from = args.cache_from.iter().map(|text| cache::from(text)).collect::<Result<_, _>>();
    let cache_to = args.cache_to.iter().map(|text| cache::to(text)).collect::<Result<_, _>>();
    let (cache_from, cache_to) = (cache_from.map_err(Failure::usage)?, cache_to.map_err(Failure::usage)?);
    let asked = args.limits.asked()?;
    Ok(BuildRequest {
        dockerfile: Arc::new(SourceFile::new("Dockerfile", "")),
        ignore: None,
        context: ContextSource::Empty,
        named_contexts: args
            .build_contexts
            .iter()
            .map(|text| named::named(text))
            .collect::<Result<_, _>>()?,
        tags: args.tags.clone(),
        target: args.target.clone().filter(|target| !target.is_empty()),
        build_args,
        labels,
        platforms: args.platforms.clone(),
        host_version: machine::version(),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_filter.iter().filter(|name| !name.is_empty()).cloned().collect(),
        pull: args.pull,
        network: args.network,
        allowed: allowed(&args.allow)?,
        secrets: args.secrets.iter().map(|text| secret::secret(text)).collect::<Result<_, _>>()?,
        ssh: args.ssh.iter().map(|text| secret::agent(text)).collect::<Result<_, _>>()?,
        git: git::settings()?,
        add_hosts: args.add_hosts.clone(),
        shm_size: args.shm_size.filter(|&bytes| bytes > 0),
        ulimits: args.ulimits.clone(),
        limits: asked.limits,
        isolation: asked.isolation,
        mitigations: asked.mitigations,
        host_system_files: asked.host_system_files,
        outputs: outputs(args, app.host.root)?,
        cache_from,
        cache_to,
        source_date_epoch: epoch.map(|(_, seconds)| seconds),
    })
}

/// Reads `--allow`.
fn allowed(names: &[String]) -> Result<Allowed, Failure> {
    let mut allowed = Allowed::default();
    for name in names.iter().flat_map(|names| names.split(',')) {
        match name {
            "security.insecure" => allowed.insecure = true,
            "network.host" => allowed.host_network = true,
            // Devices are refused where a step asks for one; to allow them is no mistake.
            "device" => {}
            _ if name.starts_with("device=") => {}
            _ => {
                return Err(Failure::usage(format!(
                    "`--allow {name}`: there is nothing of that name to allow"
                ))
                .with_hint("these exist: `security.insecure`, `network.host`".to_owned()));
            }
        }
    }
    Ok(allowed)
}

const EPOCH: &str = env::SOURCE_DATE_EPOCH.name;

/// The build argument of that name, else the variable.
fn source_date_epoch(build_args: &[String]) -> Result<Option<(String, i64)>, Failure> {
    let given = build_args.iter().rev().find_map(|arg| match arg.split_once('=') {
        Some((name, value)) => (name == EPOCH).then(|| value.to_owned()),
        None => None,
    });
    let Some(text) = given.or_else(|| env::SOURCE_DATE_EPOCH.text()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Some((text, seconds))),
        _ => Err(Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`, which is not a number of seconds"))),
    }
}

/// `-o`, `--push`, `--load`, and the store where nothing else is named or the image has a name.
fn outputs(args: &BuildArgs, root: bool) -> Result<Vec<Output>, Failure> {
    let mut out = args
        .outputs
        .iter()
        .map(|text| destination::parse(text, root))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::usage)?;
    let streams = out.iter().filter(|output| to_stdout(output)).count();
    if streams > 1 {
        return Err(Failure::usage("only one output can be written to standard output"));
    }
    if args.push && !out.iter().any(|output| matches!(output, Output::Registry { .. })) {
        out.push(Output::Registry { names: Vec::new(), packing: Packing::default() });
    }
    annotation::add(&args.annotations, &mut out)?;
    for output in &out {
        if let Output::Registry { names, .. } = output
            && names.is_empty()
            && args.tags.is_empty()
        {
            return Err(Failure::usage("pushing needs a name for the image")
                .with_hint("name it with `-t REGISTRY/NAME`".to_owned()));
        }
    }
    let mut platforms = args.platforms.clone();
    platforms.sort();
    platforms.dedup();
    if platforms.len() > 1 && out.iter().any(|output| matches!(output, Output::Docker { .. })) {
        return Err(Failure::usage("`-o type=docker` writes one platform, and several are asked for")
            .with_hint("write an OCI archive, `-o type=oci,dest=FILE`, or build one platform".to_owned()));
    }
    // An image with a name is in the store under it, so that `orlop tag` and `orlop push` find it.
    let stored = out.iter().any(|output| matches!(output, Output::Store { .. }));
    let wanted = args.load || !args.tags.is_empty() || out.is_empty();
    if wanted && !stored {
        out.insert(0, Output::Store { names: Vec::new() });
    }
    Ok(out)
}
