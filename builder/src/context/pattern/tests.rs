mod reference;

use proptest::prelude::*;

use self::reference::Reference;
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

#[test]
fn what_moby_does_not_think_of_means_what_its_expressions_say() {
    for (pattern, path, expected) in [
        // A star in a class is translated as outside of it.
        ("a[*]b", "a*b", false),
        ("a[*]b", "a/]b", true),
        ("a[*]b", "a]b", true),
        ("a[?]b", "a[]b", true),
        ("a[?]b", "a?b", false),
        ("[[:digit:]]", "7", true),
        ("[[:digit:]]", "d]", false),
        ("[^[:digit:]x]", "y", true),
        ("[^[:digit:]x]", "7", false),
        ("x\\dy", "x7y", true),
        ("x\\dy", "xdy", false),
        ("x[\\w.]", "x_", true),
        ("x[\\w.]", "x.", true),
        ("x[\\D]", "x7", false),
        ("\\x41", "A", true),
        ("\\101", "A", true),
        ("\\Qa[b\\E", "a[b", true),
        ("obj\\bin", "objbin", false),
        ("\\bx", "x", true),
        ("\\pL", "\u{3b1}", true),
        ("\\PL", "7", true),
        ("[\\PLx]", "-", true),
        ("a^b", "a^b", true),
        ("a^b*", "a^b", false),
        ("[a]^", "a^", false),
        ("a[-b]", "a-", true),
    ] {
        let list = PatternList::new([(1, pattern)]);
        match (pattern, list) {
            // Go's `filepath.Match` is asked first, and does not know these.
            ("a[-b]" | "\\Qa[b\\E", list) => assert!(list.is_err(), "{pattern}"),
            (_, list) => {
                let verdict = list.unwrap().decide_path(Path::new(path)).0;
                assert_eq!(verdict.is_match(), expected, "{pattern} {path}");
            }
        }
    }
    for pattern in [
        "\\o",
        "x\\8",
        "\\1",
        "[z-a]",
        "\\p{Greek}",
        "\\pY",
        "\\x{263a}",
        "[\\b]",
        "[[:nothing:]]",
        "\\\u{e9}",
        "\\p",
    ] {
        assert!(PatternList::new([(1, pattern)]).is_err(), "{pattern}");
    }
}

#[test]
fn hostile_lists_are_quick() {
    let started = std::time::Instant::now();
    for pattern in [
        "a*".repeat(500) + "b",
        "**/".repeat(300) + "x",
        "a**".repeat(300) + "b",
        "[a-z]*".repeat(200),
        "?".repeat(5000),
        "*".repeat(4000),
        "[a*]".repeat(300) + "!",
    ] {
        // Too long for an expression is an error, and no trouble.
        let Ok(list) = PatternList::new([(1, pattern.as_str())]) else { continue };
        for path in ["a".repeat(3000), "a/".repeat(200) + "c"] {
            list.decide_path(Path::new(&path));
        }
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

/// On Windows no name holds a colon: what is before it is a drive.
const PATHS: &str = if cfg!(windows) { "[ab/.*?d0\\[\\]^\n-]{1,8}" } else { "[ab/.*?d0\\[\\]^:\n-]{1,8}" };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn lists_mean_what_moby_means(
        patterns in prop::collection::vec("!?[ab/*?.d\\\\\\[\\]^:-]{1,7}", 1..4),
        paths in prop::collection::vec(PATHS, 1..12),
    ) {
        let Ok(list) = PatternList::new(patterns.iter().map(|pattern| (1, pattern.as_str()))) else {
            return Ok(());
        };
        let cleaned: Vec<String> =
            patterns.iter().map(|p| p.trim()).filter(|p| !p.is_empty()).map(clean).collect();
        let Some(reference) = Reference::new(&cleaned) else { return Ok(()) };
        for path in paths {
            let path = below_root(&path);
            let text = slashed(&path);
            if text.is_empty() {
                continue;
            }
            let verdict = list.decide_path(&path).0.is_match();
            prop_assert_eq!(verdict, reference.matches(&text), "{:?} {:?}", patterns, text);
        }
    }
}
