mod between;
mod files;
mod hostile;
mod world;

use super::*;

#[test]
fn places_as_orlop_and_skopeo_write_them() {
    for (text, shown) in [
        ("debian", "debian:latest"),
        ("docker://debian:12", "debian:12"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("oci-layout:///x/y", "oci-layout:///x/y"),
        ("oci-layout:///x/y:1", "oci-layout:///x/y:1"),
        ("oci:x:1", "oci-layout://x:1"),
        ("oci:x", "oci-layout://x"),
        ("oci:x:", "oci-layout://x"),
        ("oci:/x:docker.io/library/a:1", "oci-layout:///x:docker.io/library/a:1"),
        (r"oci:C:\x:1", r"oci-layout://C:\x:1"),
        ("oci-archive:a.tar:1", "oci-archive:a.tar:1"),
        ("docker-archive:a.tar:localhost:5000/a:1", "docker-archive:a.tar:localhost:5000/a:1"),
        ("docker-archive:a.tar", "docker-archive:a.tar"),
    ] {
        assert_eq!(text.parse::<Place>().map(|p| p.to_string()), Ok(shown.to_owned()), "{text}");
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    for text in [format!("oci:x@{digest}"), format!("oci-layout://x:1@{digest}")] {
        let place: Place = text.parse().unwrap();
        assert_eq!(place, Place::Layout { path: "x".into(), name: Some(digest.clone()) });
    }
}

#[test]
fn what_is_no_place_says_what_is() {
    for (text, hint) in [
        ("dir:/x", "oci-layout://DIR"),
        ("docker-daemon:a:1", "docker save"),
        ("containers-storage:a", "podman save"),
        ("store:a", "orlop push"),
        ("./x", "oci-layout://DIR"),
    ] {
        let error = text.parse::<Place>().unwrap_err();
        assert!(error.hint().is_some_and(|h| h.contains(hint)), "{text}: {error:?}");
    }
    for text in ["", "oci:", "oci-archive:", "docker-archive:x:UPPER", "oci-layout://", "A B"] {
        assert!(text.parse::<Place>().is_err(), "{text}");
    }
}
