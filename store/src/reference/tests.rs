use super::*;

fn parse(text: &str) -> Result<String, ReferenceError> {
    text.parse::<Reference>().map(|r| r.to_string())
}

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn names_are_completed_as_docker_does() {
    let pinned = format!("debian@sha256:{HEX}");
    for (text, full, familiar) in [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("a/b", "docker.io/a/b:latest", "a/b:latest"),
        ("library/x", "docker.io/library/x:latest", "x:latest"),
        ("library/x/y", "docker.io/library/x/y:latest", "library/x/y:latest"),
        ("docker.io/x", "docker.io/library/x:latest", "x:latest"),
        ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("r.io/a_b/c__d/e--f", "r.io/a_b/c__d/e--f:latest", "r.io/a_b/c__d/e--f:latest"),
        ("Host/x", "Host/x:latest", "Host/x:latest"),
        ("127.0.0.1:5/x", "127.0.0.1:5/x:latest", "127.0.0.1:5/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
        ("x:T_a.g-1", "docker.io/library/x:T_a.g-1", "x:T_a.g-1"),
        (&pinned, &format!("docker.io/library/{pinned}"), &pinned),
    ] {
        let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.to_string(), full);
        assert_eq!(reference.familiar(), familiar);
        assert_eq!(full.parse::<Reference>().unwrap(), reference, "round trip of {full}");
    }
}

#[test]
fn short_names_are_known_and_equal_to_full_ones() {
    for (text, short) in [
        ("debian:12", Some("debian")),
        ("team/app", Some("team/app")),
        ("library/x", Some("library/x")),
        ("library/x/y", Some("library/x/y")),
        ("docker.io/library/debian:12", None),
        ("docker.io/debian", None),
        ("localhost/x", None),
        ("r.io/x", None),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.short_name(), short, "{text}");
        assert_eq!(reference.is_short(), short.is_some(), "{text}");
    }
    let (short, full): (Reference, Reference) =
        ("debian:12".parse().unwrap(), "docker.io/library/debian:12".parse().unwrap());
    assert_eq!(short, full);
    assert_eq!(std::collections::HashSet::from([short.clone(), full]).len(), 1);
    let other = short.in_repository("r.io/team/debian").unwrap();
    assert_eq!((other.to_string().as_str(), other.is_short()), ("r.io/team/debian:12", false));
}

#[test]
fn a_digest_takes_the_place_of_the_default_tag() {
    let both: Reference = format!("r.io/x:1@sha256:{HEX}").parse().unwrap();
    assert_eq!((both.tag(), both.digest().map(Digest::hex)), (Some("1"), Some(HEX.to_owned())));
    let only: Reference = format!("r.io/x@sha256:{HEX}").parse().unwrap();
    assert_eq!(only.tag(), None);
    assert_eq!(only.without_digest().to_string(), "r.io/x:latest");
}

#[test]
fn what_is_no_name_is_refused() {
    let long = format!("a/{}", "b".repeat(254));
    let long_tag = format!("a:{}", "b".repeat(129));
    for bad in [
        "",
        "scratch",
        HEX,
        &format!("sha256:{HEX}"),
        "Debian",
        "a/B",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:b:c",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a._b",
        "a b",
        "ä",
        "a@sha256:12",
        "a@md5:0123",
        "a:-x",
        "-host.io/x",
        "h.io:/x",
        "h.io:x/y",
        "[::1/x",
        "https://r.io/x",
        &long,
        &long_tag,
        "a@",
        "@",
        ":",
        "a\n",
    ] {
        assert!(parse(bad).is_err(), "{bad:?} gave {:?}", parse(bad));
    }
    let fits = format!("a/{}", "b".repeat(253));
    assert!(parse(&fits).is_ok());
}

#[test]
fn errors_say_what_to_write() {
    let error = "Debian:12".parse::<Reference>().unwrap_err();
    assert_eq!(error.to_string(), "`Debian:12` is not an image name: the repository must be lower case");
    assert_eq!(error.hint().unwrap(), "write `debian:12`");
    let error = "https://r.io/x".parse::<Reference>().unwrap_err();
    assert_eq!(error.hint().unwrap(), "leave out the scheme: `r.io/x`");
}

#[test]
fn ids_and_their_starts() {
    assert!(is_image_id(HEX));
    assert_eq!(image_id_prefix("cafe"), Some("cafe"));
    assert_eq!(image_id_prefix("sha256:c"), Some("c"));
    assert_eq!(image_id_prefix(HEX), Some(HEX));
    for name in ["debian", "CAFE", "", "c", "cafe:1", "sha256:"] {
        assert_eq!(image_id_prefix(name), None, "{name}");
    }
}
