use super::*;

/// What a text says, in one line: `REMOTE NAME SUBDIR` and what else is not as usual.
fn read(text: &str) -> String {
    let reference = match GitReference::parse(text) {
        None => return "no".to_owned(),
        Some(Err(error)) => return format!("error: {error}"),
        Some(Ok(reference)) => reference,
    };
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut out = format!("{} {} {}", reference.remote, or(&reference.name), or(&reference.subdir));
    if let Some((user, password)) = &reference.credentials {
        out += &format!(" user={user} password={password}");
    }
    if let Some(checksum) = &reference.checksum {
        out += &format!(" checksum={checksum}");
    }
    if let Some(keep) = reference.keep_git_dir {
        out += &format!(" keep={keep}");
    }
    if !reference.submodules {
        out += " alone";
    }
    if reference.mtime == Mtime::Checkout {
        out += " now";
    }
    if reference.by_commit {
        out += " by-commit";
    }
    if GitReference::parse_url(text).is_none() {
        out += " short";
    }
    out
}

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn the_forms_that_buildkit_takes() {
    let id = format!("https://h/x.git?ref=main&checksum={ID}&fetch-by-commit=true");
    for (text, read_as) in [
        ("https://example.com/foo.git", "https://example.com/foo.git - -"),
        ("HTTPS://example.com/foo.git", "https://example.com/foo.git - -"),
        ("http://example.com:8080/a/foo.git", "http://example.com:8080/a/foo.git - -"),
        ("https://example.com/foo.git#deadbeef", "https://example.com/foo.git deadbeef -"),
        ("https://example.com/foo.git#release/1.2", "https://example.com/foo.git release/1.2 -"),
        ("https://h/bar.git#baz/qux:quux/quuz", "https://h/bar.git baz/qux quux/quuz"),
        ("https://h/docker.git#:myfolder", "https://h/docker.git - myfolder"),
        ("https://h/x.git#", "https://h/x.git - -"),
        ("https://h/x.git#:", "https://h/x.git - -"),
        ("https://h/x.git#a%2Fb:c%20d", "https://h/x.git a/b c d"),
        ("https://h/x.git#v1:/sub/./a/../b/", "https://h/x.git v1 sub/b"),
        ("https://h/x.git#v1:/", "https://h/x.git v1 -"),
        ("https://h/x.git#v1:../../etc", "https://h/x.git v1 etc"),
        ("https://foo:b%40r@h/x.git", "https://h/x.git - - user=foo password=b@r"),
        ("https://token@h/x.git", "https://h/x.git - - user=token password="),
        ("git://example.com/foo", "git://example.com/foo - -"),
        ("git://example.com:1234/foo.git#v1", "git://example.com:1234/foo.git v1 -"),
        ("ssh://git@h:2222/foo.git#main:d", "ssh://git@h:2222/foo.git main d"),
        ("ssh://h/~/foo", "ssh://h/~/foo - -"),
        ("git@github.com:moby/buildkit", "git@github.com:moby/buildkit - -"),
        ("git@h:moby/buildkit.git#v1:d", "git@h:moby/buildkit.git v1 d"),
        ("git@h:x.git?subdir=/s#v1", "git@h:x.git v1 s"),
        ("nobody@example.com:/srv/x.git", "nobody@example.com:/srv/x.git - -"),
        ("git@h:x#a%2Fb", "git@h:x a%2Fb -"),
        ("github.com/moby/buildkit", "https://github.com/moby/buildkit - - short"),
        ("github.com/moby/buildkit#master:d", "https://github.com/moby/buildkit master d short"),
        ("github.com/moby/buildkit?tag=v1", "https://github.com/moby/buildkit refs/tags/v1 - short"),
        ("https://h/x.git?ref=v1.0.0&subdir=/s", "https://h/x.git v1.0.0 s"),
        ("https://h/x.git?subdir=s#v1", "https://h/x.git v1 s"),
        ("https://h/x.git?ref=v1#v1", "https://h/x.git v1 -"),
        ("https://h/x.git?tag=v1", "https://h/x.git refs/tags/v1 -"),
        ("https://h/x.git?tag=refs/tags/v1", "https://h/x.git refs/tags/v1 -"),
        ("https://h/x.git?branch=a%2Fb", "https://h/x.git refs/heads/a/b -"),
        ("https://h/x.git?ref=refs/heads/b&branch=b", "https://h/x.git refs/heads/b -"),
        ("https://h/x.git?ref=pull/42/head", "https://h/x.git pull/42/head -"),
        ("https://h/x.git?checksum=DEADBEEF", "https://h/x.git - - checksum=deadbeef"),
        ("https://h/x.git?branch=b&commit=dead", "https://h/x.git refs/heads/b - checksum=dead"),
        ("https://h/x.git?keep-git-dir&submodules=0", "https://h/x.git - - keep=true alone"),
        ("https://h/x.git?keep-git-dir=false&submodules=", "https://h/x.git - - keep=false"),
        ("https://h/x.git?mtime=checkout", "https://h/x.git - - now"),
        ("https://h/x.git?mtime=commit", "https://h/x.git - -"),
        (&id, &format!("https://h/x.git main - checksum={ID} by-commit")),
    ] {
        assert_eq!(read(text), *read_as, "{text}");
    }
}

