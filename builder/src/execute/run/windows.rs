//! RUN in a Windows stage: its command line, its view of the root, and what is warned of before it runs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::super::stage::StageRun;
use super::Command;
use crate::check::windows::{self as check, Finding, Shell};
use crate::context::Dir;
use crate::dialect::Dialect;
use crate::dialect::view::View;
use crate::dockerfile::{Instruction, Invocation, Run, ShellOrExec};
use crate::error::BuildError;
use crate::event::Task;
use crate::source::Span;

/// Where the script of a heredoc is for the time of its step.
const SCRIPT_DIR: &str = r"C:\.orlop-run";

/// The command line of a RUN, as Docker makes it on Windows: SHELL's words, a blank and the text as it stands.
/// Nothing of it is quoted, because `cmd /S /C` and PowerShell read the text and not words.
///
/// # Errors
/// For heredocs that no shell of Windows could read.
pub(super) fn command(run: &Run, shell: &[String]) -> Result<Command, BuildError> {
    let language = Shell::of(shell);
    let (program, options) = match shell.split_first() {
        Some((program, options)) => (program.clone(), options.join(" ")),
        None => (String::new(), String::new()),
    };
    let shell_form = |text: &str, shown: String, script| {
        let tail = if options.is_empty() { text.to_owned() } else { format!("{options} {text}") };
        Command { args: vec![program.clone()], tail: Some(tail), script, shown }
    };
    let shown = |text: &str| format!("{} {text}", shell.join(" "));
    if let Some(heredoc) = run.script() {
        return script(heredoc.name.as_str(), &heredoc.text(), language, &shell_form, &shown);
    }
    if !run.heredocs.is_empty() && language != Shell::None {
        return Err(BuildError::user("no shell of Windows reads heredocs").with_hint(
            "write `RUN <<EOF` with nothing else on the line: then the text is a script for the shell"
                .to_owned(),
        ));
    }
    Ok(match run.invocation() {
        Invocation::Exec(args) => Command { shown: args.join(" "), tail: None, script: None, args },
        Invocation::Shell(text) | Invocation::Script { content: text, .. } => {
            shell_form(&text, shown(&text), None)
        }
    })
}

/// Makes a shell form of a text, of how it is shown, and of the script that it calls.
type ShellForm<'a> = dyn Fn(&str, String, Option<(String, String)>) -> Command + 'a;

/// A RUN that is one heredoc. On a command line `cmd` would run its first line and forget the rest, and both would
/// lose its quotes; so it is a file.
fn script(
    name: &str,
    text: &str,
    shell: Shell,
    form: &ShellForm<'_>,
    shown: &dyn Fn(&str) -> String,
) -> Result<Command, BuildError> {
    if text.starts_with("#!") {
        return Err(BuildError::user("a `#!` line has no meaning on Windows").with_hint(
            "name the program with SHELL, as in `SHELL [\"python\", \"-c\"]`, or COPY the script and run it"
                .to_owned(),
        ));
    }
    // A delimiter may hold what a file's name cannot.
    let name = if crate::dialect::windows::name_fault(name).is_some() { "script" } else { name };
    let lines = text.replace("\r\n", "\n").replace('\n', "\r\n");
    Ok(match shell {
        Shell::Cmd => {
            let path = format!(r"{SCRIPT_DIR}\{name}.cmd");
            // cmd takes one pair of quotes away.
            let call = format!("\"\"%ORLOP_ROOT%{}\"\"", below_drive(&path));
            form(&call, shown(&format!("<<{name}")), Some((path, format!("@echo off\r\n{lines}"))))
        }
        Shell::PowerShell => {
            let path = format!(r"{SCRIPT_DIR}\{name}.ps1");
            let quoted = below_drive(&path).replace('\'', "''");
            // Read and not started: whether the machine allows script files makes no difference.
            let call =
                format!("& ([ScriptBlock]::Create([IO.File]::ReadAllText($env:ORLOP_ROOT + '{quoted}')))");
            form(&call, shown(&format!("<<{name}")), Some((path, lines)))
        }
        Shell::None => form(text, shown(text), None),
    })
}

