//! What is taken from the caller's token for a job, and what reads back of it.

use super::calls::{System, TokenFacts, TokenPlan};
use crate::Confinement;
use crate::windows::security::{LOW_INTEGRITY, Sid};

/// The one privilege that stays: without it every path is checked directory by directory.
const TRAVERSE: &str = "SeChangeNotifyPrivilege";

/// Groups that say how somebody came in and give no power. Every other group may only deny.
fn harmless(sid: &Sid) -> bool {
    let known = matches!(
        (sid.authority(), sid.parts()),
        // Everyone, local and console logon.
        (1, [0]) | (2, [0 | 1])
        // Network, batch, interactive, service, authenticated, this organisation, local account.
        | (5, [2 | 3 | 4 | 6 | 11 | 15 | 113])
        // Users, and how the logon was authenticated.
        | (5, [32, 545] | [64, ..])
    );
    // Integrity labels are listed among the groups and are none.
    known || sid.is_logon() || sid.authority() == 16
}

/// The token of a job. `step` is its own SID for the second access check; none for an AppContainer, which has its
/// own second check.
pub(in crate::windows) fn token(own: &TokenFacts, step: Option<&Sid>, default_admits: Vec<Sid>) -> TokenPlan {
    let deny_only = own.groups.iter().filter(|group| !harmless(&group.sid)).map(|group| group.sid.clone());
    let delete = own.privileges.iter().filter(|privilege| privilege.name != TRAVERSE).cloned();
    let mut restricting = Vec::new();
    if let Some(step) = step {
        // What everybody may read is needed to load any program. The logon session's SID lets the step make named
        // objects; what of the session it would open besides is kept from it by the low integrity. The user's own
        // SID is not among them: nothing that is the user's alone can be opened.
        restricting = vec![step.clone(), Sid::everyone(), Sid::users(), Sid::restricted()];
        restricting.extend(own.groups.iter().map(|group| group.sid.clone()).filter(Sid::is_logon));
    }
    let (deny_only, delete) = (deny_only.collect(), delete.collect());
    TokenPlan { deny_only, delete, restricting, low: true, default_admits }
}

/// What a token got of its plan, one line for each part.
pub(in crate::windows) fn lines(plan: &TokenPlan, got: &TokenFacts, system: &System) -> Vec<Confinement> {
    let ignored = match &system.wine {
        Some(version) => format!("Wine {version} accepts it and does nothing"),
        None => "the system accepted it and it does not read back".to_owned(),
    };
    let mut lines = vec![privileges(got, &ignored), deny_only(plan, got, &ignored)];
    if let Some(step) = plan.restricting.first() {
        let asked = "a second access check with a SID of the step's own";
        lines.push(match got.restricting.contains(step) {
            true => Confinement::full("step-sid", asked),
            false => Confinement::lesser("step-sid", asked, "one access check, as the user", &ignored),
        });
    }
    lines.push(integrity(got.integrity, &ignored));
    lines
}

fn privileges(got: &TokenFacts, ignored: &str) -> Confinement {
    let left = got.privileges.iter().map(|privilege| privilege.name.as_str());
    let left: Vec<&str> = left.filter(|name| *name != TRAVERSE).collect();
    let asked = "none but `SeChangeNotifyPrivilege`";
    match left.is_empty() {
        true => Confinement::full("privileges", asked),
        false => Confinement::lesser("privileges", asked, left.join(", "), ignored),
    }
}

fn deny_only(plan: &TokenPlan, got: &TokenFacts, ignored: &str) -> Confinement {
    let active: Vec<String> =
        plan.deny_only.iter().filter(|sid| got.has_group(sid)).map(ToString::to_string).collect();
    let asked = match plan.deny_only.len() {
        0 => "no powerful group".to_owned(),
        _ => {
            let names: Vec<String> = plan.deny_only.iter().map(group_name).collect();
            format!("deny-only: {}", names.join(", "))
        }
    };
    match active.is_empty() {
        true => Confinement::full("deny-only-groups", asked),
        false => {
            Confinement::lesser("deny-only-groups", asked, format!("active: {}", active.join(", ")), ignored)
        }
    }
}

/// The integrity level, by its name.
pub(in crate::windows) fn integrity(level: u32, ignored: &str) -> Confinement {
    let name = match level {
        0..0x1000 => "untrusted".to_owned(),
        0x1000..0x2000 => "low".to_owned(),
        0x2000..0x3000 => "medium".to_owned(),
        0x3000..0x4000 => "high".to_owned(),
        0x4000..0x5000 => "system".to_owned(),
        other => format!("{other:#x}"),
    };
    match level <= LOW_INTEGRITY {
        true => Confinement { got: name, ..Confinement::full("low-integrity", "low") },
        false => Confinement::lesser("low-integrity", "low", name, ignored),
    }
}

/// A group's usual English name where it is the same on every machine.
fn group_name(sid: &Sid) -> String {
    let name = match (sid.authority(), sid.parts()) {
        (5, [32, 544]) => "Administrators",
        (5, [32, 547]) => "Power Users",
        (5, [32, 548]) => "Account Operators",
        (5, [32, 549]) => "Server Operators",
        (5, [32, 550]) => "Print Operators",
        (5, [32, 551]) => "Backup Operators",
        (5, [32, 555]) => "Remote Desktop Users",
        (5, [32, 556]) => "Network Configuration Operators",
        (5, [32, 558 | 559]) => "Performance users",
        (5, [32, 562]) => "Distributed COM Users",
        (5, [32, 573]) => "Event Log Readers",
        (5, [32, 578]) => "Hyper-V Administrators",
        (5, [32, 580]) => "Remote Management Users",
        (5, [114]) => "local accounts that are Administrators",
        (5, [80, ..]) => "a service",
        (5, [21, .., 512]) => "Domain Admins",
        (5, [21, .., 513]) => "Domain Users",
        (5, [21, .., 518]) => "Schema Admins",
        (5, [21, .., 519]) => "Enterprise Admins",
        (5, [21, .., 520]) => "Group Policy Creator Owners",
        _ => return sid.to_string(),
    };
    name.to_owned()
}
