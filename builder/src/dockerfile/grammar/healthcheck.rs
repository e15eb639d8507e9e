//! HEALTHCHECK.

use super::Reader;
use crate::dockerfile::duration;
use crate::dockerfile::error::{ParseError, clip};
use crate::dockerfile::flags::{Flags, Known, Takes};
use crate::dockerfile::instruction::{Healthcheck, Kind, ShellOrExec};
use crate::dockerfile::words;

const HEALTHCHECK: Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

impl Reader<'_, '_> {
    pub(super) fn healthcheck(&mut self) -> Result<Kind, ParseError> {
        let (kind, rest) = words::first(self.line, &self.statement.args);
        if kind.is_empty() {
            let error = self.missing("HEALTHCHECK needs `CMD` and a command, or `NONE`");
            return Err(error.with_hint("write `HEALTHCHECK CMD command`"));
        }
        let flags = self.flags(HEALTHCHECK)?;
        let kind_text = self.line.slice(&kind);
        if kind_text.eq_ignore_ascii_case("NONE") {
            if !rest.is_empty() {
                return Err(self.error(self.line.locate(&rest), "HEALTHCHECK NONE takes no arguments"));
            }
            return Ok(Kind::Healthcheck(Healthcheck::None));
        }
        if !kind_text.eq_ignore_ascii_case("CMD") {
            let message = format!("unknown type `{}` in HEALTHCHECK", clip(kind_text));
            return Err(self
                .error(self.line.locate(&kind), message)
                .with_hint("write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`"));
        }
        let interval = self.interval(&flags, "interval")?;
        let timeout = self.interval(&flags, "timeout")?;
        let start_period = self.interval(&flags, "start-period")?;
        let start_interval = self.interval(&flags, "start-interval")?;
        let retries = match flags.value("retries") {
            None => 0,
            Some(word) => {
                match word.value.parse::<i32>().ok().and_then(|retries| u32::try_from(retries).ok()) {
                    Some(retries) => retries,
                    None => {
                        let message = format!("`--retries={}` is no whole number from 0", clip(&word.value));
                        return Err(self.error(word.span, message));
                    }
                }
            }
        };
        let command = self.command(&rest)?;
        let empty = match &command {
            ShellOrExec::Shell(text) => text.value.is_empty(),
            ShellOrExec::Exec(arguments) => arguments.is_empty(),
        };
        if empty {
            return Err(self.missing("HEALTHCHECK CMD needs a command"));
        }
        Ok(Kind::Healthcheck(Healthcheck::Cmd {
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
            command,
        }))
    }

    fn interval(&self, flags: &Flags, name: &str) -> Result<u64, ParseError> {
        const LEAST: u64 = 1_000_000;
        let Some(word) = flags.value(name) else { return Ok(0) };
        let Some(nanoseconds) = duration::parse(&word.value) else {
            return Err(self
                .error(word.span, format!("`--{name}={}` is no duration", clip(&word.value)))
                .with_hint("write a number with its unit: `30s`, `1m30s`, `500ms`"));
        };
        match u64::try_from(nanoseconds) {
            Ok(0) => Ok(0),
            Ok(nanoseconds) if nanoseconds >= LEAST => Ok(nanoseconds),
            _ => Err(self.error(word.span, format!("`--{name}` cannot be less than 1ms"))),
        }
    }
}