fn below_drive(path: &str) -> &str {
    path.strip_prefix("C:").unwrap_or(path)
}

/// Puts what the image's variables say of `C:` in terms of the step's root, for the time of the job. The runner does
/// the same for the program and the working directory.
pub(super) fn into_the_root(
    root: &Path,
    variables: &mut [(String, String)],
    task: &Task<'_>,
) -> Result<(), BuildError> {
    let root = root.to_str().ok_or_else(|| {
        BuildError::internal(format!("the store's path `{}` is not text", root.display()))
            .with_hint("keep the store in another directory with `--root`".to_owned())
    })?;
    let changed = View::new(root).variables(variables);
    if !changed.is_empty() {
        task.note(format!("`C:` is the step's root in {}", changed.join(", ")));
    }
    Ok(())
}

/// Refuses a root that has system files of its own: what runs would load the host's all the same.
pub(super) fn own_system(root: &Path, accepted: bool) -> Result<(), BuildError> {
    if accepted {
        return Ok(());
    }
    let failed = |e| BuildError::internal(format!("cannot look at `{}`", root.display())).because(e);
    let root = Dir::open(root).map_err(failed)?;
    let system = Path::new("Windows").join("System32");
    let found = root.resolve(&system, true, Dialect::Windows, &mut |_, _| true);
    if found.is_ok_and(|found| found.meta.is_some_and(|meta| meta.is_dir())) {
        return Err(BuildError::user(
            "the base image has a `C:\\Windows\\System32` of its own, and RUN here would use the host's",
        )
        .with_hint(
            "add `--host-system-files` if the host's will do, or do without RUN: COPY, ENV and the like are fine"
                .to_owned(),
        ));
    }
    Ok(())
}

impl StageRun<'_, '_> {
    /// Warns of what a RUN most likely does not mean, of each kind once a line. Gives the commands that would write
    /// to the registry.
    pub(super) fn look_through(&self, instruction: &Instruction, run: &Run) -> Vec<String> {
        let workdir = self.image.config().working_dir().unwrap_or(Dialect::Windows.root()).to_owned();
        let (texts, shell) = match &run.command {
            // The program itself is found in the image by its path there.
            ShellOrExec::Exec(args) => (args.get(1..).unwrap_or_default().to_vec(), Shell::of(args)),
            ShellOrExec::Shell(text) => {
                let heredocs = run.heredocs.iter().map(|heredoc| heredoc.content.clone());
                (
                    std::iter::once(text.value.clone()).chain(heredocs).collect(),
                    Shell::of(&self.shell_words()),
                )
            }
        };
        if let ShellOrExec::Exec(args) = &run.command
            && shell == Shell::Cmd
            && args.iter().skip(1).any(|arg| arg.contains('"'))
        {
            // The words are quoted as Windows programs take them apart, and cmd takes nothing apart.
            let text =
                "`cmd` reads a quote in a word of the exec form as `\\\"`, which it does not understand";
            self.warn(
                instruction.span,
                text,
                "write the shell form, without brackets: it is handed over as it stands",
            );
        }
        let file = &self.exec.dockerfile().source;
        let source = file.slice(instruction.span);
        // By line and rule: the first of them, and how many more there are.
        let mut lines: BTreeMap<(usize, bool), (Span, Finding, usize)> = BTreeMap::new();
        let mut from = 0;
        let mut asked = Vec::new();
        for text in texts {
            let paths =
                check::literal_paths(&text, &workdir, shell).into_iter().map(|finding| (false, finding));
            let writes = check::registry(&text, shell).into_iter().map(|finding| (true, finding));
            let writes: Vec<_> = writes.collect();
            // A path in what writes to the registry has been spoken of.
            let apart =
                |path: &Finding| !writes.iter().any(|(_, write)| write.range.contains(&path.range.start));
            let mut found: Vec<_> =
                paths.filter(|(_, path)| apart(path)).chain(writes.iter().cloned()).collect();
            found.sort_by_key(|(_, finding)| finding.range.start);
            for (rule, finding) in found {
                if rule {
                    asked.push(text[finding.range.clone()].to_owned());
                }
                let span = place(source, &mut from, &text[finding.range.clone()])
                    .map_or(instruction.span, |at| {
                        Span::new(instruction.span.start + at.start, instruction.span.start + at.end)
                    });
                let line = if self.trigger { 0 } else { file.line(span.start) };
                lines.entry((line, rule)).and_modify(|(.., more)| *more += 1).or_insert((span, finding, 0));
            }
        }
        for (span, Finding { message, hint, .. }, more) in lines.into_values() {
            let message = match more {
                0 => message,
                more => format!("{message} (and {more} more on this line)"),
            };
            self.warn(span, &message, &hint);
        }
        asked
    }
}

