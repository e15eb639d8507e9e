//! Names of users and groups, looked up in a root's own `/etc/passwd` and `/etc/group`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::User;

/// Why a user or group could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name that the root's files do not have.
    #[error("no {what} `{name}` in the image's `{file}`")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// The file that was looked at.
        file: &'static str,
    },
    /// A number that no id can have.
    #[error("`{0}` is not an id: ids go from 0 to 2147483647")]
    OutOfRange(String),
    /// The file is there and cannot be read.
    #[error("cannot read the image's `{file}`")]
    Read {
        /// The file.
        file: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl UserError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { what: "group", name, .. } => {
                Some(format!("add it with `RUN groupadd {name}` before"))
            }
            Self::Unknown { name, .. } => Some(format!("add it with `RUN useradd {name}` before")),
            _ => None,
        }
    }
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Larger files than this are no user databases.
const MOST_BYTES: u64 = 16 << 20;

/// Highest id, as Docker has it.
const MOST_ID: u32 = i32::MAX as u32;

/// The users and groups of one root.
#[derive(Clone, Default)]
pub struct Accounts {
    users: Vec<UserLine>,
    groups: Vec<GroupLine>,
}

#[derive(Debug, Clone)]
struct UserLine {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug, Clone)]
struct GroupLine {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Accounts {
    /// Reads them from the directory `root`. No symlink in it leads outside; a file that is missing is empty.
    ///
    /// # Errors
    /// [`UserError::Read`] when a file is there but cannot be read, or is no regular file.
    pub fn read(root: &Path) -> Result<Self, UserError> {
        let passwd = read_inside(root, PASSWD)?;
        let group = read_inside(root, GROUP)?;
        Ok(Self::parse(&passwd, &group))
    }

    /// From the contents of the two files. Lines that are none are left out, as the C library does.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let passwd = String::from_utf8_lossy(passwd);
        let group = String::from_utf8_lossy(group);
        let user = |line: &str| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            Some(UserLine {
                name: (*fields.first()?).to_owned(),
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: fields.get(5).copied().unwrap_or_default().to_owned(),
            })
        };
        let group_line = |line: &str| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let members = fields.get(3).copied().unwrap_or_default();
            Some(GroupLine {
                name: (*fields.first()?).to_owned(),
                gid: fields.get(2)?.parse().ok()?,
                members: members.split(',').map(|name| name.trim().to_owned()).collect(),
            })
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_line).collect(),
        }
    }

    /// Whom a `USER` names: `name|uid[:group|gid]`, as in the OCI image configuration. Empty is root.
    ///
    /// Without a group it is the user's primary one (0 for a number that the root does not know), and the
    /// supplementary groups are those that list the user. With a group there are no supplementary ones.
    ///
    /// # Errors
    /// [`UserError`] for names that are not there and numbers that are no ids.
    pub fn user(&self, text: &str) -> Result<User, UserError> {
        let (name, group) = split(text);
        let line = self.find_user(name);
        let uid = match (line, number(name)?) {
            (_, _) if name.is_empty() => 0,
            (Some(line), _) => line.uid,
            (None, Some(uid)) => uid,
            (None, None) => return Err(unknown_user(name)),
        };
        let line = if name.is_empty() { self.users.iter().find(|line| line.uid == 0) } else { line };
        let home = line.map(|line| line.home.as_str()).filter(|home| !home.is_empty()).unwrap_or("/");
        let home = PathBuf::from(home);
        if let Some(group) = group {
            return Ok(User { uid, gid: self.group(group)?, groups: Vec::new(), home });
        }
        let gid = line.map_or(0, |line| line.gid);
        let is_in = |group: &&GroupLine| line.is_some_and(|user| group.members.contains(&user.name));
        let groups = self.groups.iter().filter(is_in).map(|group| group.gid).collect();
        Ok(User { uid, gid, groups, home })
    }

    /// The owner that a `--chown` names, as user and group id. A name without a group has the user's primary one, a
    /// number without a group the same number.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub fn owner(&self, text: &str) -> Result<(u32, u32), UserError> {
        let (name, group) = split(text);
        let (uid, primary) = match number(name)? {
            Some(uid) => (uid, uid),
            None if name.is_empty() => (0, 0),
            None => {
                let line =
                    self.users.iter().find(|line| line.name == name).ok_or_else(|| unknown_user(name))?;
                (line.uid, line.gid)
            }
        };
        Ok((uid, group.map_or(Ok(primary), |group| self.group(group))?))
    }

    /// A group's id, by name or number.
    ///
    /// # Errors
    /// As for [`user`](Self::user).
    pub fn group(&self, text: &str) -> Result<u32, UserError> {
        if let Some(line) = self.groups.iter().find(|line| line.name == text) {
            return Ok(line.gid);
        }
        number(text)?.ok_or_else(|| UserError::Unknown { what: "group", name: text.to_owned(), file: GROUP })
    }

    /// A line by name, else by number: a name of digits wins, as in runc.
    fn find_user(&self, text: &str) -> Option<&UserLine> {
        let by_name = self.users.iter().find(|line| line.name == text);
        by_name.or_else(|| {
            let uid: u32 = text.parse().ok()?;
            self.users.iter().find(|line| line.uid == uid)
        })
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accounts({} users, {} groups)", self.users.len(), self.groups.len())
    }
}

/// Whom a `USER` names in the directory `root`: [`Accounts::read`] and [`Accounts::user`] in one. Files are not
/// looked at when numbers alone tell everything.
///
/// # Errors
/// As for those two.
pub fn resolve(root: &Path, text: &str) -> Result<User, UserError> {
    Accounts::read(root)?.user(text)
}

/// The owner that a `--chown` names in the directory `root`; numbers are not looked up.
///
/// # Errors
/// As for [`resolve`].
pub fn resolve_owner(root: &Path, text: &str) -> Result<(u32, u32), UserError> {
    let (name, group) = split(text);
    let is_number = |text: &str| text.is_empty() || matches!(number(text), Ok(Some(_)));
    if is_number(name) && group.is_none_or(is_number) {
        return Accounts::default().owner(text);
    }
    Accounts::read(root)?.owner(text)
}

/// The user and the group, if one is given.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((user, "")) => (user, None),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    }
}

fn unknown_user(name: &str) -> UserError {
    UserError::Unknown { what: "user", name: name.to_owned(), file: PASSWD }
}

/// The id that a text of digits is; `None` for a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MOST_ID => Ok(Some(id)),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

fn read_inside(root: &Path, file: &'static str) -> Result<Vec<u8>, UserError> {
    let read = || -> io::Result<Vec<u8>> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, directory, Mode::empty())?;
        // Without blocking: a FIFO in its place must not hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&root, file, flags, Mode::empty(), resolve)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("not a regular file"));
        }
        let mut content = Vec::new();
        File::from(fd).take(MOST_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MOST_BYTES {
            return Err(io::Error::other("too large for a list of users"));
        }
        Ok(content)
    };
    match read() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(Vec::new()),
        result => result.map_err(|source| UserError::Read { file, source }),
    }
}

#[cfg(test)]
mod tests;
