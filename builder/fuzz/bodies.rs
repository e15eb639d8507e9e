//! What must hold whatever the text is: the bodies of the fuzz targets, which `builder/tests/mutations.rs` runs in
//! the normal suite too.

use std::path::Path;
use std::sync::Arc;

use orlop_builder::check::{Checker, Options};
use orlop_builder::context::Ignore;
use orlop_builder::dialect::Dialect;
use orlop_builder::dockerfile::variables::{self, Expander};
use orlop_builder::dockerfile::{
    self, Add, ArgDecl, Copy, Dockerfile, Healthcheck, Heredoc, Instruction, Kind, Run, ShellOrExec, Word,
};
use orlop_builder::plan::{self, Plan};
use orlop_builder::source::{SourceFile, Span};

/// A Dockerfile is parsed or refused; all that comes out lies in the text, and is not much more than it.
pub(crate) fn dockerfile(text: &str) {
    let source = Arc::new(SourceFile::new("Dockerfile", text));
    let mut seen = Seen { text, bytes: 0 };
    match dockerfile::parse(Arc::clone(&source)) {
        Err(error) => {
            seen.span(error.span);
            assert!(!error.message.is_empty());
            assert!(error.message.len() < 1000, "a message of {} bytes", error.message.len());
        }
        Ok(file) => {
            seen.file(&file);
            // An instruction is kept in its parts, on one line, and in a trigger once more.
            assert!(seen.bytes <= 8 * text.len() + 1024, "{} bytes of {}", seen.bytes, text.len());
            check(&file);
            planned(Arc::new(file));
        }
    }
    for escape in ['\\', '`'] {
        if let Ok(instruction) = dockerfile::parse_onbuild(&source, escape) {
            Seen { text, bytes: 0 }.instruction(&instruction);
        }
    }
}