/// Where in an instruction's source what was found in its text is written, from `from` on. Where the line was
/// continued in the middle, or the text is a trigger's, it is nowhere.
fn place(source: &str, from: &mut usize, written: &str) -> Option<Range<usize>> {
    let as_json = written.replace('\\', r"\\");
    let rest = source.get(*from..)?;
    let (at, length) = rest
        .find(written)
        .map(|at| (at, written.len()))
        .or_else(|| rest.find(&as_json).map(|at| (at, as_json.len())))?;
    let found = *from + at..*from + at + length;
    // A path may stand in what writes to the registry: the next one may begin in this one.
    *from = found.start + source[found.start..].chars().next().map_or(1, char::len_utf8);
    Some(found)
}

/// What to do about a command that is not there, where the code and the output say that it is that.
pub(super) fn not_found(args: &[String], code: i32, output: &[u8], path: Option<&str>) -> Option<String> {
    let program = args.first()?;
    let said = format!("orlop: {program}: ");
    let ours = code == 127 && String::from_utf8_lossy(output).lines().any(|line| line.starts_with(&said));
    // What `cmd` says of a name that it does not know.
    if !ours && code != 9009 {
        return None;
    }
    if ours && Shell::of(args) == Shell::PowerShell {
        return Some(format!(
            "`{program}` is neither this machine's nor the image's: install PowerShell, COPY it into the image and name \
             it by its path there (`SHELL [\"C:\\\\pwsh\\\\pwsh.exe\", \"-Command\"]`), or write the step for `cmd`"
        ));
    }
    if ours && program.contains(crate::dialect::windows::is_separator) {
        return Some(
            "a path of RUN is one of the image: COPY the program there first, or name it without a path"
                .to_owned(),
        );
    }
    let path = match path {
        Some(path) => format!("and the image's `PATH`: `{path}`"),
        None => "and the image sets no `PATH`".to_owned(),
    };
    Some(format!("a program is looked for in WORKDIR, in the machine's own `C:\\Windows\\System32`, {path}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dockerfile::{Kind, parse};
    use crate::source::SourceFile;

    fn line(shell: &[&str], run: &str) -> Result<Command, BuildError> {
        let file = Arc::new(SourceFile::new("Dockerfile", format!("# escape=`\nFROM x\n{run}\n")));
        let parsed = parse(file).unwrap();
        let Kind::Run(run) = &parsed.stages[0].instructions[0].kind else { panic!("no RUN") };
        let shell: Vec<String> = shell.iter().map(|word| (*word).to_owned()).collect();
        command(run, &shell)
    }

    const CMD: [&str; 3] = ["cmd", "/S", "/C"];

    #[test]
    fn text_is_not_quoted() {
        let command = line(&CMD, r#"RUN echo "a  b" ^& c:\x %PATH% "#).unwrap();
        assert_eq!(command.args, ["cmd"]);
        assert_eq!(command.tail.as_deref(), Some(r#"/S /C echo "a  b" ^& c:\x %PATH%"#));
        assert_eq!(command.shown, r#"cmd /S /C echo "a  b" ^& c:\x %PATH%"#);
        let shell = ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"];
        let command = line(&shell, "RUN Write-Host `\n  \"x\"").unwrap();
        assert_eq!(
            command.tail.as_deref(),
            Some("-Command $ErrorActionPreference = 'Stop'; Write-Host   \"x\"")
        );
        assert_eq!(line(&["x.exe"], "RUN a b").unwrap().tail.as_deref(), Some("a b"));
    }

    #[test]
    fn exec_form_stays_words() {
        let command = line(&CMD, r#"RUN ["C:\\x y\\z.exe", "a b", "c\"d"]"#).unwrap();
        assert_eq!(command.args, [r"C:\x y\z.exe", "a b", "c\"d"]);
        assert_eq!(command.tail, None);
    }

    #[test]
    fn a_heredoc_is_a_script() {
        let command = line(&CMD, "RUN <<EOF\necho a\necho \"b\"\nEOF").unwrap();
        assert_eq!(command.tail.as_deref(), Some(r#"/S /C ""%ORLOP_ROOT%\.orlop-run\EOF.cmd"""#));
        let (path, content) = command.script.unwrap();
        assert_eq!(path, r"C:\.orlop-run\EOF.cmd");
        assert_eq!(content, "@echo off\r\necho a\r\necho \"b\"\r\n");
        let command = line(&["pwsh", "-Command"], "RUN <<-\"it's\"\n\t\"a\"\nit's").unwrap();
        assert!(command.tail.unwrap().contains(r"$env:ORLOP_ROOT + '\.orlop-run\it''s.ps1'"));
        assert_eq!(command.script.unwrap().1, "\"a\"\r\n");
        let other = line(&["python", "-c"], "RUN <<EOF\nprint(1)\nEOF").unwrap();
        assert_eq!((other.tail.as_deref(), other.script), (Some("-c print(1)\n"), None));
        for bad in ["RUN <<EOF\n#!/bin/sh\nEOF", "RUN cat <<EOF\nx\nEOF"] {
            assert!(line(&CMD, bad).unwrap_err().hint.is_some(), "{bad}");
        }
    }

    #[test]
    fn what_is_found_twice_is_placed_twice() {
        let source = "RUN del C:\\a & del C:\\a && [\"C:\\\\b\"]";
        let mut from = 0;
        let mut next = |text: &str| place(source, &mut from, text).map(|at| at.start);
        assert_eq!((next(r"C:\a"), next(r"C:\a"), next(r"C:\b")), (Some(8), Some(19), Some(29)));
        assert_eq!(next(r"C:\a"), None);
        assert_eq!(place("é", &mut 0, "é"), Some(0..2));
    }

    #[test]
    fn a_command_that_is_missing_has_a_way_out() {
        let hint = |words: &[&str], code, output: &str| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            not_found(&words, code, output.as_bytes(), Some(r"C:\tools"))
        };
        let missing = |word: &str| format!("x\norlop: {word}: command not found\n");
        assert!(hint(&["pwsh"], 127, &missing("pwsh")).unwrap().contains("PowerShell"));
        assert!(hint(&["tool"], 127, &missing("tool")).unwrap().contains(r"`C:\tools`"));
        assert!(hint(&[r"C:\x.exe"], 127, &missing(r"C:\x.exe")).unwrap().contains("COPY"));
        assert!(hint(&["cmd"], 9009, "").unwrap().contains(r"`C:\tools`"));
        assert_eq!(hint(&["tool"], 127, "its own affair\n"), None);
        assert_eq!(hint(&["tool"], 1, &missing("tool")), None);
    }

    #[test]
    fn a_base_with_its_own_system_needs_a_word() {
        let dir = tempfile::tempdir().unwrap();
        own_system(dir.path(), false).unwrap();
        std::fs::create_dir_all(dir.path().join("windows/SYSTEM32")).unwrap();
        let error = own_system(dir.path(), false).unwrap_err();
        assert!(error.hint.unwrap().contains("--host-system-files"));
        own_system(dir.path(), true).unwrap();
    }
}
