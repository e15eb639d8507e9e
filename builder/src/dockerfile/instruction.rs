//! What a Dockerfile says: stages and instructions, each part with its place.
//!
//! Every [`Word`] is text as it was written, with quotes, escapes and variables in it; expanding it is the
//! executor's part, by [`super::variables`]. Which fields expand is said at each.

use std::sync::Arc;

use super::heredoc::Heredoc;
use super::mount::MountFlag;
use crate::source::{SourceFile, Span, Spanned};

/// Raw, unexpanded text and its place.
pub type Word = Spanned<String>;

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text.
    pub source: Arc<SourceFile>,
    /// The parser directives at its head.
    pub directives: Directives,
    /// The instructions before the first `FROM`: all are `ARG`s.
    pub preamble: Vec<Instruction>,
    /// The stages, in order; at least one.
    pub stages: Vec<Stage>,
    /// What is accepted but not good.
    pub warnings: Vec<Warning>,
}

impl Dockerfile {
    /// The `ARG`s before the first `FROM`, in order.
    pub fn global_args(&self) -> impl Iterator<Item = &ArgDecl> {
        self.preamble.iter().flat_map(Instruction::arguments)
    }
}

/// The parser directives, `# name=value` at the very top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: noted, never fetched.
    pub syntax: Option<Word>,
    /// `# escape=`: the escape character, `\` or `` ` ``.
    pub escape: char,
    /// `# check=`: options of the linter.
    pub check: Option<Word>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { syntax: None, escape: '\\', check: None }
    }
}

/// Something accepted but not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub span: Span,
    /// What kind, so that a lint can be skipped by name.
    pub kind: WarningKind,
    /// What, in one sentence.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// The kinds of [`Warning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// A blank line inside a continued instruction (BuildKit's `NoEmptyContinuation`).
    EmptyContinuation,
    /// White space after the escape character at a line's end.
    SpaceAfterEscape,
    /// Text that looks like a JSON array but is none, and is taken as it stands.
    JsonFallback,
    /// A `RUN` without a command.
    EmptyRun,
}

/// A `FROM` and what follows it.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The `FROM` instruction.
    pub from: From,
    /// Everything after it, up to the next `FROM`.
    pub instructions: Vec<Instruction>,
    /// From the `FROM` to the end of the last instruction.
    pub span: Span,
}

/// A `FROM` instruction.
#[derive(Clone, Debug)]
pub struct From {
    /// The whole instruction.
    pub span: Span,
    /// The keyword as it was written.
    pub keyword: Word,
    /// The instruction on one line.
    pub original: String,
    /// The image, the stage or `scratch`. Expands (global ARGs only).
    pub image: Word,
    /// `--platform`. Expands (global ARGs only).
    pub platform: Option<Word>,
    /// `AS name`, in lower case.
    pub name: Option<Spanned<String>>,
    /// `AS` and the name as they were written.
    pub alias: Option<(Word, Word)>,
    /// The comment lines just before, without `#` and outer white space.
    pub comments: Vec<String>,
}

/// One instruction of a stage.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// The whole instruction, heredocs included.
    pub span: Span,
    /// The keyword as it was written.
    pub keyword: Word,
    /// The instruction on one line, continuation lines joined: for history and progress.
    pub original: String,
    /// The comment lines just before, without `#` and outer white space.
    pub comments: Vec<String>,
    /// What it does.
    pub kind: Kind,
}

impl Instruction {
    /// What it declares, where it is `ARG`.
    pub fn arguments(&self) -> &[ArgDecl] {
        match &self.kind {
            Kind::Arg(args) => args,
            _ => &[],
        }
    }
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `RUN`.
    Run(Run),
    /// `COPY`.
    Copy(Copy),
    /// `ADD`.
    Add(Add),
    /// `ENV`: names and values. Both expand.
    Env(Vec<(Word, Word)>),
    /// `ARG`.
    Arg(Vec<ArgDecl>),
    /// `WORKDIR`. Expands.
    Workdir(Word),
    /// `USER`. Expands.
    User(Word),
    /// `CMD`. Does not expand.
    Cmd(ShellOrExec),
    /// `ENTRYPOINT`. Does not expand.
    Entrypoint(ShellOrExec),
    /// `LABEL`: names and values. Both expand.
    Label(Vec<(Word, Word)>),
    /// `EXPOSE`: ports. Each expands to any number of words.
    Expose(Vec<Word>),
    /// `VOLUME`: paths. Each expands to one word.
    Volume(Vec<Word>),
    /// `STOPSIGNAL`. Expands.
    Stopsignal(Word),
    /// `SHELL`: the command line. Does not expand.
    Shell(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `ONBUILD`.
    Onbuild(Onbuild),
    /// `MAINTAINER`. Does not expand.
    Maintainer(Word),
}

impl Kind {
    /// The keyword in upper case.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Run(_) => "RUN",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Env(_) => "ENV",
            Self::Arg(_) => "ARG",
            Self::Workdir(_) => "WORKDIR",
            Self::User(_) => "USER",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Label(_) => "LABEL",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::Shell(_) => "SHELL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Onbuild(_) => "ONBUILD",
            Self::Maintainer(_) => "MAINTAINER",
        }
    }
}

