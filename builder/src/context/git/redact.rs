//! Credentials in URLs, taken out of whatever people get to see.

/// The same text, with `xxxxx` for what stands between `://` and `@` in it, as BuildKit writes it. The user
/// of ssh (`git`, mostly) is no secret and stays.
pub(crate) fn redact(text: &str) -> String {
    replaced(text, |user| match user.contains(':') {
        true => "xxxxx:xxxxx@".to_owned(),
        false => "xxxxx@".to_owned(),
    })
}

/// The same text with an `x` for each byte of such credentials, so that every place in it is where it was.
pub fn masked(text: &str) -> String {
    replaced(text, |user| "x".repeat(user.len().saturating_sub(1)) + "@")
}

fn replaced(text: &str, by: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let (user, tail) = user_of(after);
        match !user.is_empty() && (!before.ends_with("ssh://") || user.contains(':')) {
            true => out.push_str(&by(user)),
            false => out.push_str(user),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// What stands before the host, `@` included, and the rest.
fn user_of(after: &str) -> (&str, &str) {
    let until = |stop: fn(char) -> bool| &after[..after.find(stop).unwrap_or(after.len())];
    let word = until(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'));
    let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
    // A password with a `/` that is not encoded ends the authority early, and leaves what is no port.
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let broken = port.is_some_and(|port| !port.ends_with(']') && port.bytes().any(|c| !c.is_ascii_digit()));
    let user = authority.rfind('@').or_else(|| word.rfind('@').filter(|_| broken));
    after.split_at(user.map_or(0, |at| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        for (text, shown) in [
            ("plain", "plain"),
            ("https://h/x.git", "https://h/x.git"),
            ("https://u:p@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("ADD https://t@h/x.git#a@b /d", "ADD https://xxxxx@h/x.git#a@b /d"),
            (
                "a 'https://u:p@h:8/x' b https://v:q@h",
                "a 'https://xxxxx:xxxxx@h:8/x' b https://xxxxx:xxxxx@h",
            ),
            ("https://u:p@q@h/", "https://xxxxx:xxxxx@h/"),
            ("https://u:p/q@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("https://u:p?q#r@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("ssh://git:p@h/x", "ssh://xxxxx:xxxxx@h/x"),
            ("https://h:80/@x://", "https://h:80/@x://"),
            ("https://[::1]/@x", "https://[::1]/@x"),
        ] {
            assert_eq!(redact(text), shown);
            let masked = masked(text);
            assert_eq!(masked.len(), text.len(), "{masked}");
            assert_eq!(masked == text, shown == text, "{masked}");
        }
    }
}
