//! The text of a reference, taken apart; and the address in it.

use super::{Complaint, Transport, plain};

/// A text taken apart before anything of it is believed.
pub(super) struct Parts<'t> {
    pub(super) text: &'t str,
    pub(super) form: Form<'t>,
    pub(super) query: Option<&'t str>,
    pub(super) fragment: Option<&'t str>,
}

pub(super) enum Form<'t> {
    /// What stands before and after `://`.
    Url { scheme: &'static str, rest: &'t str },
    /// `user@host:path`.
    Scp { user: &'t str, host: &'t str, path: &'t str },
}

/// What stands before `?` and `#`, and what behind each.
fn ends(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (before, fragment) = match text.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (text, None),
    };
    match before.split_once('?') {
        Some((address, query)) => (address, Some(query), fragment),
        None => (before, None, fragment),
    }
}

/// Takes apart `github.com/…`.
pub(super) fn split_short(text: &str) -> Option<Parts<'_>> {
    let (rest, query, fragment) = ends(text);
    let form = Form::Url { scheme: "https", rest };
    rest.starts_with("github.com/").then_some(Parts { text, form, query, fragment })
}

/// Takes a text apart, if it is of another form that names a repository.
pub(super) fn split(text: &str) -> Option<Parts<'_>> {
    if text.starts_with("./") || text.starts_with("../") {
        return None;
    }
    let (address, query, fragment) = ends(text);
    let form = if let Some((scheme, rest)) = address.split_once("://") {
        let known = ["http", "https", "ssh", "git"];
        let scheme = known.into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
        // Any file can be fetched over http; what ends in `.git` is meant as a repository.
        if scheme.starts_with("http") && !path_of(rest).ends_with(".git") {
            return None;
        }
        Form::Url { scheme, rest }
    } else {
        let (user, rest) = address.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let word = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        if !word(user, b"-_") || !word(host, b"-.") {
            return None;
        }
        Form::Scp { user, host, path }
    };
    Some(Parts { text, form, query, fragment })
}

fn path_of(rest: &str) -> &str {
    rest.find('/').map_or("", |at| &rest[at..])
}

type Address = (String, Option<(String, String)>, Transport);

/// Reads what stands around `://`.
pub(super) fn url(scheme: &'static str, rest: &str) -> Result<Address, Complaint> {
    let path = path_of(rest);
    let authority = &rest[..rest.len() - path.len()];
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(char::is_whitespace)) {
        return Err(plain("has a blank in its user or password").hint("write `%20` for it"));
    }
    host_is_sane(host)?;
    if path.trim_matches('/').is_empty() {
        return Err(plain("names a host and no repository"));
    }
    let path = path.replace(' ', "%20");
    let password = user.is_some_and(|user| user.contains(':'));
    match scheme {
        "ssh" if password => Err(plain("has a password in it, which ssh does not take")
            .hint("give a key by an agent: `--ssh default`")),
        "ssh" => match user {
            Some(user) if user.starts_with('-') => Err(plain("would be an option of ssh")),
            Some(user) => Ok((format!("ssh://{user}@{host}{path}"), None, Transport::Ssh)),
            None => Ok((format!("ssh://{host}{path}"), None, Transport::Ssh)),
        },
        "git" if user.is_some() => Err(plain("has a user in it, whom git's own protocol does not know")
            .hint("write an `https://` or `ssh://` URL")),
        "git" => Ok((format!("git://{host}{path}"), None, Transport::Git)),
        _ => {
            let address = format!("{scheme}://{host}{path}");
            url::Url::parse(&address).map_err(|e| plain(format!("is no URL: {e}")))?;
            let credentials = user.filter(|user| !user.is_empty()).map(|user| {
                let (user, password) = user.split_once(':').unwrap_or((user, ""));
                let text = |part| decoded(part).filter(|text| !text.contains(char::is_control));
                Some((text(user)?, text(password)?))
            });
            let credentials = match credentials {
                Some(None) => return Err(plain("has credentials that are no text")),
                Some(both) => both,
                None => None,
            };
            Ok((address, credentials, Transport::Http))
        }
    }
}

pub(super) fn host_is_sane(host: &str) -> Result<(), Complaint> {
    if host.is_empty() {
        return Err(plain("names no host"));
    }
    // ssh would take it for an option; so it is never begun.
    if host.starts_with('-') {
        return Err(plain("has a host that begins with `-`"));
    }
    if !host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._:[]%".contains(&c)) {
        return Err(plain("has a host that no host can be called"));
    }
    Ok(())
}

/// Percent-decoded; `None` where the bytes are no text.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok())?;
            out.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}
