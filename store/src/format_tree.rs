//! FORMAT.md against a real store: every file is described, and what is said to be always there is.

use std::path::Path;

use crate::store::tests::{import, layer_tar, open, pulled};

/// Whether `path` is described by `pattern`, as FORMAT.md writes them.
fn matches(pattern: &str, path: &str) -> bool {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let key = |text: &str| {
        let prefixes = ["chain-", "windows-"];
        hex(prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text))
    };
    let (pattern, rest_may_follow) = match pattern.strip_suffix("/**") {
        Some(pattern) => (pattern, true),
        None => (pattern.trim_end_matches('/'), false),
    };
    let wanted: Vec<&str> = pattern.split('/').collect();
    let found: Vec<&str> = path.split('/').collect();
    let length = if rest_may_follow { found.len() >= wanted.len() } else { found.len() == wanted.len() };
    length
        && wanted.iter().zip(&found).all(|(wanted, found)| match *wanted {
            "<hex>" => hex(found),
            "chain-<hex>" => found.strip_prefix("chain-").is_some_and(hex),
            "windows-<hex>" => found.strip_prefix("windows-").is_some_and(hex),
            "<key>" => key(found),
            "<key>.lock" => found.strip_suffix(".lock").is_some_and(key),
            wanted => match wanted.split_once("<random>") {
                Some((before, after)) => {
                    found.len() > before.len() + after.len()
                        && found.starts_with(before)
                        && found.ends_with(after)
                }
                None => wanted == *found,
            },
        })
}

fn tree(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut stack = vec![root.to_owned()];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            out.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
            if path.is_dir() && !path.is_symlink() {
                stack.push(path);
            }
        }
    }
    out
}

#[test]
fn the_document_describes_a_real_store() {
    let document = include_str!("../FORMAT.md");
    let rows: Vec<(&str, bool)> = document
        .lines()
        .skip_while(|l| *l != "## Tree")
        .filter_map(|l| l.strip_prefix("| `"))
        .map_while(|l| l.split_once("` | "))
        .take_while(|(path, _)| *path != "images")
        .map(|(path, rest)| (path, rest.starts_with("always")))
        .collect();
    assert!(rows.len() > 15, "the table was read");
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (image, blobs) = pulled(&["one", "two"]);
    import(&store, &image, &blobs);
    let made = store.layers().adopt(&[], layer_tar("f", b"made").as_slice()).unwrap();
    let windows = store.layers().for_os(crate::LayerOs::Windows);
    windows.adopt(&[], layer_tar("Files/f", b"made").as_slice()).unwrap();
    store.layer_blob(&[], &made.diff_id, crate::Compression::None).unwrap();
    std::fs::write(store.blobs().path(&image.id()), b"damaged").unwrap();
    store.check().unwrap();
    store.gc(&crate::GcPolicy::default()).unwrap();
    let _writing = store.blobs().writer().unwrap();
    let _held = store.work().lock("import-x").unwrap();
    let found = tree(store.root());
    for path in &found {
        let described = rows.iter().any(|(pattern, _)| {
            // The directories on the way to something are described with it.
            matches(pattern, path) || pattern.starts_with(&format!("{path}/"))
        });
        assert!(described, "`{path}` is not in FORMAT.md");
    }
    for (pattern, always) in rows {
        assert!(
            !always || found.iter().any(|p| matches(pattern, p)),
            "there is no `{pattern}` in {found:#?}"
        );
    }
    assert!(found.iter().any(|p| p.starts_with("quarantine/")), "the damaged blob is there");
}

#[test]
fn the_document_knows_every_table() {
    let document = include_str!("../FORMAT.md");
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let tables = store.facts().read("list tables", |c| {
        let mut query = c.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        query.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let tables = tables.unwrap();
    assert!(tables.len() >= 7);
    for table in tables {
        assert!(document.contains(&format!("| `{table}` |")), "`{table}` is not in FORMAT.md");
    }
    let format = std::fs::read_to_string(store.root().join("format")).unwrap();
    assert!(document.contains(&format), "the format file is shown as it is");
}
