//! The bare work of a case: what the machine needs for it without any builder.

use std::path::Path;
use std::process::Command;

use orlop_fixtures::tool::tool;

use crate::base::Base;
use crate::case::Case;
use crate::workload::{Sizes, Workload};

/// One floor: a script that is timed, after another that is not. Both run in a new directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) case: Case,
    pub(crate) name: &'static str,
    pub(crate) prepare: &'static str,
    pub(crate) script: &'static str,
}

const fn floor(case: Case, name: &'static str, script: &'static str) -> Floor {
    Floor { case, name, prepare: "", script }
}

/// All floors of a workload.
pub(crate) fn of(workload: Workload) -> Vec<Floor> {
    let skopeo = floor(
        Case::Pull,
        "skopeo without unpack",
        "exec skopeo --insecure-policy copy --quiet --src-tls-verify=false docker://$IMAGE oci:layout:latest",
    );
    match workload {
        Workload::Steps => vec![floor(
            Case::Cold,
            "mounts",
            "set -e; n=0; while [ $n != $STEPS ]; do mkdir -p $n/upper $n/work $n/root
             mount -t overlay overlay -o lowerdir=$BASE,upperdir=$n/upper,workdir=$n/work $n/root
             chroot $n/root /bin/sh -c \"echo $n > /step-$n\"; umount $n/root; n=$((n + 1)); done",
        )],
        Workload::Stages => vec![floor(Case::Cold, "sleep", "sleep 3 & sleep 3 & sleep 3 & wait")],
        Workload::Debs => vec![Floor {
            case: Case::Cold,
            name: "dpkg",
            prepare: "set -e; cp -a $BASE root; cp -a $CONTEXT/debs root/debs",
            script: "DEBIAN_FRONTEND=noninteractive exec chroot root sh -c 'exec dpkg -i /debs/*.deb'",
        }],
        Workload::Ignored => Vec::new(),
        Workload::Blob => vec![
            floor(
                Case::Cold,
                "cp and sha256sum, twice",
                "set -e; for n in 1 2; do cp $CONTEXT/blob $n; sha256sum $n; done",
            ),
            skopeo,
        ],
        Workload::Layers => vec![skopeo],
        Workload::Tree | Workload::Own => vec![
            floor(Case::Cold, "cp -a", "exec cp -a $CONTEXT/tree tree"),
            floor(Case::Cold, "tar and sha256sum", "tar -C $CONTEXT --sort=name -cf - tree | sha256sum"),
            floor(Case::Same, "stat of all", "exec find $CONTEXT/tree -printf '%s %T@ %C@ %i\\n'"),
            floor(
                Case::Touched,
                "read of all",
                "find $CONTEXT/tree -type f -print0 | xargs -0 cat > /dev/null",
            ),
            skopeo,
        ],
    }
}

impl Floor {
    /// A script as a command in `dir`.
    pub(crate) fn command(
        script: &str,
        dir: &Path,
        context: &Path,
        base: &Base,
        sizes: Sizes,
        image: Option<&str>,
    ) -> Command {
        let mut command = tool("sh");
        command.arg("-c").arg(script).current_dir(dir).env("HOME", dir).env("LC_ALL", "C");
        command.env("CONTEXT", context).env("BASE", &base.root).env("STEPS", sizes.steps.to_string());
        command.env("IMAGE", image.unwrap_or_default());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_names_a_floor_that_is_measured() {
        for workload in Workload::ALL {
            let floors = of(workload);
            for case in workload.cases() {
                if let Some((name, _)) = workload.goal(*case).floor {
                    assert!(
                        floors.iter().any(|f| f.case == *case && f.name == name),
                        "{} {case}",
                        workload.name()
                    );
                }
            }
            assert!(floors.iter().all(|f| workload.cases().contains(&f.case)), "{}", workload.name());
        }
    }
}
