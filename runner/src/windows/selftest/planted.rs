//! The checks of what a step can leave in its root for whoever reads it afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use super::attack::{NAMES, STREAM};
use super::bench::{Bench, Tried};
use super::roots::Root;
use crate::{CancelToken, Mount};

/// A file outside of every root, in a directory of its own.
const THEIRS: &str = "theirs.txt";

/// Runs a role over a root as builds have them. The root, and what the role said.
fn plant(bench: &Bench<'_>, role: &[&str]) -> Result<(Box<dyn Root>, String), Tried> {
    let Some(roots) = bench.roots() else {
        return Err(Tried::Absent("there is no store here that would read it".into()));
    };
    let root = roots.prepare().map_err(Tried::Broken)?;
    let spec = bench.spec_over(root.path().to_owned(), role).map_err(Tried::Broken)?;
    match bench.attack_with(spec) {
        Tried::Closed(said) => Ok((root, said)),
        other => Err(other),
    }
}

/// Links that lead outside: neither the next step's mounts nor the build's reading follow them.
pub(super) fn links(bench: &Bench<'_>) -> Tried {
    let outside = match outside(bench.work()) {
        Ok(outside) => outside,
        Err(error) => return Tried::Broken(error.to_string()),
    };
    let tried = links_to(bench, &outside);
    let whole = fs::read(outside.join(THEIRS)).is_ok_and(|content| content == THEIRS.as_bytes());
    let alone = fs::read_dir(&outside).is_ok_and(|entries| entries.count() == 1);
    let _ = fs::remove_dir_all(&outside);
    match tried {
        Tried::Closed(_) if !whole || !alone => Tried::Open("what is outside was changed through it".into()),
        other => other,
    }
}

fn outside(work: &Path) -> std::io::Result<PathBuf> {
    let outside = work.join("outside");
    fs::create_dir_all(&outside)?;
    fs::write(outside.join(THEIRS), THEIRS)?;
    Ok(outside)
}

fn links_to(bench: &Bench<'_>, outside: &Path) -> Tried {
    let (root, said) = match plant(bench, &["plant-links", &outside.display().to_string()]) {
        Ok(planted) => planted,
        Err(tried) => return tried,
    };
    for link in ["junction", "symlink"] {
        let Ok(mut spec) = bench.spec_over(root.path().to_owned(), &["exit", "0"]) else {
            return Tried::Broken("the root takes no second step".into());
        };
        spec.mounts.push(Mount::file(format!(r"C:\{link}\mounted.txt"), "mounted", 0o644, 0, 0));
        // That it is refused is as good as that it is put elsewhere: what counts is what is outside.
        let _ = bench.run(&mut spec, &CancelToken::new(), &mut |_| {});
    }
    match root.read() {
        Ok(names) if names.iter().any(|name| name.ends_with(THEIRS)) => {
            Tried::Open(format!("{said}; the layer has what is outside"))
        }
        Ok(_) => Tried::Closed(format!("{said}; nothing outside was read or written")),
        Err(why) if why.contains("junction") || why.contains("symlink") => {
            Tried::Closed(format!("{said}; the step is refused for it"))
        }
        Err(why) => Tried::Broken(why),
    }
}

/// A second stream of a file.
pub(super) fn stream(bench: &Bench<'_>) -> Tried {
    match plant(bench, &["plant-stream"]) {
        Ok((root, said)) => kept_or_refused(root, &said, &[STREAM.to_owned()]),
        Err(tried) => tried,
    }
}

/// Names that only `\\?\` can express.
pub(super) fn names(bench: &Bench<'_>) -> Tried {
    match plant(bench, &["plant-names"]) {
        Ok((root, said)) => {
            let made: Vec<String> = NAMES
                .iter()
                .filter(|name| said.contains(&format!("`{name}`")))
                .map(ToString::to_string)
                .collect();
            kept_or_refused(root, &said, &made)
        }
        Err(tried) => tried,
    }
}

/// Whether a build keeps every one of `made`, or says of which it cannot.
fn kept_or_refused(root: Box<dyn Root>, said: &str, made: &[String]) -> Tried {
    let path = root.path().to_owned();
    match root.read() {
        Ok(names) if made.iter().all(|made| names.iter().any(|name| name.ends_with(made.as_str()))) => {
            Tried::Closed(format!("{said}; the layer has it"))
        }
        Ok(_) => Tried::Open(format!("{said}; the layer is without it, and nothing says so")),
        Err(why) if made.iter().any(|name| why.contains(name.as_str())) => match path.exists() {
            true => Tried::Open(format!("{said}; the step is refused for it and cannot be removed")),
            false => Tried::Closed(format!("{said}; the step is refused for it")),
        },
        Err(why) => Tried::Broken(why),
    }
}