/// A command line: one text for the shell, or the arguments themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellOrExec {
    /// Text for the image's `SHELL`. Not expanded by us: the shell does.
    Shell(Word),
    /// Arguments from a JSON array. Not expanded.
    Exec(Vec<String>),
}

/// A `RUN` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`: `default`, `none` or `host`. Does not expand.
    pub network: Option<Spanned<RunNetwork>>,
    /// `--security`. Does not expand.
    pub security: Option<Spanned<RunSecurity>>,
    /// `--device`, in order. Does not expand.
    pub devices: Vec<Spanned<Device>>,
    /// The command.
    pub command: ShellOrExec,
    /// The heredocs that the command's line opens, in order; only a shell command has any.
    pub heredocs: Vec<Heredoc>,
}

/// What a `RUN` starts, once its heredocs are put where they belong: [`Run::invocation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Text for the image's `SHELL`.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A file with a `#!` line, to be made executable (0755) in a place outside the image and run.
    Script {
        /// The file's name: the heredoc's delimiter.
        name: String,
        /// What is in it.
        content: String,
    },
}

/// `RUN --device=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// The device's name in the Container Device Interface, `vendor.com/class=name`, or its class.
    pub name: String,
    /// `required`: without the device the step fails.
    pub required: bool,
}

/// `RUN --network=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunNetwork {
    /// As the build.
    Default,
    /// No network.
    None,
    /// The host's.
    Host,
}

/// `RUN --security=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunSecurity {
    /// Contained.
    Sandbox,
    /// All capabilities, no filter: an entitlement.
    Insecure,
}

/// A `COPY` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: a stage, its number, an image or a named context. Does not expand.
    pub from: Option<Word>,
    /// `--chown`. Expands.
    pub chown: Option<Word>,
    /// `--chmod`. Expands.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order. Each expands.
    pub exclude: Vec<Word>,
    /// Where from, without the heredocs. Each expands to one word.
    pub sources: Vec<Word>,
    /// Where to. Expands.
    pub dest: Word,
    /// Files written in the Dockerfile itself.
    pub heredocs: Vec<Heredoc>,
}

/// An `ADD` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// `--chown`. Expands.
    pub chown: Option<Word>,
    /// `--chmod`. Expands.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, in order. Each expands.
    pub exclude: Vec<Word>,
    /// `--checksum`. Expands.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`; `None` where the flag is not given.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`; `None` where the flag is not given.
    pub unpack: Option<bool>,
    /// Where from, without the heredocs. Each expands to one word.
    pub sources: Vec<Word>,
    /// Where to. Expands.
    pub dest: Word,
    /// Files written in the Dockerfile itself.
    pub heredocs: Vec<Heredoc>,
}

/// One declaration of an `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDecl {
    /// The name. Expands, outer quotes are gone after that.
    pub name: Word,
    /// What follows `=`. Expands.
    pub default: Option<Word>,
    /// What a comment just before the instruction that starts with the name says about it.
    pub doc: Option<String>,
}

/// A `HEALTHCHECK` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: forget the base image's.
    None,
    /// `HEALTHCHECK CMD`. Durations in nanoseconds; 0 is the engine's default.
    Cmd {
        /// `--interval`.
        interval: u64,
        /// `--timeout`.
        timeout: u64,
        /// `--start-period`.
        start_period: u64,
        /// `--start-interval`.
        start_interval: u64,
        /// `--retries`; 0 is the engine's default.
        retries: u32,
        /// What to run.
        command: ShellOrExec,
    },
}

/// An `ONBUILD` instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as it goes into the image's config.
    pub trigger: Word,
    /// The trigger's keyword in upper case; the trigger is known to parse.
    pub keyword: &'static str,
}
