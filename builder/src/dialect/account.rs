//! Whom the processes of a Windows image run as.

use orlop_runner::Account;

/// A USER that a Windows image cannot have here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A number.
    #[error("`{0}` is no user of a Windows image: there are no numbers for users")]
    Number(String),
    /// `user:group`.
    #[error("`{0}` names a group, and on Windows a user is not started with one")]
    Group(String),
    /// Any other name.
    #[error("user `{0}` is not known: only the two accounts that every Windows image has are")]
    Unknown(String),
}

impl AccountError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        "write `USER ContainerAdministrator` (all that the image's owner may do) or `USER ContainerUser`"
            .to_owned()
    }
}

/// Reads a USER of a Windows image; nothing is the administrator. `User Manager\` in front is what Windows itself
/// shows.
///
/// Both are accounts of the container and not of the machine. A RUN has the step's own identity in either case:
/// what they say is how much of it is taken away. For files it is as with Docker on Windows: WORKDIR makes directories
/// that belong to ContainerUser where that is the USER, COPY gives to it with `--chown` alone, and all else belongs to
/// Administrators, in which ContainerAdministrator is.
///
/// # Errors
/// For any other name.
pub fn account(text: &str) -> Result<Account, AccountError> {
    let name = match text.split_once('\\') {
        Some((domain, name)) if domain.eq_ignore_ascii_case("User Manager") => name,
        _ => text,
    };
    if name.is_empty() || name.eq_ignore_ascii_case("ContainerAdministrator") {
        return Ok(Account::Administrator);
    }
    if name.eq_ignore_ascii_case("ContainerUser") {
        return Ok(Account::User);
    }
    let text = text.to_owned();
    if name.contains(':') {
        Err(AccountError::Group(text))
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        Err(AccountError::Number(text))
    } else {
        Err(AccountError::Unknown(text))
    }
}
