//! `USER` and `--chown` as runc and BuildKit read them.

use super::*;
use std::fs;

const PASSWORDS: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:1000:1001::/srv/web:/bin/sh\n\
    nohome:x:7:7::\nbroken:x:a:b::/:\n42:x:9:9::/n:\n";
const GROUPS: &[u8] =
    b"root:x:0:\nweb:x:1001:\naudio:x:29:web,root\nvideo:x:44:other\n1234:x:5:\nsudo:x:27:web\n";

fn accounts() -> Accounts {
    Accounts::parse(PASSWORDS, GROUPS)
}

fn user(text: &str) -> (u32, u32, Vec<u32>, String) {
    let user = accounts().user(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    (user.uid, user.gid, user.groups, user.home.display().to_string())
}

#[test]
fn users() {
    assert_eq!(user("web"), (1000, 1001, vec![29, 27], "/srv/web".into()));
    assert_eq!(user("1000"), user("web"));
    assert_eq!(user("web:"), user("web"));
    assert_eq!(user(""), (0, 0, vec![29], "/root".into()));
    assert_eq!(user("0"), user(""));
    assert_eq!(user("web:video"), (1000, 44, vec![], "/srv/web".into()));
    assert_eq!(user("web:77"), (1000, 77, vec![], "/srv/web".into()));
    assert_eq!(user("5555"), (5555, 0, vec![], "/".into()));
    assert_eq!(user("5555:6666"), (5555, 6666, vec![], "/".into()));
    assert_eq!(user("nohome"), (7, 7, vec![], "/".into()));
    assert_eq!(user("42"), (9, 9, vec![], "/n".into()), "a name of digits");
    assert_eq!(user(":video"), (0, 44, vec![], "/root".into()));
    assert_eq!(user("web:1234").1, 5, "a group name of digits");
}

#[test]
fn owners() {
    let owner = |text: &str| accounts().owner(text).ok();
    assert_eq!(owner("web"), Some((1000, 1001)));
    assert_eq!(owner("55"), Some((55, 55)));
    assert_eq!(owner("1000"), Some((1000, 1000)));
    assert_eq!(owner("55:audio"), Some((55, 29)));
    assert_eq!(owner("web:3"), Some((1000, 3)));
    assert_eq!(owner("nobody"), None);
}

#[test]
fn errors_name_what_is_wrong() {
    let error = |text: &str| accounts().user(text).expect_err(text).to_string();
    assert_eq!(error("nobody"), "no user `nobody` in the image's `/etc/passwd`");
    assert_eq!(error("web:none"), "no group `none` in the image's `/etc/group`");
    assert_eq!(error("broken"), "no user `broken` in the image's `/etc/passwd`");
    for text in ["-1", "2147483648", "99999999999999999999"] {
        assert_eq!(error(text), format!("`{text}` is not an id: ids go from 0 to 2147483647"));
    }
}

#[test]
fn files_are_read_inside_the_root_only() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(outside.path().join("root/etc")).expect("mkdir");
    let root = outside.path().join("root");
    fs::write(outside.path().join("passwd"), "evil:x:666:666::/:\n").expect("write");
    std::os::unix::fs::symlink("../../passwd", root.join("etc/passwd")).expect("symlink");
    assert!(matches!(resolve(&root, "evil"), Err(UserError::Unknown { .. })));
    fs::write(root.join("passwd"), "good:x:5:5::/:\n").expect("write");
    assert_eq!(resolve(&root, "good").expect("in the root").uid, 5);
    assert_eq!(resolve_owner(&root, "8:9").expect("numbers"), (8, 9));
    fs::remove_file(root.join("etc/passwd")).expect("remove");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("etc/passwd"), Mode::RUSR).expect("fifo");
    assert!(matches!(resolve(&root, "good"), Err(UserError::Read { .. })));
}
