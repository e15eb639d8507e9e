//! What the user sees while we work, on standard error: standard output carries the result alone.

mod lines;
mod plain;
mod rawjson;
mod tty;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use orlop_builder::event::{Event, Observer, Outcome};
use orlop_runner::Usage;
use orlop_store::Digest;
use serde::Serialize;

pub(crate) use lines::clean;

use crate::system::console;
use crate::{env, quantity};

/// `--progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// `tty` on a terminal, else `plain`.
    Auto,
    /// Lines for a log.
    Plain,
    /// Live lines.
    Tty,
    /// One JSON object a line.
    Rawjson,
    /// Nothing.
    Quiet,
}

/// An observer that knows when a command is over.
pub(crate) trait Display: Observer + std::fmt::Debug {
    /// Nothing follows: the screen is left in order.
    fn finish(&self);

    /// Says what was built.
    fn summary(&self, summary: &Summary);
}

/// What there is to say at the end of a build. With `--progress=rawjson` these are the fields of the
/// event `summary`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// Steps whose result was known.
    pub(crate) steps_cached: usize,
    /// Steps that ran.
    pub(crate) steps_run: usize,
    /// From start to end.
    #[serde(serialize_with = "seconds")]
    pub(crate) duration: Duration,
    /// How long each phase took, the longest first.
    pub(crate) times: Vec<SummaryTime>,
    /// Layers, bottom first.
    pub(crate) layers: Vec<SummaryLayer>,
    /// The images where several platforms were built, instead of `layers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) platforms: Vec<SummaryPlatform>,
    /// Digest of the image's config; of several images that of their index.
    pub(crate) image_id: Digest,
    /// Digest of its manifest, where one was written and is not the ID.
    pub(crate) manifest_digest: Option<Digest>,
    /// Its names.
    pub(crate) names: Vec<String>,
}

/// How long a phase took: the time in which at least one thread was at it, so that those of phases that overlap are
/// more than [`Summary::duration`] together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SummaryTime {
    /// The phase, as in a trace.
    pub(crate) phase: &'static str,
    /// How long.
    #[serde(serialize_with = "seconds")]
    pub(crate) time: Duration,
}

/// The image for one of several platforms.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SummaryPlatform {
    /// `linux/arm64`.
    pub(crate) platform: String,
    /// Digest of its config.
    pub(crate) image_id: Digest,
    /// Layers, bottom first.
    pub(crate) layers: Vec<SummaryLayer>,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SummaryLayer {
    /// Digest of its tar.
    pub(crate) diff_id: Digest,
    /// Bytes of its tar, where they are known without fetching it.
    pub(crate) size: Option<u64>,
    /// What made it, from the image's history.
    pub(crate) created_by: String,
}

fn seconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.as_secs_f64())
}

impl Mode {
    /// The display that the mode stands for on this standard error.
    pub(crate) fn display(self) -> Box<dyn Display> {
        let terminal = io::stderr().is_terminal()
            && env::TERM.text().is_none_or(|term| term != "dumb")
            && console::takes_escapes();
        match self {
            Self::Auto if terminal => Box::new(tty::Tty::new()),
            Self::Auto | Self::Plain => Box::new(plain::Plain::new(io::stderr())),
            Self::Tty => Box::new(tty::Tty::new()),
            Self::Rawjson => Box::new(rawjson::RawJson::new(io::stderr())),
            Self::Quiet => Box::new(Quiet),
        }
    }
}

/// Says nothing but warnings.
#[derive(Debug)]
struct Quiet;

impl Observer for Quiet {
    fn event(&self, event: Event) {
        // What a rule finds in a Dockerfile is advice, which whoever is quiet does not ask for.
        if let Event::Warning { text, hint, rule: None, .. } = event {
            // With standard error gone there is nobody to warn.
            let _ = writeln!(io::stderr(), "warning: {text}");
            if let Some(hint) = hint {
                let _ = writeln!(io::stderr(), "hint: {hint}");
            }
        }
    }
}

impl Display for Quiet {
    fn finish(&self) {}
    fn summary(&self, _summary: &Summary) {}
}

/// How a task ended, in a few words: `1.2s`, `CACHED`, with what its processes used behind it.
fn ending(outcome: Outcome, duration: Duration, usage: Option<&Usage>, layer: Option<u64>) -> String {
    let mut out = match outcome {
        Outcome::Done => format!("DONE {}", quantity::duration(duration)),
        Outcome::Cached => "CACHED".to_owned(),
        Outcome::Failed => format!("ERROR {}", quantity::duration(duration)),
        Outcome::Canceled => "CANCELED".to_owned(),
    };
    let mut parts = Vec::new();
    if let Some(usage) = usage {
        parts.extend(usage.cpu().map(|cpu| format!("cpu {}", quantity::duration(cpu))));
        parts.extend(usage.peak_memory.map(|bytes| format!("memory {}", quantity::size(bytes))));
    }
    if outcome == Outcome::Done {
        parts.extend(layer.filter(|&size| size > 0).map(|bytes| format!("layer {}", quantity::size(bytes))));
    }
    if !parts.is_empty() {
        out.push_str(&format!(" ({})", parts.join(", ")));
    }
    out
}

