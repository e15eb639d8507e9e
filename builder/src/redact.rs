//! Credentials in URLs, taken out of whatever people get to see: messages, the lines of a Dockerfile around a fault,
//! and an image's history.

/// The same text, with `xxxxx` for what stands between `://` and `@` in it, as BuildKit writes it. The user
/// of ssh (`git`, mostly) is no secret and stays.
pub(crate) fn redact(text: &str) -> String {
    replaced(text, false, shown)
}

/// The same of a text that is a URL and nothing else, whatever is in it.
pub(crate) fn redact_url(url: &str) -> String {
    replaced(url, true, shown)
}

/// The same text with an `x` for each byte of such credentials, so that every place in it is where it was.
pub fn masked(text: &str) -> String {
    replaced(text, false, |user| "x".repeat(user.len().saturating_sub(1)) + "@")
}

fn shown(user: &str) -> String {
    match user.contains(':') {
        true => "xxxxx:xxxxx@".to_owned(),
        false => "xxxxx@".to_owned(),
    }
}

/// Every byte is looked at a few times and no more, whatever the text: a URL is read up to the next one, and each line
/// is asked once where its last `@` is.
fn replaced(text: &str, whole: bool, by: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    // In a URL alone a line break is one more thing that should not be there.
    let breaks: &[char] = if whole { &[] } else { &['\n', '\r'] };
    for line in text.split_inclusive(breaks) {
        let mut at = 0;
        // Behind the last `@` nobody's name stands before one.
        let last = line.rfind('@').unwrap_or(0);
        while let Some((colon, start)) = separator(line, at).filter(|(_, start)| *start <= last) {
            out.push_str(&line[at..start]);
            let end = if whole { End::Never } else { End::of(line, colon) };
            let user = match end_of_credentials(&line[start..], end) {
                Credentials::None => "",
                Credentials::To(end) => &line[start..start + end],
                Credentials::Unclear => &line[start..=last],
            };
            let scheme = &line.as_bytes()[..colon];
            let ssh = scheme.last_chunk::<3>().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"ssh"));
            match !user.is_empty() && (!ssh || user.contains(':')) {
                true => out.push_str(&by(user)),
                false => out.push_str(user),
            }
            at = start + user.len();
        }
        out.push_str(&line[at..]);
    }
    out
}

/// Where the next `://` begins and ends.
fn separator(line: &str, from: usize) -> Option<(usize, usize)> {
    let colons = line[from..].match_indices(':').map(|(at, _)| from + at);
    colons
        .map(|colon| (colon, behind_separator(&line[colon..])))
        .find_map(|(colon, rest)| Some((colon, line.len() - rest?.len())))
}

/// What follows the `://` that a text begins with. JSON and shells write `\/` for `/` where they like.
fn behind_separator(text: &str) -> Option<&str> {
    fn slash(text: &str) -> Option<&str> {
        text.strip_prefix("\\/").or_else(|| text.strip_prefix('/'))
    }
    slash(slash(text.strip_prefix(':')?)?)
}

/// What a URL goes up to in its line.
#[derive(Clone, Copy)]
enum End {
    /// A blank.
    Blank,
    /// The quote of the kind that it begins with: blanks may be in it.
    Quote(char),
    /// Nothing: it is alone.
    Never,
}

impl End {
    /// Of a URL with this colon.
    fn of(line: &str, colon: usize) -> Self {
        let scheme = |c: &char| c.is_ascii_alphanumeric() || "+-.".contains(*c);
        match line[..colon].chars().rev().take(16).find(|c| !scheme(c)) {
            Some('<') => Self::Quote('>'),
            Some(quote @ ('"' | '\'' | '`')) => Self::Quote(quote),
            _ => Self::Blank,
        }
    }
}

/// What stands before a host.
enum Credentials {
    /// Nothing.
    None,
    /// Up to this place, the `@` included.
    To(usize),
    /// It is no URL, and where a password in it would end cannot be told: perhaps at the last `@`.
    Unclear,
}

