//! Instructions that change the image's config and no file.

use orlop_store::image::{self, History};

use super::history::{self, quoted_list};
use super::stage::StageRun;
use super::words::check_signal;
use crate::check::windows as check;
use crate::dialect::{AccountError, Dialect, account, windows};
use crate::dockerfile::{ExposedPorts, Healthcheck, Onbuild, ShellOrExec, Word};
use crate::error::BuildError;
use crate::source::Span;

/// What to do where a backslash was meant and an escape was read.
pub(crate) const ESCAPE_HINT: &str =
    "begin the Dockerfile with ``# escape=` ``, or write `/` or `\\\\` between the names";

impl StageRun<'_, '_> {
    /// Changes the image's config in place: a copy for each of ten thousand instructions would take long.
    fn configure(&mut self, change: impl FnOnce(&mut image::Config)) {
        self.image = self.image.take().into_configured(change);
    }

    /// Adds a history entry without a layer.
    pub(crate) fn note(&mut self, created_by: &str) -> Result<(), BuildError> {
        let entry = History { empty_layer: true, ..self.history(created_by) };
        self.image = self.image.take().append_history(entry);
        Ok(())
    }

    /// A history entry as of the last layer: an instruction that changes only the config has no
    /// time of its own, so that building again gives the same image.
    pub(crate) fn history(&self, created_by: &str) -> History {
        let created = match self.exec.request.source_date_epoch {
            Some(seconds) => Some(super::timestamp(seconds, 0)),
            None => self.last_created.clone(),
        };
        History {
            created,
            created_by: Some(created_by.to_owned()),
            comment: Some(history::COMMENT.to_owned()),
            ..History::default()
        }
    }

    pub(crate) fn env(&mut self, pairs: &[(Word, Word)]) -> Result<(), BuildError> {
        // All values of one instruction see the variables as they were before it.
        let mut set = Vec::new();
        for (name, value) in pairs {
            set.push((self.expand(name)?, self.expand_value(value)?));
        }
        if let Some((name, _)) = set.iter().find(|(n, _)| n.is_empty() || n.contains('=')) {
            return Err(BuildError::user(format!("`{name}` cannot be the name of a variable")));
        }
        let dialect = self.dialect();
        if dialect.is_windows() {
            for ((_, word), (name, value)) in pairs.iter().zip(&set) {
                self.look_at_variable(name, value, word);
            }
        }
        let shown: Vec<_> = set.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.configure(|config| {
            for (name, value) in &set {
                config.set_env_where(name, value, |old| dialect.same_variable(old, name));
            }
        });
        for (name, _) in &set {
            self.scope.set_by_env(dialect, name);
        }
        self.note(&format!("ENV {}", shown.join(" ")))
    }

    /// Warns of what people write into variables of a Windows image and Windows does not make of it.
    fn look_at_variable(&self, name: &str, value: &str, word: &Word) {
        if self.exec.dockerfile().directives.escape == '\\' && check::lost_backslash(&word.value, value) {
            let text = format!("`{name}` is `{value}`: a single `\\` is the escape character");
            self.warn(word.span, &text, ESCAPE_HINT);
        }
        if let Some(reference) = check::shell_variable(&word.value) {
            let text = format!("`{}` means nothing in ENV: only a shell expands it", reference.written);
            self.warn(word.span, &text, &format!("write `${{{}}}`", reference.name));
        }
        let env = self.image.config().env();
        let unset = self.scope.lookup(&env, Dialect::Windows, "PATH").is_none();
        if unset && windows::same_name(name, "PATH") && check::refers_to(&word.value, "PATH") {
            self.warn(
                word.span,
                &format!(
                    "the base sets no `PATH`, so `{name}` is `{value}` without the system's own directories"
                ),
                &format!("write them in full: `{};…`", Dialect::Windows.default_path()),
            );
        }
    }

