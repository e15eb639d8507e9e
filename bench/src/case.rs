//! What is measured of a workload, and how good it has to be.

use std::fmt;

/// What happens to a store and to the context before the clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// A build in a store that has the base image and nothing else.
    Cold,
    /// The same build again.
    Same,
    /// Again, when every file has a new time and none another content.
    Touched,
    /// Again, when one file has another content.
    Changed,
    /// A build as in `Cold` whose image goes to a registry that has nothing.
    Push,
    /// The workload's image from a registry into an empty store.
    Pull,
    /// That, and a build of `FROM` it with one RUN: whatever a pull may have put off is in here.
    PullRun,
}

impl Case {
    pub(crate) const ALL: [Self; 7] =
        [Self::Cold, Self::Same, Self::Touched, Self::Changed, Self::Push, Self::Pull, Self::PullRun];

    /// What it is called on the command line and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Same => "same",
            Self::Touched => "touched",
            Self::Changed => "changed",
            Self::Push => "push",
            Self::Pull => "pull",
            Self::PullRun => "pull-run",
        }
    }

    /// The case of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|c| c.name() == name).ok_or(format!("no case `{name}`, only {all}"))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Same => "nothing changed",
            Self::Touched => "all touched, none changed",
            Self::Changed => "one file changed",
            Self::Push => "cold and push together",
            Self::Pull => "pull",
            Self::PullRun => "pull, and a RUN on it",
        })
    }
}

/// How good orlop has to be in one case, as a ratio within one run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Goal {
    /// At most this part of the best peer's time.
    pub(crate) peer: Option<f64>,
    /// At most this part of that floor's time.
    pub(crate) floor: Option<(&'static str, f64)>,
}

impl Goal {
    /// A part of the best peer's time.
    pub(crate) const fn peer(part: f64) -> Self {
        Self { peer: Some(part), floor: None }
    }

    /// A part of a floor's time.
    pub(crate) const fn floor(name: &'static str, part: f64) -> Self {
        Self { peer: None, floor: Some((name, part)) }
    }

    /// And a part of a floor's time.
    pub(crate) const fn and_floor(mut self, name: &'static str, part: f64) -> Self {
        self.floor = Some((name, part));
        self
    }

    /// Whether these times reach it; nothing where what it is compared with was not measured.
    pub(crate) fn reached(
        self,
        ours: f64,
        peer: Option<f64>,
        floor: impl Fn(&str) -> Option<f64>,
    ) -> Option<bool> {
        let of_peer = match self.peer {
            Some(part) => Some(ours <= part * peer?),
            None => None,
        };
        let of_floor = match self.floor {
            Some((name, part)) => Some(ours <= part * floor(name)?),
            None => None,
        };
        match (of_peer, of_floor) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(true) && b.unwrap_or(true)),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(part) = self.peer {
            write!(f, "{part} of the best peer")?;
        }
        if let Some((name, part)) = self.floor {
            let and = if self.peer.is_some() { ", " } else { "" };
            write!(f, "{and}{part} of {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_names_of_their_own() {
        for case in Case::ALL {
            assert_eq!(Case::named(case.name()), Ok(case));
        }
        assert!(Case::named("hot").is_err());
    }

    #[test]
    fn a_goal_is_reached_when_each_part_of_it_is() {
        let goal = Goal::peer(0.2).and_floor("cp -a", 1.0);
        let floor = |seconds: f64| move |name: &str| (name == "cp -a").then_some(seconds);
        assert_eq!(goal.reached(1.0, Some(10.0), floor(2.0)), Some(true));
        assert_eq!(goal.reached(3.0, Some(10.0), floor(9.0)), Some(false));
        assert_eq!(goal.reached(1.0, Some(10.0), floor(0.5)), Some(false));
        assert_eq!(goal.reached(1.0, None, floor(2.0)), None);
        assert_eq!(Goal::default().reached(1.0, Some(1.0), floor(1.0)), None);
    }
}