/// The lines of a summary, for people.
fn summary_lines(summary: &Summary) -> Vec<String> {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let steps = summary.steps_cached + summary.steps_run;
    let mut out = vec![format!(
        "Built in {}: {steps} step{}, {} cached, {} run",
        quantity::duration(summary.duration),
        plural(steps),
        summary.steps_cached,
        summary.steps_run,
    )];
    layer_lines(&summary.layers, &mut out);
    for image in &summary.platforms {
        out.push(format!("{}  {}", image.platform, image.image_id.short()));
        layer_lines(&image.layers, &mut out);
    }
    out.extend(time_line(summary));
    let head = if summary.platforms.is_empty() { "image" } else { "index" };
    out.push(format!("{head}    {}", summary.image_id));
    out.extend(summary.manifest_digest.map(|digest| format!("manifest {digest}")));
    out.extend(summary.names.iter().map(|name| format!("name     {name}")));
    out
}

/// Builds that are over sooner have no time to speak of.
const SHORT: Duration = Duration::from_millis(50);
/// A phase that is told has one part in so many of the build.
const LEAST_PART: u32 = 50;
/// Characters of a line.
const WIDTH: usize = 80;

/// Where the time went, of a build that ran something: `time     run 2.1s, diff 240ms`.
fn time_line(summary: &Summary) -> Option<String> {
    if summary.steps_run == 0 || summary.duration < SHORT {
        return None;
    }
    let told = summary.times.iter().filter(|time| time.time >= summary.duration / LEAST_PART);
    let mut line = String::new();
    for time in told {
        let before = if line.is_empty() { "time     " } else { ", " };
        let more = format!("{before}{} {}", time.phase, spent(time.time));
        if line.len() + more.len() > WIDTH {
            break;
        }
        line.push_str(&more);
    }
    (!line.is_empty()).then_some(line)
}

/// `240ms`, and from a second on `2.1s`.
fn spent(time: Duration) -> String {
    if time.as_secs() == 0 { format!("{}ms", time.as_millis()) } else { quantity::duration(time) }
}

fn layer_lines(layers: &[SummaryLayer], out: &mut Vec<String>) {
    for layer in layers {
        let size = layer.size.map_or_else(|| "-".to_owned(), quantity::size);
        let made: String = lines::clean(&layer.created_by).chars().take(48).collect();
        out.push(format!("  layer {}  {size:>8}  {made}", layer.diff_id.short()).trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_what_was_used() {
        let usage = Usage {
            user: Some(Duration::from_millis(800)),
            system: Some(Duration::from_millis(100)),
            peak_memory: Some(34_000_000),
            ..Usage::default()
        };
        let second = Duration::from_millis(1230);
        assert_eq!(
            ending(Outcome::Done, second, Some(&usage), Some(1_000_000)),
            "DONE 1.2s (cpu 0.9s, memory 34 MB, layer 1 MB)"
        );
        assert_eq!(ending(Outcome::Cached, second, None, Some(7)), "CACHED");
        assert_eq!(ending(Outcome::Done, second, None, Some(0)), "DONE 1.2s");
    }

    #[test]
    fn the_summary_fits_eighty_columns() {
        let digest = Digest::of(b"x");
        let summary = Summary {
            steps_cached: 1,
            steps_run: 2,
            duration: Duration::from_secs(3),
            times: ["cache export", "cache import", "download", "compress", "unpack", "run"]
                .map(|phase| SummaryTime { phase, time: Duration::from_millis(999) })
                .to_vec(),
            layers: vec![SummaryLayer {
                diff_id: digest,
                size: Some(5_000),
                created_by: "RUN a\n\tb".repeat(30),
            }],
            platforms: Vec::new(),
            image_id: digest,
            manifest_digest: Some(digest),
            names: vec!["docker.io/library/app:latest".into()],
        };
        let mut lines = summary_lines(&summary);
        assert_eq!(lines[0], "Built in 3.0s: 3 steps, 1 cached, 2 run");
        assert!(lines[1].contains("5 kB  RUN a b"), "{lines:?}");
        let times = "time     cache export 999ms, cache import 999ms, download 999ms, compress 999ms";
        assert_eq!(lines.remove(2), times);
        assert!(lines[2..4].iter().all(|l| l.contains(&digest.to_string())), "{lines:?}");
        assert!(lines.iter().all(|l| l.chars().count() <= 80), "{lines:?}");
    }
}
