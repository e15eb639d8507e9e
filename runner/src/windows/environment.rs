//! A job's environment: the image's variables, and those that no Windows program can do without.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::OsStrExt;
use std::path::Path;

/// Where a job's base variables point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places<'a> {
    /// The job's root, without the long form's prefix.
    pub(super) root: &'a Path,
    /// Its private directory for temporary files.
    pub(super) temporary: &'a Path,
    /// The profile of the account it runs as, in the root.
    pub(super) profile: &'a Path,
    /// The account's name.
    pub(super) account: &'a str,
    /// The host's Windows directory.
    pub(super) windows: &'a Path,
    /// The host's `System32`.
    pub(super) system: &'a Path,
    /// The number of processors.
    pub(super) processors: u32,
}

/// The letter that the root is on, where it is on one.
pub(super) const DRIVE: &str = "ORLOP_DRIVE";

/// Names that the image cannot choose, because they say where things are on this host.
const FIXED: &[&str] = &["ORLOP_ROOT", DRIVE, "SystemRoot", "windir", "SystemDrive", "OS"];
/// Names that the image can choose as long as they lead into the root: anywhere else the job cannot write.
const INSIDE: &[&str] = &["TEMP", "TMP"];

/// The base variables, then the image's over them, whatever the case of their names; a name's spelling is the
/// image's where it has one. Sorted as the system wants it.
pub(super) fn merge(places: &Places<'_>, image: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let mut merged = base(places);
    for (name, value) in image {
        let among = |names: &[&str]| names.iter().any(|known| same(OsStr::new(known), name));
        if among(FIXED) || (among(INSIDE) && !Path::new(value).starts_with(places.root)) {
            continue;
        }
        match merged.iter_mut().find(|(known, _)| same(known, name)) {
            Some(entry) => *entry = (name.clone(), value.clone()),
            None => merged.push((name.clone(), value.clone())),
        }
    }
    merged.sort_by(|(one, _), (other, _)| order(one, other));
    merged
}

/// The same with the letter that the root is on.
pub(super) fn with_letter(all: &[(OsString, OsString)], letter: char) -> Vec<(OsString, OsString)> {
    let mut all = all.to_vec();
    all.push((DRIVE.into(), format!("{letter}:").into()));
    all.sort_by(|(one, _), (other, _)| order(one, other));
    all
}

fn base(places: &Places<'_>) -> Vec<(OsString, OsString)> {
    let (root, profile, windows, system) = (places.root, places.profile, places.windows, places.system);
    let path =
        [system.to_owned(), windows.to_owned(), system.join("Wbem"), system.join(r"WindowsPowerShell\v1.0")]
            .map(OsString::from);
    let drive = |path: &Path| OsString::from(path.to_string_lossy().get(..2).unwrap_or("C:"));
    let below: OsString = profile.to_string_lossy().get(2..).unwrap_or_default().into();
    let architecture = if cfg!(target_arch = "aarch64") { "ARM64" } else { "AMD64" };
    let of_root = |name: &str| OsString::from(root.join(name));
    [
        ("ORLOP_ROOT", root.into()),
        ("TEMP", places.temporary.into()),
        ("TMP", places.temporary.into()),
        ("SystemRoot", windows.into()),
        ("windir", windows.into()),
        ("SystemDrive", drive(windows)),
        ("OS", "Windows_NT".into()),
        ("ComSpec", system.join("cmd.exe").into()),
        ("Path", path.join(OsStr::new(";"))),
        ("PATHEXT", ".COM;.EXE;.BAT;.CMD;.VBS;.VBE;.JS;.JSE;.WSF;.WSH;.MSC".into()),
        ("NUMBER_OF_PROCESSORS", places.processors.to_string().into()),
        ("PROCESSOR_ARCHITECTURE", architecture.into()),
        ("USERNAME", places.account.into()),
        ("USERPROFILE", profile.into()),
        ("HOMEDRIVE", drive(profile)),
        ("HOMEPATH", below),
        ("APPDATA", profile.join(r"AppData\Roaming").into()),
        ("LOCALAPPDATA", profile.join(r"AppData\Local").into()),
        ("ALLUSERSPROFILE", of_root("ProgramData")),
        ("ProgramData", of_root("ProgramData")),
        ("ProgramFiles", of_root("Program Files")),
        ("ProgramFiles(x86)", of_root("Program Files (x86)")),
        ("ProgramW6432", of_root("Program Files")),
        ("CommonProgramFiles", of_root(r"Program Files\Common Files")),
        ("PUBLIC", of_root(r"Users\Public")),
    ]
    .map(|(name, value): (&str, OsString)| (name.into(), value))
    .into()
}

