//! The bodies of the fuzz targets on twenty thousand changed Dockerfiles, the same ones every time.

use std::path::{Path, PathBuf};

#[path = "../fuzz/bodies.rs"]
mod bodies;

/// Pieces that mean something to the language.
const PIECES: &[&str] = &[
    "\\",
    "\n",
    "\\\n",
    "\r\n",
    "\"",
    "'",
    "$",
    "${",
    "}",
    "<<",
    "<<-E\n",
    "<<'E'",
    "E\n",
    "[",
    "]",
    "[\"",
    "\",",
    "--",
    "--from=",
    "--mount=type=",
    "=",
    "#",
    "# ",
    "\n# escape=`\n",
    " ",
    "\t",
    "`",
    "\u{feff}",
    "\u{e9}",
    "\u{a0}",
    "\u{85}",
    "\nFROM ",
    " AS ",
    "\nONBUILD ",
    "\nRUN ",
    "\nCOPY ",
    "\nENV ",
    "\nARG ",
    "\0",
    ",",
    "%",
    "//",
    ":-",
    ":?",
    "${a:-",
    "*",
    "\u{1f433}",
    "0",
    "99999999999999999999",
];

/// Numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below.max(1) as u64).unwrap_or_default()
    }
}

/// Every Dockerfile of the fixtures and every seed of the fuzz targets.
fn seeds() -> Vec<String> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("the directory of the seeds") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                collect(&path, found);
            } else if name.contains("Dockerfile") && !name.ends_with("ignore") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ["fuzz/seeds", "../fixtures/dockerfiles", "src/dockerfile/tests"] {
        collect(&root.join(dir), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 50, "only {} seeds", paths.len());
    let read = |path: &PathBuf| std::fs::read(path).expect("a seed");
    paths.iter().map(|path| String::from_utf8_lossy(&read(path)).into_owned()).collect()
}

/// One of the texts with up to six changes; some of them bring a part of another text.
fn changed(seeds: &[String], dice: &mut Dice) -> String {
    let pick = |dice: &mut Dice| seeds.get(dice.roll(seeds.len())).map_or(&[][..], |seed| seed.as_bytes());
    let mut bytes = pick(dice).to_vec();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(bytes.len() + 1);
        let end = (at + dice.roll(40)).min(bytes.len());
        match dice.roll(6) {
            0 => drop(bytes.drain(at..end)),
            1 | 2 => {
                let piece = PIECES.get(dice.roll(PIECES.len())).copied().unwrap_or_default();
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let copy = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(end..end, copy);
            }
            4 => {
                let other = pick(dice);
                let from = dice.roll(other.len() + 1);
                let to = (from + dice.roll(120)).min(other.len());
                bytes.splice(at..at, other.get(from..to).unwrap_or_default().iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.roll(256) as u8;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs `body` on `count` changed texts; what it cannot take is printed whole.
fn exercise(seeds: &[String], count: u64, body: fn(&str)) {
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in (thread..count).step_by(threads as usize) {
                    let text = changed(seeds, &mut Dice(number));
                    let result = std::panic::catch_unwind(|| body(&text));
                    assert!(result.is_ok(), "text {number}:\n{text}\n{text:?}");
                }
            });
        }
    });
}

#[test]
fn changed_dockerfiles() {
    exercise(&seeds(), 20_000, bodies::dockerfile);
}

#[test]
fn changed_words() {
    let words: Vec<_> = seeds().iter().flat_map(|seed| seed.lines()).map(str::to_owned).collect();
    exercise(&words, 20_000, bodies::expansion);
}

#[test]
fn changed_ignore_files() {
    let files = [
        "*\n!src\n!src/**\nsrc/**/*.tmp\n",
        "# comment\n/node_modules/\n**/.git\n!.git/HEAD\n",
        "a/[b-d]?\\*/e\n  !  x y  \n..\n/\n.\n!\n",
        "**/**/**/*.o\na/**/b/**/c/**\n[^a]*\n\u{feff}\r\n",
    ];
    exercise(&files.map(str::to_owned), 2_500, bodies::ignore);
}

#[test]
fn the_seeds_themselves() {
    for seed in seeds() {
        bodies::dockerfile(&seed);
        bodies::expansion(&seed);
    }
}
