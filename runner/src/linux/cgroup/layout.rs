//! Where this host keeps control groups, and which of them is ours.

use std::fs;
use std::path::{Path, PathBuf};

/// What a job sees at `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) enum View {
    None,
    V2,
    V1(Vec<Hierarchy>),
}

/// One version 1 hierarchy, to be mounted once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) struct Hierarchy {
    /// `memory`, `cpu,cpuacct`, `systemd`.
    pub(in crate::linux) directory: String,
    /// Mount options that name it.
    pub(in crate::linux) options: Vec<(String, Option<String>)>,
}

/// The mounts, and this process's place in each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::linux) struct Layout {
    v2: Option<Mounted>,
    v1: Vec<(Vec<String>, Mounted)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    point: PathBuf,
    /// Our own group's directory below `point`; `None` when we are outside of what is mounted.
    own: Option<PathBuf>,
}

impl Layout {
    /// Reads it. Nothing found is an empty layout.
    pub(in crate::linux) fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"))
    }

    /// From the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub(super) fn parse(mountinfo: &str, cgroup: &str) -> Self {
        let own = |wanted: &str| {
            cgroup.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                let first = controllers.split(',').next()?;
                (first == wanted || controllers == wanted).then(|| PathBuf::from(path))
            })
        };
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, fs)) = line.split_once(" - ") else { continue };
            let mut mount = mount.split(' ').skip(3);
            let (Some(root), Some(point)) = (mount.next(), mount.next()) else { continue };
            let mut fs = fs.split(' ');
            let (Some(kind), Some(options)) = (fs.next(), fs.nth(1)) else { continue };
            let point = PathBuf::from(unescape(point));
            let mounted = |own: Option<PathBuf>| {
                let own =
                    own.and_then(|own| own.strip_prefix(unescape(root)).map(|below| point.join(below)).ok());
                Mounted { point: point.clone(), own }
            };
            match kind {
                "cgroup2" if layout.v2.is_none() => layout.v2 = Some(mounted(own(""))),
                "cgroup" => {
                    let known = |option: &&str| {
                        !matches!(*option, "rw" | "ro" | "xattr" | "none" | "noprefix" | "clone_children")
                            && !option.starts_with("release_agent=")
                            && !option.starts_with("cpuset_v2")
                    };
                    let controllers: Vec<String> =
                        options.split(',').filter(known).map(str::to_owned).collect();
                    let Some(first) = controllers.first() else { continue };
                    if layout.v1.iter().all(|(known, _)| known != &controllers) {
                        let mounted = mounted(own(first));
                        layout.v1.push((controllers, mounted));
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// Whether version 2 is what limits are set with. A host may mount it without the controllers that matter,
    /// beside version 1.
    pub(super) fn has_v2_controllers(&self) -> bool {
        let Some(mounted) = &self.v2 else { return false };
        let listed = fs::read_to_string(mounted.point.join("cgroup.controllers")).unwrap_or_default();
        let useful = |name: &str| super::CONTROLLERS.contains(&name) || name == "io";
        self.v1.iter().all(|(names, _)| !names.iter().any(|name| useful(name)))
            || listed.split_whitespace().any(useful)
    }

    /// Our own directory of a version 1 controller, and all controllers of its hierarchy.
    pub(super) fn v1_directory(&self, controller: &str) -> Option<(PathBuf, Vec<String>)> {
        let (controllers, mounted) =
            self.v1.iter().find(|(controllers, _)| controllers.iter().any(|name| name == controller))?;
        Some((mounted.own.clone()?, controllers.clone()))
    }

    /// Groups that a version 2 group may be made in, the best first. Ours has processes, and such a group may not
    /// hand controllers to children; its parent may, and so may the root of all.
    pub(super) fn v2_parents(&self) -> Vec<PathBuf> {
        let Some(Mounted { point, own: Some(own) }) = &self.v2 else { return Vec::new() };
        let mut parents: Vec<PathBuf> =
            own.ancestors().skip(1).take_while(|path| path.starts_with(point)).map(Path::to_owned).collect();
        if own == point {
            parents.push(point.clone());
        }
        parents
    }

    /// The mount points of all hierarchies that a job's group may be in.
    pub(super) fn roots(&self) -> Vec<PathBuf> {
        let v1 = self
            .v1
            .iter()
            .filter(|(names, _)| names.iter().any(|n| super::CONTROLLERS.contains(&n.as_str())));
        self.v2.iter().chain(v1.map(|(_, mounted)| mounted)).map(|mounted| mounted.point.clone()).collect()
    }

    /// What a job is shown.
    pub(in crate::linux) fn view(&self) -> View {
        if self.v1.is_empty() {
            return if self.v2.is_some() { View::V2 } else { View::None };
        }
        let hierarchy = |(controllers, _): &(Vec<String>, Mounted)| {
            let names: Vec<&str> =
                controllers.iter().map(|name| name.strip_prefix("name=").unwrap_or(name)).collect();
            let option = |name: &String| match name.strip_prefix("name=") {
                Some(value) => vec![("none".to_owned(), None), ("name".to_owned(), Some(value.to_owned()))],
                None => vec![(name.clone(), None)],
            };
            Hierarchy { directory: names.join(","), options: controllers.iter().flat_map(option).collect() }
        };
        View::V1(self.v1.iter().map(hierarchy).collect())
    }
}

/// Hands the controllers that jobs need on to `parent`'s children, those that it has itself.
pub(super) fn enable_controllers(parent: &Path) -> Result<(), String> {
    let read = |file| fs::read_to_string(parent.join(file)).unwrap_or_default();
    let (available, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
    let wanted = ["memory", "pids", "cpu", "io"];
    if !wanted.iter().any(|name| has(&available, name)) {
        return Err(format!("`{}` has no controllers", parent.display()));
    }
    for name in wanted.iter().filter(|name| has(&available, name) && !has(&enabled, name)) {
        let path = parent.join("cgroup.subtree_control");
        fs::write(&path, format!("+{name}"))
            .map_err(|error| format!("cannot enable `{name}` in `{}`: {error}", path.display()))?;
    }
    Ok(())
}

/// Undoes mountinfo's octal escapes.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}
