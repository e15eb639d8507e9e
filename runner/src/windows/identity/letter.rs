//! The root on a drive letter that the step alone sees: where, whether, and why not.
//!
//! Letters belong to logon sessions, so the step needs one of its own, and a process can be started in one by
//! whoever has the privileges that services have. The new session is the caller's own user with nothing more and
//! nothing less in its token; what is made of it for the step is made as it would be of the caller's own.
//!
//! No call is believed. A letter that is not the root for the step, or that anybody else sees, is taken back, and
//! the step runs as it would have without: a letter is a convenience and no confinement.

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::{Path, PathBuf};

use super::calls::{Calls, Kept, TokenFacts};

/// Privileges without which no process is started in another logon session. LocalSystem and services have them.
pub(super) const NEEDED: [&str; 2] = ["SeAssignPrimaryTokenPrivilege", "SeIncreaseQuotaPrivilege"];

/// A logon session beside the caller's.
pub(in crate::windows) struct Session {
    /// A token of it.
    pub(super) token: OwnedHandle,
    /// What that reads as.
    pub(super) facts: TokenFacts,
}

/// A letter that is defined. Dropping it takes it back.
pub(crate) struct Letter {
    letter: char,
    root: (u32, u128),
    // In this order: what is defined goes before the session does.
    _definition: Kept,
    session: OwnedHandle,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Letter").field(&self.letter).finish_non_exhaustive()
    }
}

/// A logon session for a step.
///
/// # Errors
/// Why there is none, in words for the report.
pub(in crate::windows) fn session(calls: &dyn Calls) -> Result<Session, String> {
    if let Some(version) = calls.system().wine {
        return Err(format!("Wine {version} has the same letters for everybody"));
    }
    let own = calls.own_token().map_err(|failure| failure.to_string())?;
    let lacks = |name: &&str| !own.privileges.iter().any(|privilege| privilege.name == *name);
    if let Some(name) = NEEDED.iter().copied().find(lacks) {
        return Err(format!("only services can give a step one of its own (`{name}`)"));
    }
    let (token, facts) = calls.new_session().map_err(|failure| failure.to_string())?;
    if facts.session == own.session {
        return Err("the system made no logon session of the step's own".into());
    }
    if facts.user != own.user {
        return Err("the system made the logon session for another user".into());
    }
    Ok(Session { token, facts })
}

/// Gives the root a letter in the session of a step. `step` is the step's token.
///
/// # Errors
/// Why it has none; nothing is left of it then.
pub(super) fn define(
    session: OwnedHandle,
    step: BorrowedHandle<'_>,
    root: &Path,
    calls: &dyn Calls,
) -> Result<Letter, String> {
    let root_id = calls.directory_id(root).map_err(|failure| failure.to_string())?;
    let letter = free(session.as_handle(), calls)?;
    let definition =
        calls.define_letter(session.as_handle(), letter, root).map_err(|failure| failure.to_string())?;
    let letter = Letter { letter, root: root_id, _definition: definition, session };
    match letter.leads_to_root(step, calls).and_then(|()| letter.unseen(calls)) {
        Ok(()) => Ok(letter),
        Err(why) => {
            let name = letter.letter;
            drop(letter);
            Err(match calls.has_letter(None, name) {
                Ok(false) => why,
                // It is the root all the same, and not the step's doing; but whoever finds it should know.
                _ => format!("{why}, and it could not be taken back"),
            })
        }
    }
}

/// The last letter that nobody has. Not `A` to `C`: programs take those for what they usually are.
fn free(session: BorrowedHandle<'_>, calls: &dyn Calls) -> Result<char, String> {
    for letter in ('D'..='Z').rev() {
        let taken = |token| calls.has_letter(token, letter).map_err(|failure| failure.to_string());
        if !taken(None)? && !taken(Some(session))? {
            return Ok(letter);
        }
    }
    Err("every letter is taken".into())
}

impl Letter {
    /// The letter.
    pub(crate) fn letter(&self) -> char {
        self.letter
    }

    /// The logon session that has it.
    pub(crate) fn session(&self) -> BorrowedHandle<'_> {
        self.session.as_handle()
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("{}:\\", self.letter))
    }

    /// Whether whoever has `token` finds the root there.
    pub(super) fn leads_to_root(&self, token: BorrowedHandle<'_>, calls: &dyn Calls) -> Result<(), String> {
        match calls.directory_id_for(token, &self.path()) {
            Ok(id) if id == self.root => Ok(()),
            Ok(_) => Err(format!("`{}:` leads the step elsewhere", self.letter)),
            Err(failure) => Err(format!("the step cannot open `{}:`: {failure}", self.letter)),
        }
    }

    fn unseen(&self, calls: &dyn Calls) -> Result<(), String> {
        match calls.has_letter(None, self.letter) {
            Ok(false) => Ok(()),
            Ok(true) => Err(format!("`{}:` is seen outside of the step as well", self.letter)),
            Err(failure) => Err(failure.to_string()),
        }
    }
}
