//! Roles that leave something in the root.

use std::fs;
use std::path::Path;

use super::{ABSENT, CLOSED, Seen};
use crate::windows::junction;

/// Names of files that programs cannot name without `\\?\`.
pub(in super::super) const NAMES: [&str; 4] = ["nul.txt", "com1", "dot.", "blank "];
/// A second stream.
pub(in super::super) const STREAM: &str = "hidden.txt:stream";

/// A junction and a symbolic link to a directory outside.
pub(super) fn links(target: &str) -> Seen {
    let target = Path::new(target);
    let junction = junction::create(Path::new("junction"), target);
    // Some systems say yes to it and make nothing.
    let symlink = std::os::windows::fs::symlink_dir(target, "symlink")
        .and_then(|()| fs::symlink_metadata("symlink").map(drop));
    let told = |what: &str, made: &std::io::Result<()>| match made {
        Ok(()) => format!("{what} made"),
        Err(error) => format!("{what}: error {}", error.raw_os_error().unwrap_or(0)),
    };
    let said = format!("{}, {}", told("junction", &junction), told("symbolic link", &symlink));
    (if junction.is_ok() || symlink.is_ok() { CLOSED } else { ABSENT }, said)
}

/// A file with a second stream.
pub(super) fn stream() -> Seen {
    match fs::write("hidden.txt", "seen").and_then(|()| fs::write(STREAM, "hidden")) {
        Ok(()) => (CLOSED, "a stream is written".into()),
        Err(error) => {
            (ABSENT, format!("no stream can be written: error {}", error.raw_os_error().unwrap_or(0)))
        }
    }
}

/// Files with such names.
pub(super) fn names() -> Seen {
    let Ok(root) = Path::new(".").canonicalize() else { return (ABSENT, "the root has no long name".into()) };
    let made = NAMES.iter().filter(|name| {
        let mut path = root.clone().into_os_string();
        path.push("\\");
        path.push(name);
        fs::write(path, "strange").is_ok()
    });
    let made: Vec<String> = made.map(|name| format!("`{name}`")).collect();
    match made.is_empty() {
        true => (ABSENT, "none can be made".into()),
        false => (CLOSED, format!("{} made", made.join(", "))),
    }
}