/// The value of a variable.
pub(super) fn value<'a>(variables: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    variables.iter().find(|(known, _)| same(known, OsStr::new(name))).map(|(_, value)| value.as_os_str())
}

/// The block that the system takes: `NAME=value` with a zero each, and another at the end.
pub(super) fn block(variables: &[(OsString, OsString)]) -> Vec<u16> {
    let mut block = Vec::new();
    for (name, value) in variables {
        block.extend(name.encode_wide());
        block.push(u16::from(b'='));
        block.extend(value.encode_wide());
        block.push(0);
    }
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    block
}

/// Whether two names are one to the system.
pub(super) fn same(one: &OsStr, other: &OsStr) -> bool {
    order(one, other) == Ordering::Equal
}

/// By upper case, unit by unit, as the system sorts and compares names.
fn order(one: &OsStr, other: &OsStr) -> Ordering {
    let key = |name: &OsStr| name.encode_wide().map(upper).collect::<Vec<u16>>();
    key(one).cmp(&key(other))
}

/// The simple upper case of one UTF-16 unit.
fn upper(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places {
            root: Path::new(r"D:\work\root"),
            temporary: Path::new(r"D:\t"),
            profile: Path::new(r"D:\work\root\Users\ContainerUser"),
            account: "ContainerUser",
            windows: Path::new(r"C:\Windows"),
            system: Path::new(r"C:\Windows\System32"),
            processors: 4,
        }
    }

    fn image(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn the_image_wins_whatever_the_case() {
        let merged =
            merge(&places(), &image(&[("PATH", r"D:\work\root\bin"), ("a", "1"), ("B", "2"), ("A", "3")]));
        assert_eq!(value(&merged, "path"), Some(OsStr::new(r"D:\work\root\bin")));
        assert_eq!(merged.iter().filter(|(name, _)| same(name, OsStr::new("Path"))).count(), 1);
        assert_eq!(value(&merged, "a"), Some(OsStr::new("3")));
        assert_eq!(value(&merged, "homepath"), Some(OsStr::new(r"\work\root\Users\ContainerUser")));
        let names: Vec<String> =
            merged.iter().map(|(name, _)| name.to_string_lossy().to_uppercase()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }

    #[test]
    fn where_things_are_is_not_the_images_to_say() {
        let given =
            [("temp", r"C:\TEMP"), ("SYSTEMROOT", "X"), ("orlop_root", "/"), ("ComSpec", r"D:\c.exe")];
        let merged = merge(&places(), &image(&given));
        assert_eq!(value(&merged, "TEMP"), Some(OsStr::new(r"D:\t")));
        let own = merge(&places(), &image(&[("TMP", r"D:\work\root\tmp")]));
        assert_eq!(value(&own, "TMP"), Some(OsStr::new(r"D:\work\root\tmp")));
        assert_eq!(value(&merged, "SystemRoot"), Some(OsStr::new(r"C:\Windows")));
        assert_eq!(value(&merged, "ORLOP_ROOT"), Some(OsStr::new(r"D:\work\root")));
        assert_eq!(value(&merged, "comspec"), Some(OsStr::new(r"D:\c.exe")));
    }

    #[test]
    fn the_letter_is_not_the_images_to_say_either() {
        let merged = merge(&places(), &image(&[("orlop_drive", "Q:"), ("ORLOP_DRIV", "1"), ("OS2", "1")]));
        assert_eq!(value(&merged, "ORLOP_DRIVE"), None);
        let lettered = with_letter(&merged, 'Z');
        assert_eq!(value(&lettered, "orlop_drive"), Some(OsStr::new("Z:")));
        let at = |name: &str| lettered.iter().position(|(known, _)| same(known, OsStr::new(name)));
        assert!(at("ORLOP_DRIV") < at("ORLOP_DRIVE") && at("ORLOP_DRIVE") < at("ORLOP_ROOT"));
    }

    #[test]
    fn blocks_end_twice() {
        let text = |block: Vec<u16>| String::from_utf16_lossy(&block);
        assert_eq!(text(block(&image(&[("A", "1"), ("B", "")]))), "A=1\0B=\0\0");
        assert_eq!(text(block(&[])), "\0\0");
        assert!(same(OsStr::new("ä"), OsStr::new("Ä")) && !same(OsStr::new("ß"), OsStr::new("SS")));
    }
}