#[test]
fn what_is_something_else() {
    for text in [
        "",
        ".",
        "./x.git",
        "../x.git",
        ".git",
        "/srv/x.git",
        "https://example.com/",
        "https://example.com/foo",
        "https://example.com/foo.git/",
        "https://example.com/foo.git.bar",
        "https://example.com/x.tar.gz#a.git",
        "https://github.com/moby/buildkit",
        "http://github.com/docker/docker.git:#branch",
        "custom.xyz/moby/buildkit.git",
        "file:///srv/x.git",
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch /tmp/x",
        "httpx://h/x.git",
        "C:\\x.git",
        "host:path",
        "https://h/x.git\n",
        "a b@h:x",
        "docker-image://x.git",
    ] {
        assert_eq!(read(text), "no", "{text}");
    }
}

#[test]
fn what_is_meant_as_one_and_is_none() {
    for (text, why) in [
        ("https://h/x.git?ref=v1#v2", "asks for two things: `v2`, and `v1` by `ref`"),
        ("https://h/x.git?subdir=a#v2:b", "asks for two things: `b`, and `a` by `subdir`"),
        ("https://h/x.git?ref=v1&tag=v1", "asks for two things: `v1`, and `refs/tags/v1` by `tag`"),
        ("https://h/x.git?tag=v1&branch=v1", "asks for a tag and a branch at once"),
        ("https://h/x.git?checksum=aa&commit=bb", "asks for two things: `aa`, and `bb` by `commit`"),
        ("https://h/x.git?invalid=1", "has `invalid` in its query, which means nothing"),
        ("https://h/x.git?ref=a&ref=a", "has `ref` twice in its query"),
        ("https://h/x.git?ref=", "has `ref` without a value in its query"),
        ("https://h/x.git?tag", "has `tag` without a value in its query"),
        ("https://h/x.git?keep-git-dir=2", "has `keep-git-dir=2`, which is neither true nor false"),
        ("https://h/x.git?mtime=now", "has `mtime=now`, which is neither `commit` nor `checkout`"),
        ("https://h/x.git?checksum=xyz", "has `checksum=xyz`, which is no commit of git"),
        ("https://h/x.git?fetch-by-commit=1", "has `fetch-by-commit` and no whole commit to fetch"),
        ("https://h/x.git#--upload-pack=x", "asks for `--upload-pack=x`, which can be no branch or tag"),
        ("https://h/x.git#a..b", "asks for `a..b`, which can be no branch or tag"),
        (
            "https://h/x.git#HEAD~1",
            "asks for `HEAD~1`, which can be no branch or tag: `~` is not allowed in one",
        ),
        ("https://h/x.git#a*", "asks for `a*`, which can be no branch or tag: `*` is not allowed in one"),
        (
            "https://h/x.git#a%0ab",
            "asks for `a\\nb`, which can be no branch or tag: `\\n` is not allowed in one",
        ),
        ("https://h/x.git#%zz", "has no text after `#`"),
        ("https://h/x.git#%ff", "has no text after `#`"),
        ("https://h/a\n/x.git", "has a control character in it"),
        ("https://h/x\0y.git", "has a control character in it"),
        ("git@h:x\ny", "has a control character in it"),
        ("https:///x.git", "names no host"),
        ("https://-oProxyCommand=x/y.git", "has a host that begins with `-`"),
        ("ssh://-oProxyCommand=x/y", "has a host that begins with `-`"),
        ("ssh://-l@h/y", "would be an option of ssh"),
        ("git@-oX:y", "has a host that begins with `-`"),
        ("-oX@h:y", "would be an option of ssh"),
        ("git@h:-x", "would be an option of ssh"),
        ("https://a b/y.git", "has a host that no host can be called"),
        ("https://h:x/y.git", "is no URL: invalid port number"),
        ("ssh://git@h", "names a host and no repository"),
        ("ssh://git@h/", "names a host and no repository"),
        ("ssh://a b@h/x", "has a blank in its user or password"),
        ("git://u@h/x", "has a user in it, whom git's own protocol does not know"),
    ] {
        let shown = text.escape_debug();
        assert_eq!(
            read(text),
            format!("error: `{shown}` {why}").replace("git://u@", "git://xxxxx@"),
            "{text}"
        );
    }
    let other = format!("https://h/x.git?checksum=ff#{ID}");
    assert!(read(&other).contains("asks for two commits"), "{}", read(&other));
}