    pub(crate) fn label(&mut self, pairs: &[(Word, Word)]) -> Result<(), BuildError> {
        let mut set = Vec::new();
        for (name, value) in pairs {
            set.push((self.expand(name)?, self.expand(value)?));
        }
        let shown: Vec<_> = set.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.configure(|config| {
            for (name, value) in &set {
                config.set_label(name, value);
            }
        });
        self.note(&format!("LABEL {}", shown.join(" ")))
    }

    pub(crate) fn user(&mut self, word: &Word) -> Result<(), BuildError> {
        let user = self.expand(word)?;
        if self.dialect().is_windows()
            && let Err(error) = account(&user)
        {
            // The image's own accounts are in its hives: whoever runs the image knows them, and no RUN here does.
            if !matches!(error, AccountError::Unknown(_)) {
                return Err(self.meaningless(&error.to_string(), &error.hint(), word.span));
            }
            let text = format!("{error}; the image names it all the same, and no RUN can be that user");
            self.warn(word.span, &text, &error.hint());
        }
        // `USER $APP_UID` with no such variable is in many files: like in BuildKit, the user is root then.
        self.image = self
            .image
            .with_config(|config| config.set_user(Some(&user).filter(|u| !u.is_empty()).map(|u| u.as_str())));
        self.note(&format!("USER {user}"))
    }

    pub(crate) fn cmd(&mut self, command: &ShellOrExec, span: Span) -> Result<(), BuildError> {
        let (args, shown) = self.command_line(command);
        let escaped = self.dialect().is_windows() && matches!(command, ShellOrExec::Shell(_));
        // The mark is about the first word of all, which an ENTRYPOINT has where there is one.
        let entrypoint = self.image.config().entrypoint().is_some_and(|words| !words.is_empty());
        if entrypoint && self.dialect().is_windows() && self.image.config().args_escaped() != escaped {
            let text =
                "the ENTRYPOINT and the CMD are in two forms, and Windows joins both to one command line";
            self.warn(
                span,
                text,
                "write both as JSON arrays: `ENTRYPOINT [\"app.exe\"]`, `CMD [\"--flag\"]`",
            );
        }
        self.configure(|config| {
            config.set_cmd(Some(args));
            if !entrypoint {
                config.set_args_escaped(escaped);
            }
        });
        self.note(&format!("CMD {shown}"))
    }

    /// ENTRYPOINT; a CMD that the base brought was meant for another program and goes.
    pub(crate) fn entrypoint(&mut self, command: &ShellOrExec, cmd_set: bool) -> Result<(), BuildError> {
        let (args, shown) = self.command_line(command);
        let escaped = self.dialect().is_windows() && matches!(command, ShellOrExec::Shell(_));
        // Without words of its own it leaves the mark to the CMD.
        let takes = !(args.is_empty() && cmd_set);
        self.configure(|config| {
            config.set_entrypoint(Some(args));
            if takes {
                config.set_args_escaped(escaped);
            }
            if !cmd_set {
                config.set_cmd(None);
            }
        });
        self.note(&format!("ENTRYPOINT {shown}"))
    }

    /// The words of a command and how history shows them. A shell form of Windows is one word, SHELL and the text
    /// as it stands: `ArgsEscaped` beside it says that nobody quotes it again.
    pub(crate) fn command_line(&self, command: &ShellOrExec) -> (Vec<String>, String) {
        let args = match command {
            ShellOrExec::Shell(text) => {
                let mut args = self.shell_words();
                args.push(text.value.clone());
                if self.dialect().is_windows() { vec![args.join(" ")] } else { args }
            }
            ShellOrExec::Exec(args) => args.clone(),
        };
        let shown = quoted_list(&args);
        (args, shown)
    }

    /// The command line that shell forms are appended to.
    pub(crate) fn shell_words(&self) -> Vec<String> {
        self.image.config().shell().unwrap_or_else(|| self.dialect().default_shell())
    }