/// What of the text behind a `://` stands before a host.
fn end_of_credentials(after: &str, end: End) -> Credentials {
    let mut before = ' ';
    let stop = after.char_indices().find(|&(at, c)| {
        let ends = match end {
            End::Blank => c.is_whitespace(),
            End::Quote(quote) => c == quote && before != '\\',
            End::Never => false,
        };
        before = c;
        // Another one that begins: no text is read twice.
        ends || (c == ':' && behind_separator(&after[at..]).is_some())
    });
    let word = &after[..stop.map_or(after.len(), |(at, _)| at)];
    let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
    let another = stop.is_some_and(|(at, c)| c == ':' && at == authority.len());
    if let Some(at) = authority.rfind('@').filter(|_| !another) {
        return Credentials::To(at + 1);
    }
    // A password with a `/`, a blank or another `://` that is not encoded ends the authority early, and leaves what is
    // no host or no port. A variable may be one.
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port.trim_end_matches('\\'));
    let variable = port.starts_with('$') && !matches!(end, End::Never);
    let is_port = port.ends_with(']')
        || port.bytes().all(|c| c.is_ascii_digit())
        || (variable && port.bytes().all(|c| c.is_ascii_alphanumeric() || b"${_}".contains(&c)));
    match is_port && !another && !authority.contains(char::is_whitespace) {
        true => Credentials::None,
        false => match word.rfind('@').filter(|_| stop.is_none_or(|(_, c)| c != ':')) {
            Some(at) => Credentials::To(at + 1),
            None => Credentials::Unclear,
        },
    }
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
            ("SSH://git@h/x", "SSH://git@h/x"),
            ("ssh://git:p@h/x", "ssh://xxxxx:xxxxx@h/x"),
            ("https://h:80/@x://", "https://h:80/@x://"),
            ("https://[::1]/@x", "https://[::1]/@x"),
            // In quotes a blank ends nothing, and outside what is no port shows that it was none.
            (r#"ADD ["https://u:my pass@h/x.git","/d"]"#, r#"ADD ["https://xxxxx:xxxxx@h/x.git","/d"]"#),
            (r#"ADD ["https://u:12 pass@h/x.git","/d"]"#, r#"ADD ["https://xxxxx:xxxxx@h/x.git","/d"]"#),
            (r#"ADD ["https://my token@h/x.git","/d"]"#, r#"ADD ["https://xxxxx@h/x.git","/d"]"#),
            (r#"ADD ["https://u:my pa/ss@h/x.git"]"#, r#"ADD ["https://xxxxx:xxxxx@h/x.git"]"#),
            (r#"ADD ["https://u:p\"q r@h/x.git"]"#, r#"ADD ["https://xxxxx:xxxxx@h/x.git"]"#),
            (r#"ADD ["https:\/\/u:p@h\/x.git"]"#, r#"ADD ["https:\/\/xxxxx:xxxxx@h\/x.git"]"#),
            ("`https://u:my pass@h/x.git` is", "`https://xxxxx:xxxxx@h/x.git` is"),
            ("ADD https://u:my pass@h/x.git /d", "ADD https://xxxxx:xxxxx@h/x.git /d"),
            ("ADD https://u:\"my pass\"@h/x.git /d", "ADD https://xxxxx:xxxxx@h/x.git /d"),
            ("ADD https://u:p'q@h/x.git /d", "ADD https://xxxxx:xxxxx@h/x.git /d"),
            ("ADD https://u:a://b@h/x.git /d", "ADD https://xxxxx:xxxxx@h/x.git /d"),
            ("ADD https://u@a://b@h/x.git /d", "ADD https://xxxxx:xxxxx@h/x.git /d"),
            // What is none stays.
            ("LABEL url=https://h mail=me@h", "LABEL url=https://h mail=me@h"),
            ("LABEL url=\"https://h:80\" mail=\"me@h\"", "LABEL url=\"https://h:80\" mail=\"me@h\""),
            ("RUN curl https://$H:${P}/x && mail me@h", "RUN curl https://$H:${P}/x && mail me@h"),
            ("RUN curl https://h/a\nRUN mail me@h\n", "RUN curl https://h/a\nRUN mail me@h\n"),
            ("https://u:p\nme@h", "https://u:p\nme@h"),
            ("https://h/@scope/x@1.2 https://h/y", "https://h/@scope/x@1.2 https://h/y"),
        ] {
            assert_eq!(redact(text), shown);
            let masked = masked(text);
            assert_eq!(masked.len(), text.len(), "{masked}");
            assert_eq!(masked == text, shown == text, "{masked}");
        }
    }

    #[test]
    fn a_url_alone_ends_nowhere() {
        for (url, shown) in [
            ("https://u:my pass@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("https://u:12 \"'`pass@h/x.git#a b@c", "https://xxxxx:xxxxx@h/x.git#a b@c"),
            ("https://u:p\nq@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("https://u:$p/q@h/x.git", "https://xxxxx:xxxxx@h/x.git"),
            ("https://h/x y@z.git", "https://h/x y@z.git"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn a_mebibyte_of_anything_is_soon_done() {
        let started = std::time::Instant::now();
        for part in
            ["://", "://@", "a://b:c ", "'://", "\"a://b:c/", "@", ":", ":\\/", "://\n@", "https://u:p@h/x "]
        {
            let text = part.repeat((1 << 20) / part.len());
            assert_eq!(masked(&text).len(), text.len(), "{part}");
            redact(&(text.clone() + "@"));
            redact_url(&text);
        }
        // Where every URL looked at all that follows it, this took hours.
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
    }

    proptest::proptest! {
        /// Whatever a password is made of, no part of it is seen where the URL stands in quotes or alone.
        #[test]
        fn no_password_gets_through(password in "[ -~&&[^@/?#\"'`<>\\\\]]{1,8}", quote in "[\"'`]") {
            let secret = format!("{password}SECRET");
            for text in [
                redact(&format!("ADD [{quote}https://u:{secret}@h/x.git{quote}, \"/d\"]")),
                masked(&format!("ADD {quote}https://u:{secret}@h/x.git{quote} /d")),
                redact_url(&format!("https://u:{secret}@h/x.git")),
            ] {
                proptest::prop_assert!(!text.contains("SECRET"), "{}", text);
            }
        }

        #[test]
        fn places_stay_where_they_are(text in "(a|é| |\n|\\\\|:|/|//|://|@|'|\"|ssh|1){0,30}") {
            proptest::prop_assert_eq!(masked(&text).len(), text.len());
        }
    }
}
