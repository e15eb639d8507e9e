//! The rounds and their table.

#![expect(clippy::disallowed_methods, reason = "cargo names its target directory so")]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::builder::Builder;
use crate::workload::Workload;
use orlop_fixtures::test_env::work_dir;
use orlop_fixtures::tool::{need_root, tool};

struct Arguments {
    orlop: PathBuf,
    runs: usize,
    workloads: Vec<Workload>,
}

/// Measures what the arguments name, and shows the table.
pub(crate) fn run() -> ExitCode {
    let outcome = arguments(std::env::args().skip(1)).map_err(io::Error::other).and_then(|a| compare(&a));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { orlop: PathBuf::new(), runs: 3, workloads: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--orlop" => arguments.orlop = words.next().ok_or("--orlop needs a path")?.into(),
            "--runs" => {
                let number = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                arguments.runs = number.ok_or("--runs needs a number")?;
            }
            name => arguments.workloads.push(Workload::named(name)?),
        }
    }
    if arguments.workloads.is_empty() {
        arguments.workloads = Workload::ALL.to_vec();
    }
    if arguments.orlop.as_os_str().is_empty() {
        arguments.orlop = release_build()?;
    }
    if !arguments.orlop.is_file() {
        return Err(format!("there is no `{}`", arguments.orlop.display()));
    }
    Ok(arguments)
}

/// Builds the product as it is given to people, and gives its path.
fn release_build() -> Result<PathBuf, String> {
    let built = tool("cargo")
        .args(["build", "--release", "--locked", "-p", "orlop"])
        .current_dir(orlop_fixtures::workspace())
        .status()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    if !built.success() {
        return Err(format!("cargo build ended with {built}"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(orlop_fixtures::workspace().join(target).join("release/orlop"))
}

fn compare(arguments: &Arguments) -> io::Result<()> {
    need_root();
    let mut out = io::stdout();
    writeln!(out, "{} runs each, medians, seconds; the ratio is buildah / orlop\n", arguments.runs)?;
    writeln!(out, "| workload | build | orlop | buildah | ratio |\n|---|---|---|---|---|")?;
    for workload in &arguments.workloads {
        let work = work_dir();
        let context = workload.prepare(work.path());
        let builders = [Builder::orlop(&arguments.orlop, work.path()), Builder::buildah(work.path())];
        let (mut first, mut again) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for _ in 0..arguments.runs {
            for (which, builder) in builders.iter().enumerate() {
                builder.forget();
                builder.fetch_base();
                first[which].push(builder.build(&context));
                again[which].push(builder.build(&context));
            }
        }
        for (kind, [ours, theirs]) in [("first", first), ("unchanged", again)] {
            let (ours, theirs) = (median(ours), median(theirs));
            writeln!(
                out,
                "| {} | {kind} | {ours:.2} | {theirs:.2} | {:.1} |",
                workload.name(),
                theirs / ours
            )?;
        }
        out.flush()?;
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    match seconds.len() % 2 {
        0 => (seconds[middle - 1] + seconds[middle]) / 2.0,
        _ => seconds[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn workloads_have_names_of_their_own() {
        for workload in Workload::ALL {
            assert_eq!(Workload::named(workload.name()).map(|w| w.name()), Ok(workload.name()));
        }
        assert!(Workload::named("none").is_err());
    }
}