/// Words expand or fail, with every kind of expander, and to no more than the limits say.
pub(crate) fn expansion(text: &str) {
    let lookup = |name: &str| match name.len() {
        0 | 3 => None,
        1 => Some("a b*\u{e9}/$x".to_owned()),
        2 => Some(String::new()),
        _ => Some(name.repeat(3)),
    };
    for expander in [Expander::new('\\'), Expander::new('`'), Expander::heredoc()] {
        match expander.expand(text, &lookup) {
            Ok(expanded) => {
                assert!(expanded.text.len() <= variables::MAX_FILE.max(text.len()));
                let words: usize = expanded.words.iter().map(String::len).sum();
                assert!(words <= expanded.text.len(), "words are parts of the whole");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if !text.contains(['$', '\'', '"', '\\']) {
        let plain = variables::expand(text, '\\', &lookup);
        assert_eq!(plain.as_deref(), Ok(text), "what means nothing is itself");
    }
}

/// An ignore file is read or refused, and decides of any path.
pub(crate) fn ignore(text: &str) {
    for host in [Dialect::Linux, Dialect::Windows] {
        let Ok(ignore) = Ignore::parse_on(text, host) else { continue };
        for path in ["a", "a/b", "a/b/c.txt", "**", "[", "\u{e9}/x y", "node_modules/x/y/z/a/b/c/d/e/f/g"] {
            let once = ignore.verdict(Path::new(path));
            assert_eq!(once, ignore.verdict(Path::new(path)), "{path}");
        }
        // Each line as a path of its own.
        for line in text.lines().filter(|line| !line.is_empty() && !line.contains('\0')).take(8) {
            ignore.verdict(Path::new(line));
        }
    }
}

fn check(file: &Dockerfile) {
    let Ok(platform) = "linux/amd64".parse() else { return };
    let mut checker = Checker::new(file, Options::of(file, &[]).unwrap_or_default());
    checker.text(true);
    if let Ok(globals) = plan::global_scope(file, &[], None, &platform) {
        checker.froms(&globals);
    }
    for warning in checker.warnings() {
        assert!(file.source.text().get(warning.span.range()).is_some(), "{warning:?}");
    }
}

fn planned(file: Arc<Dockerfile>) {
    let Ok(platform) = "linux/arm64".parse() else { return };
    let count = file.stages.len();
    if let Ok(plan) = Plan::new(Arc::clone(&file), &[("A".to_owned(), "1".to_owned())], None, &platform, &[])
    {
        assert_eq!(plan.order.len(), plan.needed.len());
        for (place, &index) in plan.order.iter().enumerate() {
            assert!(index < count);
            let before = plan.order.get(..place).unwrap_or_default();
            assert!(
                plan.stages
                    .iter()
                    .filter(|s| s.index == index)
                    .all(|s| s.needs.iter().all(|n| before.contains(n)))
            );
        }
    }
}

/// What was looked at of a text.
struct Seen<'a> {
    text: &'a str,
    bytes: usize,
}

impl Seen<'_> {
    fn span(&self, span: Span) {
        assert!(self.text.get(span.range()).is_some(), "{span:?} is no part of the text");
    }

    fn word(&mut self, word: &Word) {
        self.span(word.span);
        self.bytes += word.value.len();
        expand(&word.value);
    }

    fn words<'w>(&mut self, words: impl IntoIterator<Item = &'w Word>) {
        for word in words {
            self.word(word);
        }
    }

    fn args<'a>(&mut self, args: impl IntoIterator<Item = &'a ArgDecl>) {
        for arg in args {
            self.word(&arg.name);
            self.words(&arg.default);
        }
    }

    fn command(&mut self, command: &ShellOrExec) {
        match command {
            ShellOrExec::Shell(text) => self.word(text),
            ShellOrExec::Exec(words) => self.bytes += words.iter().map(String::len).sum::<usize>(),
        }
    }

    fn heredocs(&mut self, heredocs: &[Heredoc]) {
        for heredoc in heredocs {
            self.span(heredoc.span);
            self.span(heredoc.content_span);
            self.bytes += heredoc.content.len();
            // Either answer will do.
            let _ = heredoc.file(&|_| Some("x".to_owned()));
        }
    }

    fn file(&mut self, file: &Dockerfile) {
        let directives = &file.directives;
        self.words(directives.syntax.iter().chain(&directives.check));
        for warning in &file.warnings {
            self.span(warning.span);
            self.bytes += warning.message.len().min(64);
        }
        self.args(file.global_args());
        for stage in &file.stages {
            self.span(stage.span);
            let from = &stage.from;
            self.span(from.span);
            self.words(from.platform.iter().chain(&from.name).chain([&from.image]));
            for instruction in &stage.instructions {
                assert!(stage.span.start <= instruction.span.start && instruction.span.end <= stage.span.end);
                self.instruction(instruction);
            }
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        self.span(instruction.span);
        self.word(&instruction.keyword);
        assert_eq!(instruction.keyword.value.to_ascii_uppercase(), instruction.kind.keyword());
        self.bytes += instruction.original.len();
        match &instruction.kind {
            Kind::Run(run) => self.run(run),
            Kind::Copy(Copy { from, chown, chmod, exclude, sources, dest, heredocs, .. }) => {
                self.words(from.iter().chain(chown).chain(chmod).chain(exclude).chain(sources).chain([dest]));
                self.heredocs(heredocs);
            }
            Kind::Add(Add { chown, chmod, checksum, exclude, sources, dest, heredocs, .. }) => {
                self.words(
                    chown.iter().chain(chmod).chain(checksum).chain(exclude).chain(sources).chain([dest]),
                );
                self.heredocs(heredocs);
            }
            Kind::Env(pairs) | Kind::Label(pairs) => {
                self.words(pairs.iter().flat_map(|(name, value)| [name, value]));
            }
            Kind::Arg(args) => self.args(args),
            Kind::Workdir(word) | Kind::User(word) | Kind::Stopsignal(word) | Kind::Maintainer(word) => {
                self.word(word);
            }
            Kind::Expose(words) | Kind::Volume(words) => self.words(words),
            Kind::Cmd(command) | Kind::Entrypoint(command) => self.command(command),
            Kind::Healthcheck(Healthcheck::Cmd { command, .. }) => self.command(command),
            Kind::Healthcheck(Healthcheck::None) => {}
            Kind::Shell(words) => self.bytes += words.iter().map(String::len).sum::<usize>(),
            Kind::Onbuild(onbuild) => {
                self.word(&onbuild.trigger);
                // What is kept for children is what they can read.
                let source = Arc::new(SourceFile::new("ONBUILD", onbuild.trigger.value.as_str()));
                let again = ['\\', '`'].map(|escape| dockerfile::parse_onbuild(&source, escape).is_ok());
                assert!(again.contains(&true), "no child could read `{}`", onbuild.trigger.value);
            }
        }
    }

    fn run(&mut self, run: &Run) {
        for mount in &run.mounts {
            self.span(mount.span);
            self.bytes += mount.raw.len();
            // Either answer will do.
            let _ = mount.resolve(|text| variables::expand(text, '\\', &|_| None));
        }
        for device in &run.devices {
            self.span(device.span);
        }
        self.command(&run.command);
        self.heredocs(&run.heredocs);
        run.invocation();
    }
}

fn expand(text: &str) {
    // Either answer will do.
    let _ = variables::expand_words(text, '\\', &|name| (name.len() < 3).then(|| "a b".to_owned()));
}
