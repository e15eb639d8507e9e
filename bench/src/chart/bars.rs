//! Bars: every builder's time as a ratio to the best peer's, on a logarithmic scale.

use std::fmt::Write;

use crate::results::Results;
use crate::table::short;

const LEFT: f64 = 300.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 15.0;
const HEAD: f64 = 70.0;

/// Colours that can be read on white and on near black.
pub(super) const STYLE: &str = "<style>\
    text{font:12px system-ui,sans-serif;fill:#24292f}.small{font-size:10.5px;fill:#57606a}\
    .line{stroke:#d0d7de}.one{stroke:#57606a}.goal{stroke:#cf222e;stroke-width:2}\
    polyline{fill:none;stroke-width:2}.s0{stroke:#1a7f37}.s1{stroke:#8250df}.s2{stroke:#0969da}\
    .c0{fill:#1a7f37}.c1{fill:#8250df}.c2{fill:#0969da}.c3{fill:#bc4c00}\
    @media (prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.line{stroke:#30363d}\
    .one{stroke:#9198a1}.goal{stroke:#ff7b72}\
    .s0{stroke:#3fb950}.s1{stroke:#a371f7}.s2{stroke:#4493f8}\
    .c0{fill:#3fb950}.c1{fill:#a371f7}.c2{fill:#4493f8}.c3{fill:#db6d28}}\
    </style>\n";

/// The picture. A row has bars from the best peer's time: to the left is faster, to the right slower.
pub(crate) fn bars(results: &Results) -> String {
    let rows: Vec<_> = results.rows().into_iter().filter(|row| results.best_peer(*row).is_some()).collect();
    let ratio = |row, name| Some(results.wall(row, name)? / results.best_peer(row)?);
    let all = rows.iter().flat_map(|row| results.columns.iter().filter_map(move |c| ratio(*row, c.name)));
    let (low, high) = all.fold((0.1_f64, 10.0_f64), |(low, high), r| (low.min(r), high.max(r)));
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let x = |ratio: f64| LEFT + (ratio.log10().clamp(low, high) - low) / (high - low) * WIDTH;
    let thickness = (results.columns.len() as f64 * ROW) + 12.0;
    let height = HEAD + rows.len() as f64 * thickness + 50.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {height:.0}\" width=\"{0}\" role=\"img\" \
         aria-label=\"times as ratios to the best peer\">\n",
        LEFT + WIDTH + 60.0
    );
    out.push_str(STYLE);
    text(
        &mut out,
        10.0,
        20.0,
        "start",
        "",
        "Wall time as a ratio to the best peer; shorter than 1 is faster (logarithmic)",
    );
    let mut at = 10.0;
    for (n, column) in results.columns.iter().enumerate() {
        let _ = writeln!(out, "<rect class=\"c{n}\" x=\"{at:.0}\" y=\"32\" width=\"10\" height=\"10\"/>");
        // orlop and buildah name themselves in their versions.
        let name = match column.version.starts_with(column.title) {
            true => column.version.clone(),
            false => format!("{} ({})", column.title, column.version),
        };
        text(&mut out, at + 14.0, 41.0, "start", "small", &name);
        at += 34.0 + 6.0 * name.len() as f64;
    }
    let bottom = height - 42.0;
    let mut decade = low;
    while decade <= high {
        let (at, class) = (x(10f64.powf(decade)), if decade == 0.0 { "one" } else { "line" });
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{HEAD}\" y2=\"{bottom:.0}\"/>"
        );
        text(&mut out, at, HEAD - 6.0, "middle", "small", &format!("{}", 10f64.powf(decade)));
        decade += 1.0;
    }
    for (n, row) in rows.iter().enumerate() {
        let top = HEAD + n as f64 * thickness + 6.0;
        let middle = top + (thickness - 12.0) / 2.0 + 4.0;
        text(&mut out, LEFT - 12.0, middle, "end", "", &format!("{}: {}", row.0.name(), row.1));
        for (n, column) in results.columns.iter().enumerate() {
            let Some(ratio) = ratio(*row, column.name) else { continue };
            let (from, to) = (x(1.0).min(x(ratio)), x(1.0).max(x(ratio)));
            let y = top + n as f64 * ROW;
            let width = (to - from).max(2.0);
            let _ = writeln!(
                out,
                "<rect class=\"c{n}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.0}\"/>",
                ROW - 3.0
            );
            let shown = short(ratio);
            match ratio < 1.0 {
                true => text(&mut out, from - 4.0, y + 10.0, "end", "small", &shown),
                false => text(&mut out, to + 4.0, y + 10.0, "start", "small", &shown),
            }
        }
        if let Some(part) = row.0.goal(row.1).peer {
            let (at, end) = (x(part), top + ROW - 2.0);
            let _ = writeln!(
                out,
                "<line class=\"goal\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{end:.1}\"><title>goal: {part}</title></line>",
                top - 2.0
            );
        }
    }
    let quick = if results.quick { ", --quick (smaller sizes)" } else { "" };
    let line = format!(
        "{}, {}, medians of {} rounds{quick}; red: orlop's goal",
        results.date, results.machine, results.rounds
    );
    text(&mut out, 10.0, height - 14.0, "start", "small", &line);
    out.push_str("</svg>\n");
    out
}

/// One line of text, with what XML minds escaped.
pub(super) fn text(out: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn every_bar_begins_at_the_best_peer() {
        let svg = bars(&sample());
        // The scale goes from 0.01 to 10: 1 is two thirds to the right, orlop's 0.05 at 0.233 of the width.
        assert!(
            svg.contains("<rect class=\"c0\" x=\"430.5\" y=\"76.0\" width=\"242.9\" height=\"12\"/>"),
            "{svg}"
        );
        assert!(
            svg.contains("<rect class=\"c1\" x=\"673.3\" y=\"91.0\" width=\"2.0\" height=\"12\"/>"),
            "{svg}"
        );
        assert!(
            svg.contains("tree: cold")
                && svg.contains(">0.050<")
                && svg.contains("prefers-color-scheme:dark")
        );
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn without_a_peer_there_is_no_bar() {
        let mut results = sample();
        results.records.retain(|r| r.builder == "orlop");
        assert!(!bars(&results).contains("tree: cold"));
    }

    #[test]
    fn what_xml_minds_is_escaped() {
        let mut out = String::new();
        text(&mut out, 0.0, 0.0, "start", "", "a<b & c");
        assert!(out.contains("a&lt;b &amp; c"));
    }
}
