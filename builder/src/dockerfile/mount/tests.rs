use super::*;
use crate::source::Span;

fn flag(raw: &str) -> MountFlag {
    MountFlag { span: Span::default(), raw: raw.to_owned(), from: None }
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("no")]
struct No;

fn mount(raw: &str) -> Mount {
    let expand = |value: &str| Ok::<_, No>(value.replace("$X", "/x"));
    flag(raw).resolve(expand).unwrap_or_else(|error| panic!("{raw}: {error}"))
}

#[test]
fn fields_have_their_defaults() {
    let bind = mount("target=$X/y,from=build,source=a");
    assert_eq!((bind.kind, bind.readonly, bind.target.as_deref()), (MountKind::Bind, true, Some("/x/y")));
    assert_eq!((bind.from.as_deref(), bind.source.as_deref(), bind.id), (Some("build"), Some("a"), None));
    assert!(!mount("type=bind,target=/x,rw").readonly);
    assert!(!mount("type=bind,target=/x,readwrite=true").readonly);
    assert!(!mount("type=bind,target=/x,ro=0").readonly);
    let cache = mount("Type=Cache,dst=/a/../b//c/,uid=1,gid=2,mode=0755,sharing=LOCKED");
    assert_eq!((cache.kind, cache.readonly, cache.sharing), (MountKind::Cache, false, Sharing::Locked));
    assert_eq!((cache.id.as_deref(), cache.target.as_deref()), (Some("/b/c"), Some("/a/../b//c/")));
    assert_eq!((cache.uid, cache.gid, cache.mode), (Some(1), Some(2), Some(0o755)));
    assert_eq!(mount("type=tmpfs,target=/t,size=1.5m").size, 1_572_864);
    assert_eq!(mount("type=tmpfs,target=/t,size=2GiB").size, 2 << 30);
    let secret = mount("type=secret,id=key,env=KEY,required");
    assert_eq!(
        (secret.env.as_deref(), secret.required, secret.id.as_deref()),
        (Some("KEY"), true, Some("key"))
    );
    assert_eq!(mount("type=secret,target=/etc/key").id.as_deref(), Some("key"));
    assert_eq!(mount("type=secret,source=s").id.as_deref(), Some("s"));
    assert_eq!(mount("type=ssh").id.as_deref(), Some("default"));
    assert_eq!(mount("type=bind,\"source=a,\"\"b\"\"\",target=/x").source.as_deref(), Some("a,\"b\""));
}

#[test]
fn what_does_not_fit_is_refused() {
    for (raw, message) in [
        ("type=disk,target=/x", "unknown type `disk`"),
        ("type=bind,target", "`target` needs a value"),
        ("type=bind,taget=/x", "unknown field `taget`"),
        ("type=bind,target=/x,mode=755", "a bind mount takes no `mode`"),
        ("type=bind,target=/x,sharing=locked", "a bind mount takes no `sharing`"),
        ("type=cache,target=/x,required", "a cache mount takes no `required`"),
        ("type=cache,target=/x,sharing=all", "unknown sharing `all`"),
        ("type=cache,target=/x,mode=9", "not octal"),
        ("type=cache,target=/x,uid=root", "no id"),
        ("type=cache,target=/x,gid=4294967295", "no id"),
        ("type=cache,target=/x,size=1", "takes no `size`"),
        ("type=tmpfs,target=/x,size=big", "no number of bytes"),
        ("type=tmpfs,target=/x,size=99999999999999p", "no number of bytes"),
        ("type=secret", "needs an `id`"),
        ("type=secret,id=a,source=b", "not both"),
        ("type=secret,id=a,from=b", "takes no `from`"),
        ("type=ssh,source=b", "takes no `source`"),
        ("type=bind,ro=maybe,target=/x", "neither true nor false"),
        ("", "needs a value"),
        ("a\"b", "double quote"),
        ("\"a\"b", "double quote"),
    ] {
        let error = flag(raw).resolve(|value| Ok::<_, No>(value.to_owned())).unwrap_err();
        assert!(error.to_string().contains(message) || raw.is_empty(), "{raw}: {error}");
    }
    let hint = flag("type=bind,taget=/x").resolve(|value| Ok::<_, No>(value.to_owned())).unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("did you mean `target`?"));
}

#[test]
fn a_value_that_does_not_expand_is_an_error_with_its_cause() {
    let error = flag("target=$X").resolve(|_| Err(No)).unwrap_err();
    assert_eq!(error.to_string(), "`--mount=target=$X` cannot be expanded");
    assert!(std::error::Error::source(&error).is_some());
}
