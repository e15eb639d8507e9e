//! RUN.

use super::Reader;
use crate::dockerfile::error::{ParseError, clip};
use crate::dockerfile::flags::{Known, Takes};
use crate::dockerfile::heredoc::Heredoc;
use crate::dockerfile::instruction::{
    Device, Kind, Run, RunNetwork, RunSecurity, ShellOrExec, WarningKind, Word,
};
use crate::dockerfile::mount::{self, Fault, MountFlag};
use crate::dockerfile::suggest;
use crate::source::Spanned;

const RUN: Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

impl Reader<'_, '_> {
    pub(super) fn run(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(RUN)?;
        let mut mounts = Vec::new();
        for word in flags.values("mount") {
            let from = mount::from_field(&word.value).map_err(|fault| self.fault("--mount", &word, fault))?;
            let from = from.map(|from| Spanned::new(from, word.span));
            mounts.push(MountFlag { span: word.span, raw: word.value, from });
        }
        let network = match flags.value("network") {
            Some(word) => Some(self.one_of(
                "network",
                word,
                &[("default", RunNetwork::Default), ("none", RunNetwork::None), ("host", RunNetwork::Host)],
            )?),
            None => None,
        };
        let security = match flags.value("security") {
            Some(word) => Some(self.one_of(
                "security",
                word,
                &[("sandbox", RunSecurity::Sandbox), ("insecure", RunSecurity::Insecure)],
            )?),
            None => None,
        };
        let mut devices = Vec::new();
        for word in flags.values("device") {
            let device = device(&word.value).map_err(|fault| self.fault("--device", &word, fault))?;
            devices.push(Spanned::new(device, word.span));
        }
        let command = self.command(&self.statement.args.clone())?;
        match &command {
            ShellOrExec::Exec(arguments) if arguments.is_empty() => {
                return Err(self
                    .missing("RUN needs a command")
                    .with_hint("write `RUN [\"program\", \"argument\"]`"));
            }
            ShellOrExec::Shell(text) if text.value.is_empty() => {
                let span = self.line.locate(&self.statement.keyword);
                self.warn(span, WarningKind::EmptyRun, "RUN without a command".to_owned(), None);
            }
            _ => {}
        }
        Ok(Kind::Run(Run { mounts, network, security, devices, command, heredocs }))
    }

    fn one_of<T: std::marker::Copy>(
        &self,
        flag: &str,
        word: Word,
        known: &[(&'static str, T)],
    ) -> Result<Spanned<T>, ParseError> {
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == word.value) {
            return Ok(Spanned::new(*value, word.span));
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let hint = suggest::did_you_mean(&word.value, names.iter().copied())
            .unwrap_or_else(|| format!("these exist: `{}`", names.join("`, `")));
        Err(self.error(word.span, format!("unknown {flag} mode `{}`", clip(&word.value))).with_hint(hint))
    }
}

/// `--device`: a name and `required`.
fn device(raw: &str) -> Result<Device, Fault> {
    let mut device = Device::default();
    for field in mount::csv_fields(raw)? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        match (key.to_lowercase().as_str(), value) {
            ("required", value) => device.required = mount::flag("required", value)?,
            ("name", Some(value)) if device.name.is_empty() => value.clone_into(&mut device.name),
            // A device's own name holds `=` too: `vendor.com/class=name`.
            _ if device.name.is_empty() => device.name = field,
            _ => {
                return Err(Fault(
                    format!("unknown field `{}`", clip(key)),
                    suggest::did_you_mean(key, ["name", "required"]),
                ));
            }
        }
    }
    Ok(device)
}
