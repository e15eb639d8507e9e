//! Growth: for each axis a panel of wall time, of CPU and of memory, both scales logarithmic.

use std::fmt::Write;

use super::bars::{STYLE, text};
use crate::growth::{Axis, Curve, Report, Values};

const PANEL: (f64, f64) = (230.0, 130.0);
const GAP: (f64, f64) = (60.0, 62.0);
const HEAD: f64 = 64.0;
const MIB: f64 = (1u64 << 20) as f64;

type Value = fn(&Values) -> f64;

/// What the three panels of a row show; the unit is in the title.
const PANELS: [(&str, Value); 3] =
    [("wall, s", |v| v.wall), ("CPU, s", |v| v.cpu), ("memory, MiB", |v| v.memory / MIB)];

/// The picture.
pub(crate) fn plots(report: &Report) -> String {
    let axes: Vec<_> = Axis::ALL.into_iter().filter(|a| report.curves.iter().any(|c| c.axis == *a)).collect();
    let width = 3.0 * (PANEL.0 + GAP.0) + 20.0;
    let height = HEAD + axes.len() as f64 * (PANEL.1 + GAP.1) + 24.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" \
         aria-label=\"how cost grows with size\">\n"
    );
    out.push_str(STYLE);
    let title = "How cost grows: both scales logarithmic; a line as steep as the dashed one is linear, a flat one constant";
    text(&mut out, 10.0, 20.0, "start", "", title);
    for (row, axis) in axes.iter().enumerate() {
        let top = HEAD + row as f64 * (PANEL.1 + GAP.1);
        let curves: Vec<_> = report.curves.iter().filter(|c| c.axis == *axis).collect();
        let mut at = GAP.0 - 10.0;
        for (n, curve) in curves.iter().enumerate() {
            let _ = writeln!(
                out,
                "<rect class=\"c{n}\" x=\"{at:.0}\" y=\"{:.0}\" width=\"9\" height=\"9\"/>",
                top - 25.0
            );
            text(&mut out, at + 13.0, top - 16.0, "start", "small", curve.case);
            at += 32.0 + 6.0 * curve.case.len() as f64;
        }
        for (column, (name, value)) in PANELS.iter().enumerate() {
            let left = GAP.0 - 10.0 + column as f64 * (PANEL.0 + GAP.0);
            panel(&mut out, (left, top), &curves, *value);
            text(&mut out, left, top - 4.0, "start", "small", name);
            text(&mut out, left + PANEL.0, top + PANEL.1 + 26.0, "end", "small", axis.title());
        }
    }
    let line = format!(
        "{}, {}, {}, medians of {} rounds",
        report.date, report.version, report.machine, report.rounds
    );
    text(&mut out, 10.0, height - 8.0, "start", "small", &line);
    out.push_str("</svg>\n");
    out
}

/// Whole decades around some values; a value of nothing counts as a thousandth.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .map(|v| v.max(1e-3).log10())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let (low, high) = (low.floor(), high.ceil());
    if low < high { (low, high) } else { (low, low + 1.0) }
}

fn panel(out: &mut String, (left, top): (f64, f64), curves: &[&Curve], value: Value) {
    let all = || curves.iter().flat_map(|c| c.values.iter());
    let (x0, x1) = decades(all().map(|v| v.size));
    let (y0, y1) = decades(all().map(value));
    let x = |size: f64| left + (size.log10() - x0) / (x1 - x0) * PANEL.0;
    let y = |v: f64| top + PANEL.1 - (v.max(1e-3).log10() - y0) / (y1 - y0) * PANEL.1;
    let (right, bottom) = (left + PANEL.0, top + PANEL.1);
    let mut decade = x0;
    while decade <= x1 {
        let at = x(10f64.powf(decade));
        let _ = writeln!(
            out,
            "<line class=\"line\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
        );
        text(out, at, bottom + 13.0, "middle", "small", &format!("{}", 10f64.powf(decade)));
        decade += 1.0;
    }
    let mut decade = y0;
    while decade <= y1 {
        let at = y(10f64.powf(decade));
        let _ = writeln!(
            out,
            "<line class=\"line\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        );
        text(out, left - 4.0, at + 4.0, "end", "small", &format!("{}", 10f64.powf(decade)));
        decade += 1.0;
    }
    // Linear growth from the lower left corner, as far as the panel goes.
    let reach = (x1 - x0).min(y1 - y0);
    let (to_x, to_y) = (x(10f64.powf(x0 + reach)), y(10f64.powf(y0 + reach)));
    let _ = writeln!(
        out,
        "<line class=\"one\" stroke-dasharray=\"3 4\" x1=\"{left:.1}\" y1=\"{bottom:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>"
    );
    for (n, curve) in curves.iter().enumerate() {
        let points: Vec<_> = curve.values.iter().map(|v| (x(v.size), y(value(v)))).collect();
        let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(out, "<polyline class=\"s{n}\" points=\"{}\"/>", line.join(" "));
        for (x, y) in points {
            let _ = writeln!(out, "<circle class=\"c{n}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::tests::sample;

    #[test]
    fn decades_hold_all_values() {
        assert_eq!(decades([0.5, 20.0].into_iter()), (-1.0, 2.0));
        assert_eq!(decades([10.0].into_iter()), (1.0, 2.0));
        assert_eq!(decades([0.0].into_iter()), (-3.0, -2.0));
    }

    #[test]
    fn a_linear_curve_is_as_steep_as_the_dashed_line() {
        let svg = plots(&sample());
        // 1 s at 100 and 10 s at 1000, in a panel of one decade across and two up (0.1 to 10).
        assert!(svg.contains("<polyline class=\"s0\" points=\"50.0,129.0 280.0,64.0\"/>"), "{svg}");
        assert!(svg.contains("<polyline class=\"s1\" points=\"50.0,194.0 280.0,194.0\"/>"), "{svg}");
        assert!(svg.contains("files of a COPY") && svg.contains("memory, MiB"));
    }
}
