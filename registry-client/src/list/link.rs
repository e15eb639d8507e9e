//! `Link` (RFC 8288, 3), which names the next page of a list.

/// The target of the link whose relations have `next` among them; an error where the header is not one that can be read,
/// and may therefore have such a link.
pub(super) fn next_link(header: &str) -> Result<Option<String>, &'static str> {
    let mut rest = skip(header);
    while !rest.is_empty() {
        let (target, after) = rest
            .strip_prefix('<')
            .ok_or("no `<` before its URL")?
            .split_once('>')
            .ok_or("no `>` behind its URL")?;
        let (relations, after) = relations(after)?;
        let relations = relations.ok_or("no `rel`")?;
        if relations.split_whitespace().any(|relation| relation.eq_ignore_ascii_case("next")) {
            return Ok(Some(target.trim().to_owned()));
        }
        rest = skip(after);
    }
    Ok(None)
}

/// Past white space and the commas between links; a list may have empty elements.
fn skip(text: &str) -> &str {
    text.trim_start_matches(|c: char| c == ',' || c.is_whitespace())
}

/// The value of the first `rel` among the parameters of one link, and what follows them.
fn relations(text: &str) -> Result<(Option<String>, &str), &'static str> {
    let mut found = None;
    let mut rest = text.trim_start();
    loop {
        if rest.is_empty() || rest.starts_with(',') {
            return Ok((found, rest));
        }
        let after = rest.strip_prefix(';').ok_or("no `;` before a parameter")?.trim_start();
        let end = after.find(|c: char| "=;,".contains(c) || c.is_whitespace()).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start())?;
        if name.eq_ignore_ascii_case("rel") && found.is_none() {
            found = Some(value);
        }
        rest = after.trim_start();
    }
}

/// A quoted string or a token, and what follows it.
fn value_of(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| ";,".contains(c) || c.is_whitespace()).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err("a quoted value has no end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_as_registries_write_them() {
        for (header, target) in [
            ("</v2/x/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/x/tags/list?last=b&n=2")),
            ("</a>;rel=next", Some("/a")),
            ("</a> ; title=\"x\"; REL = \"Next\"", Some("/a")),
            ("</a?n=1,2>; rel=\"prev\", </b?n=1,2>; rel=\"next\"", Some("/b?n=1,2")),
            ("</a>; rel=\"last next\"", Some("/a")),
            ("</a>; rel=\"\tprev  NEXT \"; title=\"a, b; rel=prev \\\" <c>\"", Some("/a")),
            ("</z>; title=\"</b>; rel=next\"; rel=prev, </a>;;rel=next;", Some("/a")),
            // The first `rel` counts.
            ("</a>; rel=prev; rel=next", None),
            ("</a>; anchor; rel=next", Some("/a")),
            ("</a>; rel=\"prev\"", None),
            ("</a>; rel=\"nextpage\"", None),
            (" , ,</a>; rel=next,", Some("/a")),
            ("", None),
        ] {
            assert_eq!(next_link(header), Ok(target.map(str::to_owned)), "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_the_end() {
        for header in [
            "hello",
            "/a; rel=next",
            "</v2/x/tags/list?last=b",
            "</a; rel=\"next\"",
            "</a> rel=next",
            "</a>",
            "</a>; title=next",
            "</a>; rel=\"next",
            "</a>; rel=prev </b>; rel=next",
            "</a>; rel=prev, /b; rel=next",
            "<",
            "\u{fffd}",
        ] {
            assert!(next_link(header).is_err(), "{header}");
        }
    }
}