#[test]
fn no_message_shows_a_password() {
    for text in [
        "https://user:secret@h/x.git",
        "https://user:secret@h/x.git#a..b",
        "https://user:secret@h:x/x.git",
        "https://user:sec/secret@h/x.git",
        "ssh://user:secret@h/x",
        "https://user:secret@/x.git",
        "https://user:my secret@h/x.git",
        "https://user:12 secret@h/x.git",
        "https://my secret@h/x.git",
        "https://user:my 's\"ecret secret@h/x.git#a@b",
        "ssh://user:my secret@h/x",
        "https://user:\nsecret@h/x.git",
        "git://user:secret@h/x",
    ] {
        let parsed = GitReference::parse(text).unwrap();
        assert!(!format!("{parsed:?}").contains("secret"), "{text}: {parsed:?}");
        match parsed {
            Ok(reference) => assert!(!reference.to_string().contains("secret"), "{text}"),
            Err(error) => assert!(!error.to_string().contains("secret"), "{text}: {error}"),
        }
    }
}

#[test]
fn flags_say_what_the_query_says_or_nothing() {
    let reference = || GitReference::parse("https://h/x.git?checksum=dead").unwrap().unwrap();
    assert_eq!(reference().with_checksum("DEAD").unwrap().checksum(), Some("dead"));
    for (checksum, why) in [
        ("beef", "is asked for, and the URL's query asks for `dead`"),
        ("sha256:0", "is no commit"),
        ("", "is no commit"),
    ] {
        let error = reference().with_checksum(checksum).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in "(https://|ssh://|git://|github.com/|a@b:)?[ -~]{0,20}(\\.git)?[?#]?\\PC{0,20}") {
        if let Some(Ok(reference)) = GitReference::parse(&text) {
            let name = reference.name.clone().unwrap_or_default();
            let subdir = reference.subdir.clone().unwrap_or_default();
            proptest::prop_assert!(!name.starts_with('-') && !reference.remote.starts_with('-'));
            proptest::prop_assert!(subdir.split('/').all(|part| part != ".." && (part != "." )));
            proptest::prop_assert!(!reference.remote.contains(char::is_control));
        }
    }
}
