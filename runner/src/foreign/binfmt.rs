//! What the kernel was told of programs that are not this processor's (the kernel's "Kernel Support for miscellaneous
//! Binary Formats").

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::CannotRun;
use crate::Exit;

/// Where the kernel shows it, one file for each registered kind of program.
pub(super) const DIRECTORY: &str = "/proc/sys/fs/binfmt_misc";

/// One file of the directory.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    enabled: bool,
    interpreter: PathBuf,
    flags: String,
}

impl Entry {
    /// Reads the file `name` if it is for programs that begin like `program`.
    fn of(name: &str, text: &str, program: &[u8]) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let offset: usize = value("offset ")?.parse().ok()?;
        let magic = bytes(value("magic ")?)?;
        let mask = value("mask ").and_then(bytes).unwrap_or_else(|| vec![0xff; magic.len()]);
        let start = program.get(offset..)?.get(..magic.len())?;
        let same = start.iter().zip(&magic).zip(mask).all(|((have, want), mask)| (have ^ want) & mask == 0);
        same.then(|| Self {
            name: name.to_owned(),
            enabled: text.lines().next() == Some("enabled"),
            interpreter: value("interpreter ").unwrap_or_default().into(),
            flags: value("flags:").unwrap_or_default().to_owned(),
        })
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// Why `program`, one for `architecture`, ended with `exit` in `root`. `directory` is [`DIRECTORY`].
pub(super) fn explain(
    directory: &Path,
    root: &Path,
    architecture: &str,
    program: &[u8],
    exit: Exit,
) -> CannotRun {
    let install = format!(
        "install an emulator, `apt-get install qemu-user-static binfmt-support` (Debian 13: `qemu-user-binfmt`), or \
         let the stage run here with `FROM --platform=$BUILDPLATFORM …` and make files for {architecture}"
    );
    let shown = directory.display();
    if architecture == "386" && cfg!(target_arch = "x86_64") {
        let why = "the kernel is built or started without 32-bit programs (CONFIG_IA32_EMULATION)".to_owned();
        return CannotRun { why, hint: install };
    }
    let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
    match status.trim() {
        "enabled" => {}
        "disabled" => {
            return CannotRun {
                why: format!("emulators are switched off: `{shown}/status` says disabled"),
                hint: format!("switch them on: `echo 1 > {shown}/status`"),
            };
        }
        _ => {
            let why = format!(
                "no emulator for {architecture} is registered, as far as one can see: `{shown}` is not mounted"
            );
            return CannotRun { why, hint: install };
        }
    }
    let Some(entry) = find(directory, program) else {
        return CannotRun {
            why: format!("no emulator for {architecture} is registered in `{shown}`"),
            hint: install,
        };
    };
    let Entry { name, enabled, interpreter, flags } = entry;
    let emulator = interpreter.display();
    if !enabled {
        return CannotRun {
            why: format!("the emulator `{emulator}` is registered and switched off"),
            hint: format!("switch it on: `echo 1 > {shown}/{name}`"),
        };
    }
    let inside = interpreter.strip_prefix("/").map(|path| root.join(path));
    if !flags.contains('F') && !inside.is_ok_and(|path| path.symlink_metadata().is_ok()) {
        return CannotRun {
            why: format!(
                "the emulator `{emulator}` is registered without the flag F, so it would have to be in the image"
            ),
            hint: format!(
                "register it with the flag F, as Debian's packages do (`{shown}/{name}` is the old one), or copy it \
                 into the image before the first RUN"
            ),
        };
    }
    let ended = match exit {
        Exit::Code(code) => format!("ended with exit code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    };
    CannotRun {
        why: format!("the emulator `{emulator}` is registered, and the smallest program {ended}"),
        hint: "the emulator has to be a static program that is there: install the packages of it anew"
            .to_owned(),
    }
}

/// The entry that the kernel takes for `program`. Of several it is the one that was registered last, which nobody
/// can see; one that is switched on before one that is not.
fn find(directory: &Path, program: &[u8]) -> Option<Entry> {
    let mut found: Option<Entry> = None;
    for file in fs::read_dir(directory).ok()?.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if matches!(name.as_str(), "status" | "register") {
            continue;
        }
        let mut text = String::new();
        // A page is all that the kernel gives.
        let read = fs::File::open(file.path()).and_then(|file| file.take(1 << 16).read_to_string(&mut text));
        if read.is_err() {
            continue;
        }
        match Entry::of(&name, &text, program) {
            Some(entry) if found.as_ref().is_none_or(|other| entry.enabled && !other.enabled) => {
                found = Some(entry);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::program;
    use super::*;

    const ARM64: &str = "magic 7f454c460201010000000000000000000200b700\n\
                         mask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn said(files: &[(&str, String)], in_root: &[&str]) -> CannotRun {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        for path in in_root {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        explain(dir.path(), root.path(), "arm64", &program("arm64").unwrap(), Exit::Code(126))
    }

    fn entry(state: &str, flags: &str) -> String {
        format!("{state}\ninterpreter /usr/bin/qemu-a\nflags: {flags}\noffset 0\n{ARM64}")
    }

    #[test]
    fn what_is_missing_is_named() {
        let on = ("status", "enabled\n".to_owned());
        for (files, in_root, why, hint) in [
            (vec![], vec![], "is not mounted", "qemu-user-binfmt"),
            (vec![("status", "disabled\n".into())], vec![], "switched off", "echo 1 >"),
            (vec![on.clone()], vec![], "no emulator for arm64 is registered in", "apt-get install"),
            (vec![on.clone(), ("a", entry("disabled", "F"))], vec![], "switched off", "/a`"),
            (vec![on.clone(), ("a", entry("enabled", "OC"))], vec![], "without the flag F", "/a`"),
            (
                vec![on.clone(), ("a", entry("enabled", "OC"))],
                vec!["usr/bin/qemu-a"],
                "exit code 126",
                "static",
            ),
            (vec![on.clone(), ("a", entry("enabled", "POCF"))], vec![], "exit code 126", "static"),
        ] {
            let said = said(&files, &in_root);
            assert!(said.why.contains(why) && said.hint.contains(hint), "{said:?}");
        }
    }

    #[test]
    fn an_entry_is_for_what_begins_like_it() {
        let text = entry("enabled", "F");
        let is_for = |architecture: &str| Entry::of("a", &text, &program(architecture).unwrap()).is_some();
        assert!(is_for("arm64"));
        for other in ["arm", "amd64", "386", "riscv64", "s390x", "ppc64le"] {
            assert!(!is_for(other), "{other}");
        }
        for bad in [
            "",
            "enabled",
            "offset 0\nmagic 7",
            "offset x\nmagic 7f",
            "offset 9999\nmagic 7f",
            "offset 0\nmagic é1",
        ] {
            assert_eq!(Entry::of("a", bad, b"\x7fELF"), None, "{bad}");
        }
    }
}
