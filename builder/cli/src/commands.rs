//! The commands, one file each.

mod build;
mod completions;
mod copy;
mod digest;
mod history;
mod images;
pub(crate) mod info;
mod inspect;
mod load;
mod login;
mod logout;
mod pull;
mod push;
mod referrers;
mod rmi;
mod run;
mod save;
mod store;
mod tag;
mod tags;
mod version;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use orlop_store::{Named, Platform, Store};

use crate::diagnostics::Failure;
use crate::global::Global;
use crate::session::App;
use crate::startup;

/// Build OCI images without a daemon
#[derive(Parser, Debug)]
#[command(
    name = "orlop",
    version,
    after_long_help = crate::env::help(),
    disable_help_subcommand = true,
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    #[command(visible_alias = "bud")]
    Build(Box<build::BuildArgs>),
    Pull(pull::PullArgs),
    Push(push::PushArgs),
    Copy(Box<copy::CopyArgs>),
    Images(images::ImagesArgs),
    Tag(tag::TagArgs),
    Rmi(rmi::RmiArgs),
    Inspect(inspect::InspectArgs),
    Digest(digest::DigestArgs),
    #[command(visible_alias = "list-tags")]
    Tags(tags::TagsArgs),
    Referrers(referrers::ReferrersArgs),
    History(history::HistoryArgs),
    Load(load::LoadArgs),
    Save(save::SaveArgs),
    Run(Box<run::RunArgs>),
    Store(store::StoreArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    Info(info::InfoArgs),
    Version(version::VersionArgs),
    #[command(hide = true)]
    Completions(completions::CompletionsArgs),
}

/// What to do instead of a command that people know from elsewhere and that is not here.
pub(crate) fn instead(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    match name.as_str() {
        "buildx" | "builder" => Some("write `orlop build`: its flags are those of `docker buildx build`"),
        "manifest" => Some("write `orlop inspect --raw NAME` to see one, `orlop copy` to bring it elsewhere"),
        "sync" | "cp" => Some("write `orlop copy SOURCE DESTINATION`: it copies whole indexes"),
        "ps" | "exec" | "stop" | "kill" | "logs" | "start" => {
            Some("there is no daemon, and no container that outlives its command")
        }
        _ => None,
    }
}

impl Command {
    /// Whether a failure is shown as an event.
    pub(crate) fn fails_in_json(&self) -> bool {
        let progress = match self {
            Self::Build(args) => &args.progress,
            Self::Pull(args) => &args.progress,
            Self::Push(args) => &args.progress,
            Self::Copy(args) => &args.progress,
            Self::Load(args) => &args.progress,
            Self::Save(args) => &args.progress,
            Self::Run(args) => &args.progress,
            _ => return false,
        };
        progress.is_json()
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        // These need nothing of the machine.
        Command::Version(args) => return version::run(args),
        Command::Completions(args) => return completions::run(args),
        Command::Login(args) => return login::run(&cli.global, args),
        Command::Logout(args) => return logout::run(&cli.global, args),
        // These need no store, and so neither root nor namespaces.
        Command::Copy(args) => return copy::run(&cli.global, args),
        Command::Digest(args) => return digest::run(&cli.global, args),
        Command::Tags(args) => return tags::run(&cli.global, args),
        Command::Referrers(args) => return referrers::run(&cli.global, args),
        Command::Inspect(args) if args.is_remote() => return inspect::run_remote(&cli.global, args),
        _ => {}
    }
    let app = App { host: startup::enter()?, global: cli.global.clone() };
    match &cli.command {
        Command::Build(args) => build::run(&app, args),
        Command::Pull(args) => pull::run(&app, args),
        Command::Push(args) => push::run(&app, args),
        Command::Copy(args) => copy::run(&app.global, args),
        Command::Digest(args) => digest::run(&app.global, args),
        Command::Tags(args) => tags::run(&app.global, args),
        Command::Referrers(args) => referrers::run(&app.global, args),
        Command::Images(args) => images::run(&app, args),
        Command::Tag(args) => tag::run(&app, args),
        Command::Rmi(args) => rmi::run(&app, args),
        Command::Inspect(args) => inspect::run(&app, args),
        Command::History(args) => history::run(&app, args),
        Command::Load(args) => load::run(&app, args),
        Command::Save(args) => save::run(&app, args),
        Command::Run(args) => run::run(&app, args),
        Command::Store(args) => store::run(&app, args),
        Command::Info(args) => info::run(&app, args),
        Command::Version(args) => version::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Login(args) => login::run(&cli.global, args),
        Command::Logout(args) => logout::run(&cli.global, args),
    }
}

/// What `text` stands for; of images for several platforms the one for `platform`, or for this machine where none is
/// asked for. An image's own ID stands for that image.
pub(crate) fn for_platform(store: &Store, text: &str, platform: Option<&Platform>) -> Result<Named, Failure> {
    let named = store.images().resolve(text)?;
    let Some(platform) = platform else {
        return Ok(store.images().choose(&named, &Platform::host())?.unwrap_or(named));
    };
    if let Some(chosen) = store.images().choose(&named, platform)? {
        return Ok(chosen);
    }
    let own = store.images().load(&named)?.platform();
    if named.index.is_none() && platform.rank(&own).is_some() {
        return Ok(named);
    }
    let mut here = vec![own.with_version()];
    if let Some(members) = named.index.and_then(|index| store.images().members(&index).ok()) {
        here = members.here.iter().map(|member| member.platform.with_version()).collect();
    }
    let wanted = platform.with_version();
    Err(Failure::user(format!("`{text}` is not in the store for {wanted}"))
        .with_hint(format!("it is there for {}", here.join(", "))))
}

#[cfg(test)]
mod tests;
