//! What was measured.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::case::Case;
use crate::disk::Usage;
use crate::measure::Figures;
use crate::workload::{Sizes, Workload};

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) workload: Workload,
    pub(crate) case: Case,
    pub(crate) builder: &'static str,
    pub(crate) round: usize,
    pub(crate) figures: Figures,
    /// Of the store, afterwards.
    pub(crate) disk: Usage,
    /// What a new file cost just before, in times of what it costs on a rested disk, where that was much.
    pub(crate) slow: Option<f64>,
}

/// The bare work, in the same run.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    pub(crate) workload: Workload,
    pub(crate) case: Case,
    pub(crate) name: &'static str,
    pub(crate) round: usize,
    pub(crate) figures: Figures,
}

/// A builder as tables show it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) version: String,
}

/// All of one run.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) sizes: Sizes,
    /// CPU, and memory with the page cache, are of a control group.
    pub(crate) group: bool,
    /// orlop first.
    pub(crate) columns: Vec<Column>,
    pub(crate) records: Vec<Record>,
    pub(crate) floors: Vec<Bare>,
    /// What went wrong or was left out, to be said loudly.
    pub(crate) notes: Vec<String>,
}

/// The middle of some values.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

impl Results {
    /// What was measured, in the table's order.
    pub(crate) fn rows(&self) -> Vec<(Workload, Case)> {
        let mut rows: Vec<_> = self.records.iter().map(|r| (r.workload, r.case)).collect();
        rows.sort();
        rows.dedup();
        rows
    }

    fn of(&self, row: (Workload, Case), builder: &str, value: impl Fn(&Record) -> f64) -> Option<f64> {
        let matching = self.records.iter().filter(|r| (r.workload, r.case) == row && r.builder == builder);
        median(matching.map(value).collect())
    }

    /// Seconds.
    pub(crate) fn wall(&self, row: (Workload, Case), builder: &str) -> Option<f64> {
        self.of(row, builder, |r| r.figures.wall)
    }

    /// Seconds.
    pub(crate) fn cpu(&self, row: (Workload, Case), builder: &str) -> Option<f64> {
        self.of(row, builder, |r| r.figures.cpu)
    }

    /// Bytes, without the page cache: the most of all rounds, because a look from outside can only miss some.
    pub(crate) fn memory(&self, row: (Workload, Case), builder: &str) -> Option<f64> {
        let matching = self.records.iter().filter(|r| (r.workload, r.case) == row && r.builder == builder);
        matching.map(|r| r.figures.memory as f64).max_by(f64::total_cmp)
    }

    /// Bytes, with the page cache.
    pub(crate) fn with_cache(&self, row: (Workload, Case), builder: &str) -> Option<f64> {
        self.of(row, builder, |r| r.figures.with_cache.unwrap_or(0) as f64).filter(|bytes| *bytes > 0.0)
    }

    /// Bytes of the store.
    pub(crate) fn disk(&self, row: (Workload, Case), builder: &str) -> Option<f64> {
        self.of(row, builder, |r| r.disk.bytes as f64)
    }

    /// The time of the fastest builder that is not orlop.
    pub(crate) fn best_peer(&self, row: (Workload, Case)) -> Option<f64> {
        let peers = self.columns.iter().filter(|c| c.name != "orlop");
        peers.filter_map(|c| self.wall(row, c.name)).min_by(f64::total_cmp)
    }

