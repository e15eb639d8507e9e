use super::*;

fn read(text: &str) -> Result<RegistriesConf, Error> {
    let mut conf = RegistriesConf::default();
    conf.add("registries.conf", text)?;
    Ok(conf)
}

#[test]
fn the_longest_prefix_counts() {
    let conf = read(
        r#"
        [[registry]]
        prefix = "*.example.com"
        [[registry]]
        prefix = "*.b.example.com"
        [[registry]]
        location = "r.io"
        [[registry]]
        location = "r.io/team"
        [[registry]]
        location = "r.io/team"
        insecure = false
        "#,
    )
    .unwrap();
    for (name, prefix) in [
        ("a.example.com/x", Some("*.example.com")),
        ("a.example.com:5000/x", Some("*.example.com")),
        ("a.b.example.com/x", Some("*.b.example.com")),
        ("example.com/x", None),
        ("evil/a.example.com", None),
        ("aexample.com/x", None),
        ("r.io/x", Some("r.io")),
        ("r.io:5000/x", Some("r.io")),
        ("r.io/team", Some("r.io/team")),
        ("r.io/team/x", Some("r.io/team")),
        ("r.io/teams/x", Some("r.io")),
        ("r.iox/x", None),
    ] {
        assert_eq!(conf.find(name).map(|(e, _)| e.prefix.as_str()), prefix, "{name}");
    }
}

#[test]
fn files_are_laid_over_each_other() {
    let mut conf = read(
        r#"
        unqualified-search-registries = ["a.io"]
        short-name-mode = "enforcing"
        credential-helpers = ["containers-auth.json"]
        [[registry]]
        location = "r.io"
        insecure = true
        [[registry]]
        location = "s.io"
        blocked = true
        [aliases]
        one = "a.io/one"
        two = "a.io/two"
        "#,
    )
    .unwrap();
    conf.add("10.conf", "[[registry]]\nlocation = \"r.io\"\n[aliases]\none = \"b.io/one\"\ntwo = \"\"")
        .unwrap();
    assert!(!conf.find("r.io/x").unwrap().0.insecure);
    assert!(conf.find("s.io/x").unwrap().0.blocked);
    assert_eq!(conf.aliases.keys().collect::<Vec<_>>(), ["one"]);
    assert_eq!(
        (conf.aliases["one"].full.as_str(), conf.aliases["one"].file.as_str()),
        ("b.io/one", "10.conf")
    );
    assert_eq!(conf.search.as_ref().unwrap().registries, ["a.io"]);
    assert_eq!(conf.mode, Some(ShortNameMode::Enforcing));
    conf.add("20.conf", "unqualified-search-registries = []\nshort-name-mode = \"disabled\"").unwrap();
    assert!(conf.search.as_ref().unwrap().registries.is_empty());
    assert_eq!(conf.mode, Some(ShortNameMode::Disabled));
    assert_eq!(conf.credential_helpers(), Some(&["containers-auth.json".to_owned()][..]));
}

#[test]
fn version_one_is_read() {
    let one = "[registries.search]\nregistries = ['a.io', 'b.io']\n[registries.insecure]\nregistries = ['c.io']\n\
               [registries.block]\nregistries = ['d.io', 'c.io']\n";
    let conf = read(one).unwrap();
    let flags = |name: &str| conf.find(name).map(|(e, _)| (e.insecure, e.blocked));
    assert_eq!(
        (flags("c.io/x"), flags("d.io/x"), flags("a.io/x")),
        (Some((true, true)), Some((false, true)), None)
    );
    assert_eq!(conf.search.as_ref().unwrap().registries, ["a.io", "b.io"]);
    // As podman has it: not both at once, and not in a file that is dropped in.
    assert!(
        read(&format!("{one}[[registry]]\nlocation = \"x.io\""))
            .unwrap_err()
            .to_string()
            .contains("version 1")
    );
    let mut conf = conf;
    assert!(conf.add("10.conf", one).unwrap_err().to_string().contains("main file"));
}

#[test]
fn what_contradicts_itself_is_refused_with_its_file() {
    for (text, says) in [
        ("registry = 1", "registry"),
        ("[[registry]]\ninsecure = 3\nlocation = \"a\"", "line 2"),
        ("[[registry]]\n", "needs a `prefix` or a `location`"),
        ("[[registry]]\nprefix = \"a.io\"", "needs a `location`"),
        ("[[registry]]\nlocation = \"https://a.io\"", "without `http://`"),
        ("[[registry]]\nlocation = \"a b\"", "no place of images"),
        ("[[registry]]\nlocation = \"a.io\"\npull-from-mirror = \"all\"", "stands in the mirrors"),
        ("[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\ninsecure = true", "has no `location`"),
        (
            "[[registry]]\nlocation = \"a.io\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"x\"",
            "`digest-only`",
        ),
        (
            "[[registry]]\nlocation = \"a.io\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b\"\n\
             pull-from-mirror = \"all\"",
            "only one of them",
        ),
        (
            "[[registry]]\nlocation = \"a.io\"\ninsecure = true\n[[registry]]\nprefix = \"b.io\"\nlocation = \"a.io\"",
            "differ in `insecure`",
        ),
        ("unqualified-search-registries = [\"http://a.io\"]", "without `http://`"),
        ("short-name-mode = \"silly\"", "`enforcing`"),
        ("[aliases]\n\"a.io/x\" = \"b.io/x\"", "a short name has no registry"),
        ("[aliases]\n\"x:1\" = \"b.io/x\"", "a short name has no registry"),
        ("[aliases]\nx = \"y\"", "must name a registry"),
        ("[aliases]\nx = \"b.io/x:1\"", "no tag or digest"),
        ("[aliases]\nx = \"b.io/X\"", "no name of an image"),
    ] {
        let e = read(text).map(|_| ()).expect_err(text).to_string();
        assert!(e.starts_with("`registries.conf`: ") && e.contains(says) && !e.contains('\n'), "{text}: {e}");
    }
}

#[test]
fn what_means_nothing_is_told() {
    let conf = read(
        "serach = 1\n[[registry]]\nlocation = \"a.io\"\ninsecrue = true\n[[registry.mirror]]\nlocation = \"b.io\"\n\
         mirorr = 1\n[[registry]]\nprefix = \"a.*.io\"\nlocation = \"c.io\"\n[[registry]]\nlocation = \"d.io/x:1\"\n",
    )
    .unwrap();
    let told = conf.warnings().join("\n");
    for word in [
        "`serach`",
        "`registry.insecrue`",
        "`registry.mirror.mirorr`",
        "`a.*.io` never matches",
        "`d.io/x:1`",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(conf.warnings().len(), 5, "{told}");
}