    pub(crate) fn expose(&mut self, words: &[Word]) -> Result<(), BuildError> {
        let mut ports = Vec::new();
        for word in words {
            for text in self.expand_many(word)? {
                let exposed = ExposedPorts::parse(&text).map_err(|e| {
                    BuildError::user(e.to_string())
                        .with_hint(e.hint())
                        .at(&self.exec.dockerfile().source, word.span)
                })?;
                ports.extend(exposed.keys());
            }
        }
        self.configure(|config| {
            for port in &ports {
                config.add_exposed_port(port);
            }
        });
        self.note(&format!("EXPOSE {}", history::list(&ports)))
    }

    pub(crate) fn volume(&mut self, words: &[Word]) -> Result<(), BuildError> {
        let mut volumes = Vec::new();
        for word in words {
            let volume = self.expand(word)?;
            if volume.is_empty() {
                return Err(BuildError::user("VOLUME has an empty path")
                    .at(&self.exec.dockerfile().source, word.span));
            }
            self.warn_of_escapes(&volume, word);
            volumes.push(match self.dialect() {
                Dialect::Linux => volume,
                Dialect::Windows => windows::volume(&volume).map_err(|e| self.bad_path(&e, word.span))?,
            });
        }
        self.configure(|config| {
            for volume in &volumes {
                config.add_volume(volume);
            }
        });
        self.note(&format!("VOLUME {}", history::list(&volumes)))
    }

    pub(crate) fn stopsignal(&mut self, word: &Word) -> Result<(), BuildError> {
        if self.dialect().is_windows() {
            return Err(self.meaningless(
                "STOPSIGNAL has no meaning in a Windows image: Windows has no signals",
                "delete the line: a container of Windows is told to stop by a console event, `CTRL_SHUTDOWN_EVENT`",
                word.span,
            ));
        }
        let signal = self.expand(word)?;
        check_signal(&signal)
            .map_err(|why| BuildError::user(why).at(&self.exec.dockerfile().source, word.span))?;
        self.configure(|config| config.set_stop_signal(Some(&signal)));
        self.note(&format!("STOPSIGNAL {signal}"))
    }

    pub(crate) fn shell(&mut self, words: &[String]) -> Result<(), BuildError> {
        self.configure(|config| config.set_shell(Some(words.to_vec())));
        self.note(&format!("SHELL {}", history::list(words)))
    }

    pub(crate) fn healthcheck(&mut self, check: &Healthcheck) -> Result<(), BuildError> {
        let check = match check {
            Healthcheck::None => image::Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() },
            Healthcheck::Cmd { interval, timeout, start_period, start_interval, retries, command } => {
                image::Healthcheck {
                    test: match command {
                        ShellOrExec::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
                        ShellOrExec::Exec(args) => [vec!["CMD".to_owned()], args.clone()].concat(),
                    },
                    interval: *interval,
                    timeout: *timeout,
                    start_period: *start_period,
                    start_interval: *start_interval,
                    retries: u64::from(*retries),
                }
            }
        };
        self.configure(|config| config.set_healthcheck(Some(&check)));
        self.note(&history::healthcheck(&check))
    }

    /// ONBUILD, of which history says nothing, as in BuildKit: it is another build's.
    pub(crate) fn onbuild(&mut self, onbuild: &Onbuild) {
        self.configure(|config| {
            config.add_on_build(&onbuild.trigger.value);
        });
    }

    pub(crate) fn maintainer(&mut self, word: &Word) -> Result<(), BuildError> {
        self.configure(|config| config.set_author(Some(&word.value)));
        self.note(&format!("MAINTAINER {}", word.value))
    }
}

/// When the newest thing in the image was made, as its history says.
pub(crate) fn last_created(image: &orlop_store::Image) -> Option<String> {
    let config = image.config();
    config.last_created().or_else(|| config.created()).map(str::to_owned)
}