    /// The floors of a row with their medians in seconds, in the order in which they were measured.
    pub(crate) fn floors(&self, row: (Workload, Case)) -> Vec<(&'static str, f64)> {
        let mut names: Vec<&'static str> = Vec::new();
        for floor in self.floors.iter().filter(|f| (f.workload, f.case) == row) {
            if !names.contains(&floor.name) {
                names.push(floor.name);
            }
        }
        let of = |name: &'static str| {
            let matching = self.floors.iter().filter(|f| (f.workload, f.case) == row && f.name == name);
            Some((name, median(matching.map(|f| f.figures.wall).collect())?))
        };
        names.into_iter().filter_map(of).collect()
    }

    /// What the steps themselves, or whatever else is bare work, had of memory: bytes.
    pub(crate) fn bare_memory(&self, row: (Workload, Case)) -> Option<f64> {
        let matching = self.floors.iter().filter(|f| (f.workload, f.case) == row);
        matching.map(|f| f.figures.memory as f64).max_by(f64::total_cmp)
    }

    /// Whether orlop reaches its goal; nothing where something for it was not measured.
    pub(crate) fn reached(&self, row: (Workload, Case)) -> Option<bool> {
        let floors = self.floors(row);
        let floor = |name: &str| floors.iter().find(|(n, _)| *n == name).map(|(_, seconds)| *seconds);
        row.0.goal(row.1).reached(self.wall(row, "orlop")?, self.best_peer(row), floor)
    }

    /// Everything, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "machine": self.machine, "date": self.date, "quick": self.quick, "rounds": self.rounds,
            "control_group": self.group,
            "builders": self.columns.iter()
                .map(|c| json!({"name": c.name, "version": c.version})).collect::<Vec<_>>(),
            "records": self.records.iter().map(|r| json!({
                "workload": r.workload.name(), "about": r.workload.about(self.sizes), "case": r.case.name(),
                "builder": r.builder, "round": r.round, "wall_s": r.figures.wall, "cpu_s": r.figures.cpu,
                "memory_bytes": r.figures.memory, "memory_with_page_cache_bytes": r.figures.with_cache,
                "store_bytes": r.disk.bytes, "store_inodes": r.disk.inodes, "disk_slower_by": r.slow,
            })).collect::<Vec<_>>(),
            "floors": self.floors.iter().map(|f| json!({
                "workload": f.workload.name(), "case": f.case.name(), "name": f.name, "round": f.round,
                "wall_s": f.figures.wall, "cpu_s": f.figures.cpu, "memory_bytes": f.figures.memory,
            })).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// Writes that.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, format!("{:#}\n", self.json()))
            .map_err(|e| io::Error::new(e.kind(), format!("cannot write `{}`: {e}", path.display())))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two builders, two rounds of one case.
    pub(crate) fn sample() -> Results {
        let record = |builder, round, wall| Record {
            workload: Workload::Tree,
            case: Case::Cold,
            builder,
            round,
            figures: Figures { wall, cpu: wall / 2.0, memory: 20 << 20, with_cache: Some(300 << 20) },
            disk: Usage { bytes: 5 << 20, inodes: 7 },
            slow: None,
        };
        let column = |name, title| Column { name, title, version: format!("{name} 1.0") };
        let floor = |round, wall| Bare {
            workload: Workload::Tree,
            case: Case::Cold,
            name: "cp -a",
            round,
            figures: Figures { wall, cpu: wall, memory: 3 << 20, with_cache: None },
        };
        Results {
            machine: "Linux 6.18, 2 × CPU".to_owned(),
            date: "2026-01-01".to_owned(),
            quick: false,
            rounds: 2,
            sizes: Sizes::new(false),
            group: true,
            columns: vec![column("orlop", "orlop"), column("buildah", "buildah")],
            records: vec![
                record("orlop", 1, 1.0),
                record("buildah", 1, 20.0),
                record("orlop", 2, 2.0),
                record("buildah", 2, 40.0),
            ],
            floors: vec![floor(1, 3.0), floor(2, 5.0)],
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn medians_are_of_one_row_and_builder() {
        let row = (Workload::Tree, Case::Cold);
        let results = sample();
        assert_eq!(results.rows(), [row]);
        assert_eq!(results.wall(row, "orlop"), Some(1.5));
        assert_eq!(results.best_peer(row), Some(30.0));
        assert_eq!(results.floors(row), [("cp -a", 4.0)]);
        assert_eq!(results.reached(row), Some(true));
        assert_eq!(results.wall((Workload::Tree, Case::Pull), "orlop"), None);
    }
}
