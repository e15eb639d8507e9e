use super::*;

#[test]
fn globs_match_as_in_go() {
    for (pattern, name, matches) in [
        ("abc", "abc", true),
        ("*", "abc", true),
        ("*", "", true),
        ("*c", "abc", true),
        ("a*", "a", true),
        ("a*b*c*d*e*", "axbxcxdxe", true),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[c]", "abc", true),
        ("ab[b-d]", "abc", true),
        ("ab[e-g]", "abc", false),
        ("ab[^c]", "abc", false),
        ("ab[^b-d]", "abc", false),
        ("ab[^e-g]", "abc", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "-", true),
        ("[!a]", "!", true),
        ("*x", "xxx", true),
        ("[z-a]", "b", false),
        (".*", ".hidden", true),
        ("*", ".hidden", true),
        ("**", "any", true),
    ] {
        assert_eq!(Glob::parse(pattern).unwrap().matches(name), matches, "{pattern} {name}");
    }
}

#[test]
fn malformed_globs_are_refused() {
    for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a[b", "\\", "[\\"] {
        assert!(Glob::parse(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn hostile_globs_are_quick() {
    let glob = Glob::parse(&"*a".repeat(200)).unwrap();
    assert!(!glob.matches(&"a".repeat(199)));
    assert!(!glob.matches(&"b".repeat(20_000)));
}

#[test]
fn paths_are_cleaned_as_in_go() {
    for (path, clean_path) in [
        ("", "."),
        ("abc", "abc"),
        ("abc/", "abc"),
        ("abc//def//", "abc/def"),
        ("./a/./b/.", "a/b"),
        ("abc/..", "."),
        ("abc/../../def", "../def"),
        ("/..", "/"),
        ("/../a", "/a"),
        ("//a", "/a"),
        ("../..", "../.."),
    ] {
        assert_eq!(clean(path), clean_path, "{path}");
    }
    assert_eq!(below_root("../../etc/../x/"), Path::new("x"));
    assert_eq!(below_root("/"), Path::new(""));
}

fn matches(patterns: &[&str], path: &str) -> bool {
    let list = PatternList::new(patterns.iter().map(|p| (1, *p))).unwrap();
    list.decide_path(Path::new(path)).0.is_match()
}

#[test]
fn lists_match_as_moby_does() {
    for (pattern, path, expected) in [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dirx/file", false),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**file", "dir/xfile", true),
        ("**/file", "dir/xfile", false),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("a**b", "ab", true),
        ("a**b", "ax/b", true),
        ("a**b", "axb", false),
        ("abc.def", "abcdef", false),
        ("abc?def", "abc/def", false),
        ("abc?def", "abcZdef", true),
        ("a\\*b", "a*b", true),
        ("*", "dir/file", true),
        ("*.txt", "dir/file.txt", false),
        ("dir", "dir/deep/file", true),
        ("dir/*", "dir", false),
        ("[a-c]", "b", true),
        ("[^a-c]x", "dx", true),
        ("a[b-d]e", "ae", false),
        ("a+b", "a+b", true),
        ("a(b)|c$", "a(b)|c$", true),
        ("a{1}", "a", false),
        ("café*", "cafés", true),
        ("x[&&y]", "x&", true),
        ("**/.git", "a/.git/config", true),
        ("/etc", "etc", false),
        (".", "a", false),
        ("..", "a", false),
    ] {
        assert_eq!(matches(&[pattern], path), expected, "{pattern} {path}");
    }
    // Elsewhere no name holds a backslash.
    #[cfg(unix)]
    assert!(matches(&["a\\\\"], "a\\"));
}

#[test]
fn the_last_match_decides() {
    for (patterns, path, expected) in [
        (&["*.md", "!README.md"][..], "README.md", false),
        (&["*.md", "!README*.md", "README-secret.md"], "README-secret.md", true),
        (&["*.md", "README-secret.md", "!README*.md"], "README-secret.md", false),
        (&["dir", "!dir/keep"], "dir/keep", false),
        (&["dir", "!dir/keep"], "dir/keep/deep", false),
        (&["dir", "!dir/keep"], "dir/other", true),
        (&["dir/keep", "!dir", "dir/keep/not"], "dir/keep/not/x", true),
        (&["!a", "a"], "a", true),
        (&["**", "!**/*.go"], "a/b/c.go", false),
        (&["**", "!util/docker/web"], "util/docker/web/foo", false),
        (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
    ] {
        assert_eq!(matches(patterns, path), expected, "{patterns:?} {path}");
    }
}

#[test]
fn directories_are_left_out_only_where_nothing_in_them_can_come_back() {
    let list = |patterns: &[&str]| PatternList::new(patterns.iter().map(|p| (1, *p))).unwrap();
    assert!(!list(&["dir"]).may_except_below("dir"));
    assert!(list(&["dir", "!dir/a/b"]).may_except_below("dir"));
    assert!(list(&["dir", "!dir/a/b"]).may_except_below("dir/a"));
    assert!(!list(&["*", "!src"]).may_except_below("node_modules"));
    assert!(!list(&["*", "!src/**"]).may_except_below("node_modules"));
    assert!(list(&["*", "!**/*.py"]).may_except_below("node_modules"));
    assert!(list(&["*", "!src/**"]).may_except_below("src"));
}

#[test]
fn includes_say_where_to_look() {
    let list = |pattern: &str| PatternList::new([(1, pattern)]).unwrap();
    for (pattern, dir, look) in [
        ("a/b/c", "a", true),
        ("a/b/c", "a/b", true),
        ("a/b/c", "a/x", false),
        ("a/b/c", "x", false),
        ("*/b", "x", true),
        ("*/b", "x/y", false),
        ("**/b", "x/y/z", true),
        ("a/**", "b", false),
        ("a", "a/b", true),
    ] {
        assert_eq!(list(pattern).may_match_below(dir), look, "{pattern} {dir}");
    }
}

#[test]
fn no_patterns() {
    for pattern in ["!", "[", "a[b", "x\\"] {
        assert!(PatternList::new([(1, pattern)]).is_err(), "{pattern}");
    }
}
