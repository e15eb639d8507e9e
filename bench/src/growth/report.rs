//! What came out, as a table.

use std::fmt::Write;

use super::Axis;
use crate::table::short;

const MIB: f64 = (1u64 << 20) as f64;

/// Medians of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Values {
    pub(crate) size: f64,
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) disk: f64,
}

/// One axis and case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    pub(crate) axis: Axis,
    pub(crate) case: &'static str,
    /// By size.
    pub(crate) values: Vec<Values>,
}

impl Curve {
    /// The exponent with which a value grows between the last two sizes: 1 is linear, 0 constant.
    pub(crate) fn exponent(&self, of: impl Fn(&Values) -> f64) -> Option<f64> {
        let [.., before, last] = self.values.as_slice() else { return None };
        let (from, to) = (of(before).max(1e-4), of(last).max(1e-4));
        Some((to / from).ln() / (last.size / before.size).ln())
    }
}

/// All of one run.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) version: String,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) curves: Vec<Curve>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// As Markdown: a row for each size, and the exponents below.
    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("{}, {}\n- {}\n\n", self.date, self.machine, self.version);
        for note in &self.notes {
            let _ = writeln!(out, "**{note}**\n");
        }
        if self.quick {
            out.push_str("**--quick: small sizes only.**\n\n");
        }
        let _ = writeln!(
            out,
            "Medians of {} rounds. Each cell: wall time in seconds / CPU in seconds / anonymous memory in MiB. \
             The last row of an axis has the exponents between its last two sizes: 1 is linear, 0 constant.\n",
            self.rounds
        );
        for axis in Axis::ALL {
            let curves: Vec<_> = self.curves.iter().filter(|c| c.axis == axis).collect();
            let Some(first) = curves.first() else { continue };
            let _ = write!(out, "| {} |", axis.title());
            for curve in &curves {
                let _ = write!(out, " {} |", curve.case);
            }
            let _ = writeln!(out, " store, MiB |\n|--:|{}", "--:|".repeat(curves.len() + 1));
            for values in &first.values {
                let _ = write!(out, "| {} |", values.size);
                let mut disk = 0.0;
                for curve in &curves {
                    let cell = curve.values.iter().find(|v| v.size == values.size);
                    disk = cell.map_or(disk, |v| v.disk);
                    let _ = match cell {
                        Some(v) => {
                            write!(out, " {} / {} / {} |", short(v.wall), short(v.cpu), short(v.memory / MIB))
                        }
                        None => write!(out, " – |"),
                    };
                }
                let _ = writeln!(out, " {} |", short(disk / MIB));
            }
            out.push_str("| exponent |");
            for curve in &curves {
                let exponents =
                    [curve.exponent(|v| v.wall), curve.exponent(|v| v.cpu), curve.exponent(|v| v.memory)];
                let shown = exponents.map(|e| e.map_or("–".to_owned(), |e| format!("{e:.2}")));
                let _ = write!(out, " {} |", shown.join(" / "));
            }
            out.push_str(" |\n\n");
        }
        out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Report {
        let values = |size, wall, memory| Values { size, wall, cpu: wall, memory, disk: size * MIB };
        let curve = |case, values| Curve { axis: Axis::Files, case, values };
        Report {
            machine: "Linux".to_owned(),
            date: "2026-01-01".to_owned(),
            version: "orlop 1.0".to_owned(),
            quick: false,
            rounds: 1,
            curves: vec![
                curve("cold", vec![values(100.0, 1.0, 8.0 * MIB), values(1000.0, 10.0, 8.0 * MIB)]),
                curve("nothing changed", vec![values(100.0, 0.1, 8.0 * MIB), values(1000.0, 0.1, 8.0 * MIB)]),
            ],
            notes: Vec::new(),
        }
    }

    #[test]
    fn linear_is_one_and_constant_nothing() {
        let report = sample();
        assert!((report.curves[0].exponent(|v| v.wall).unwrap() - 1.0).abs() < 1e-9);
        assert!(report.curves[1].exponent(|v| v.wall).unwrap().abs() < 1e-9);
        let one = Curve { values: report.curves[0].values[..1].to_vec(), ..report.curves[0].clone() };
        assert_eq!(one.exponent(|v| v.wall), None);
    }

    #[test]
    fn a_table_has_sizes_and_exponents() {
        let text = sample().markdown();
        assert!(text.contains("| 1000 | 10.0 / 10.0 / 8.00 | 0.10 / 0.10 / 8.00 | 1000 |"), "{text}");
        assert!(text.contains("| exponent | 1.00 / 1.00 / 0.00 | 0.00 / 0.00 / 0.00 | |"), "{text}");
    }
}
