//! The results as Markdown.

use std::fmt::Write;

use crate::case::Case;
use crate::results::Results;
use crate::workload::Workload;

/// What orlop may use of memory, whatever the size, in MiB.
const MEMORY_GOAL: f64 = 64.0;
const MIB: f64 = (1u64 << 20) as f64;

/// Both tables, with what they were taken on and what is to be known of them.
pub(crate) fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}, {}", results.date, results.machine);
    for column in &results.columns {
        let _ = writeln!(out, "- {}: {}", column.title, column.version);
    }
    let _ = writeln!(out);
    for note in &results.notes {
        let _ = writeln!(out, "**{note}**\n");
    }
    if results.quick {
        let _ =
            writeln!(out, "**--quick: smaller sizes than those of the goals, {} round.**\n", results.rounds);
    }
    let _ = writeln!(out, "Wall time in seconds, medians of {} rounds.\n", results.rounds);
    out.push_str(&times(results));
    let _ = writeln!(
        out,
        "\nOf everything together, daemon and children included: CPU in seconds / the most memory in MiB, {} / MiB \
         that the store has on the disk afterwards.\n",
        if results.group {
            "anonymous memory of all processes, sampled, and in brackets everything with the page cache, by control group"
        } else {
            "anonymous memory of all processes, sampled; there is no control group here that would count page cache"
        }
    );
    out.push_str(&costs(results));
    out
}

fn times(results: &Results) -> String {
    let peers: Vec<_> = results.columns.iter().filter(|c| c.name != "orlop").collect();
    let mut out = "| workload | case | orlop |".to_owned();
    for peer in &peers {
        let _ = write!(out, " {} |", peer.title);
    }
    out.push_str(" of the best peer | floor | goal | |\n|---|---|--:|");
    out.push_str(&"--:|".repeat(peers.len()));
    out.push_str("--:|---|---|---|\n");
    let mut above = None;
    for row in results.rows() {
        let (workload, case) = row;
        let _ = write!(
            out,
            "| {} | {case} | {} |",
            name(results, workload, &mut above),
            seconds(results.wall(row, "orlop"))
        );
        for peer in &peers {
            let _ = write!(out, " {} |", seconds(results.wall(row, peer.name)));
        }
        let ours = results.wall(row, "orlop");
        let ratio = ours.zip(results.best_peer(row)).map(|(a, b)| a / b);
        let _ = write!(out, " {} | {} |", ratio.map_or("–".to_owned(), short), floors(results, row));
        let reached = match results.reached(row) {
            Some(true) => "reached",
            Some(false) => "NOT REACHED",
            None => "not measured",
        };
        let _ = writeln!(out, " {} | {reached} |", workload.goal(case));
    }
    out
}

fn floors(results: &Results, row: (Workload, Case)) -> String {
    let ours = results.wall(row, "orlop");
    let one = |(name, floor): (&str, f64)| match ours {
        Some(ours) => format!("{name} {}: {} of it", seconds(Some(floor)), short(ours / floor)),
        None => format!("{name} {}", seconds(Some(floor))),
    };
    results.floors(row).into_iter().map(one).collect::<Vec<_>>().join("; ")
}

fn costs(results: &Results) -> String {
    let mut out = "| workload | case |".to_owned();
    for column in &results.columns {
        let _ = write!(out, " {} |", column.title);
    }
    out.push_str(" bare work: memory |\n|---|---|");
    out.push_str(&"--:|".repeat(results.columns.len() + 1));
    out.push('\n');
    let mut above = None;
    for row in results.rows() {
        let _ = write!(out, "| {} | {} |", name(results, row.0, &mut above), row.1);
        for column in &results.columns {
            let memory = results.memory(row, column.name).map(mib);
            let cache =
                results.with_cache(row, column.name).map_or_else(String::new, |b| format!(" ({})", mib(b)));
            let _ = match memory {
                Some(memory) => write!(
                    out,
                    " {} / {memory}{cache} / {} |",
                    seconds(results.cpu(row, column.name)),
                    results.disk(row, column.name).map_or("–".to_owned(), mib)
                ),
                None => write!(out, " – |"),
            };
        }
        let _ = writeln!(out, " {} |", results.bare_memory(row).map_or("–".to_owned(), mib));
    }
    out.push_str("| all | the most memory |");
    for column in &results.columns {
        let all = results.rows().into_iter().filter_map(|row| results.memory(row, column.name));
        let Some(most) = all.max_by(f64::total_cmp) else {
            out.push_str(" – |");
            continue;
        };
        let _ = write!(out, " {}{} |", mib(most), if column.name == "orlop" { verdict(results) } else { "" });
    }
    out.push_str(" |\n");
    out
}

/// Whether orlop's memory stays under the goal. What the step itself needs, dpkg for example, is not orlop's.
fn verdict(results: &Results) -> &'static str {
    let within = |row| {
        let bare = results.bare_memory(row).unwrap_or(0.0);
        results.memory(row, "orlop").is_none_or(|bytes| bytes - bare < MEMORY_GOAL * MIB)
    };
    match results.rows().into_iter().all(within) {
        true => ": under 64 beside the bare work is reached",
        false => ": under 64 beside the bare work is NOT REACHED",
    }
}

/// The workload, once above its cases.
fn name(results: &Results, workload: Workload, above: &mut Option<Workload>) -> String {
    if above.replace(workload) == Some(workload) {
        return String::new();
    }
    format!("`{}`: {}", workload.name(), workload.about(results.sizes))
}

fn seconds(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), short)
}

/// Two digits that count.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 9.95 => format!("{v:.1}"),
        v if v >= 0.0995 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

fn mib(bytes: f64) -> String {
    let mib = bytes / MIB;
    if mib >= 9.95 { format!("{mib:.0}") } else { format!("{mib:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn a_table_has_ratios_floor_and_verdict() {
        let text = markdown(&sample());
        let row = "| `tree`: COPY of 50000 files, RUN | cold | 1.50 | 30.0 | 0.050 | cp -a 4.00: 0.38 of it | 0.1 of the best \
                   peer, 1 of cp -a | reached |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| cold | 0.75 / 20 (300) / 5.0 | 15.0 / 20 (300) / 5.0 | 3.0 |"), "{text}");
        assert!(text.contains("20: under 64 beside the bare work is reached | 20 | |"), "{text}");
        assert!(!text.contains("--quick"), "{text}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut results = sample();
        results.records.retain(|r| r.builder == "orlop");
        results.quick = true;
        results.group = false;
        results.notes.push("`debs` is SKIPPED".to_owned());
        let text = markdown(&results);
        assert!(
            text.contains("not measured") && text.contains("SKIPPED") && text.contains("smaller sizes"),
            "{text}"
        );
        assert!(text.contains("no control group"), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [123.4, 12.34, 1.234, 0.1234, 0.01234].map(short);
        assert_eq!(shown, ["123", "12.3", "1.23", "0.12", "0.012"]);
    }
}
