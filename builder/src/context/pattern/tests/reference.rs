//! A second opinion on lists of patterns: moby's algorithm taken literally, with a matcher that tries everything.
//! Slow, and sharing nothing with ours.

/// One thing that an expression is made of.
#[derive(Clone, Debug)]
enum Item {
    /// One character of these ranges, or of all others.
    One(Vec<(char, char)>, bool),
    /// Any number of one thing.
    Many(Box<Item>),
    /// `(.*/)?`.
    Directories,
    /// The border of a word.
    Border,
    /// The beginning of the text.
    Start,
}

/// How moby compares a pattern.
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Expression(Vec<Item>),
}

/// moby's loop over a pattern: the expression, and whether it is needed.
fn expression(pattern: &str) -> (String, &'static str) {
    let chars: Vec<char> = pattern.chars().collect();
    let (mut out, mut kind, mut i) = (String::new(), "exact", 0);
    while i < chars.len() {
        let at_start = i == 0;
        let c = chars[i];
        i += 1;
        if c == '*' {
            if chars.get(i) == Some(&'*') {
                i += 1;
                if chars.get(i) == Some(&'/') {
                    i += 1;
                }
                if i == chars.len() {
                    if kind == "exact" {
                        kind = "prefix";
                    } else {
                        out += ".*";
                        kind = "expression";
                    }
                } else {
                    out += "(.*/)?";
                    kind = "expression";
                }
                if at_start {
                    kind = "suffix";
                }
            } else {
                out += "[^/]*";
                kind = "expression";
            }
        } else if c == '?' {
            out += "[^/]";
            kind = "expression";
        } else if ".+()|{}$".contains(c) {
            out.push('\\');
            out.push(c);
        } else if c == '\\' {
            out.push('\\');
            if i < chars.len() {
                out.push(chars[i]);
                i += 1;
                kind = "expression";
            }
        } else {
            out.push(c);
            if c == '[' || c == ']' {
                kind = "expression";
            }
        }
    }
    (out, kind)
}

/// The character after a `\`, or what it stands for; only what the tests below lead to.
fn escaped(c: char) -> Option<Item> {
    let one = |c| Some(Item::One(vec![(c, c)], false));
    match c {
        'a' => one('\u{7}'),
        'd' => Some(Item::One(vec![('0', '9')], false)),
        'b' => Some(Item::Border),
        c if c.is_ascii_alphanumeric() => None,
        c => one(c),
    }
}

fn parse(text: &str) -> Option<Vec<Item>> {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        if chars[i..].starts_with(&['(', '.', '*', '/', ')', '?']) {
            out.push(Item::Directories);
            i += 6;
            continue;
        }
        let item = match chars[i] {
            '\\' => {
                i += 1;
                escaped(*chars.get(i)?)?
            }
            '.' => Item::One(vec![('\n', '\n')], true),
            '^' => Item::Start,
            '[' => {
                let (item, end) = class(&chars, i + 1)?;
                i = end;
                item
            }
            c => Item::One(vec![(c, c)], false),
        };
        i += 1;
        if chars.get(i) == Some(&'*') {
            i += 1;
            out.push(Item::Many(Box::new(item)));
        } else {
            out.push(item);
        }
    }
    Some(out)
}

/// A class from behind its `[`; the place of its `]` as well.
fn class(chars: &[char], mut i: usize) -> Option<(Item, usize)> {
    let negated = chars.get(i) == Some(&'^');
    i += usize::from(negated);
    let (start, mut ranges) = (i, Vec::new());
    while *chars.get(i)? != ']' || i == start {
        if chars[i] == '[' && chars.get(i + 1) == Some(&':') {
            let rest: String = chars[i..].iter().collect();
            if rest.get(2..)?.contains(":]") {
                // The tests have no name that there is.
                return None;
            }
        }
        let end = |i: &mut usize| match chars[*i] {
            '\\' => {
                *i += 1;
                match escaped(*chars.get(*i)?)? {
                    Item::One(ranges, _) => Some(ranges),
                    _ => None,
                }
            }
            c => Some(vec![(c, c)]),
        };
        let low = end(&mut i)?;
        i += 1;
        if low.len() == 1
            && low[0].0 == low[0].1
            && chars.get(i) == Some(&'-')
            && chars.get(i + 1).is_some_and(|c| *c != ']')
        {
            i += 1;
            let high = end(&mut i)?;
            i += 1;
            if high[0].0 != high[0].1 || high[0].0 < low[0].0 {
                return None;
            }
            ranges.push((low[0].0, high[0].0));
        } else {
            ranges.extend(low);
        }
    }
    Some((Item::One(ranges, negated), i))
}

fn takes(item: &Item, c: char) -> bool {
    match item {
        Item::One(ranges, negated) => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
        }
        _ => false,
    }
}

/// Whether the items match all of the text from `at` on.
fn fits(items: &[Item], text: &[char], at: usize) -> bool {
    let Some((item, rest)) = items.split_first() else { return at == text.len() };
    match item {
        Item::One(..) => text.get(at).is_some_and(|c| takes(item, *c)) && fits(rest, text, at + 1),
        Item::Many(inner) => {
            let mut end = at;
            loop {
                if fits(rest, text, end) {
                    return true;
                }
                match text.get(end) {
                    Some(c) if takes(inner, *c) => end += 1,
                    _ => return false,
                }
            }
        }
        Item::Directories => {
            let ends = (at..text.len()).take_while(|&end| end == at || text[end - 1] != '\n');
            fits(rest, text, at) || ends.filter(|&end| text[end] == '/').any(|end| fits(rest, text, end + 1))
        }
        Item::Border => {
            let word = |c: Option<&char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
            let before = at.checked_sub(1).and_then(|i| text.get(i));
            word(before) != word(text.get(at)) && fits(rest, text, at)
        }
        Item::Start => at == 0 && fits(rest, text, at),
    }
}

/// A list of patterns as moby's `New` has it: cleaned by the caller, `!` in front.
pub(super) struct Reference(Vec<(bool, String, Kind)>);

impl Reference {
    /// `None` where one of them cannot be used.
    pub(super) fn new(patterns: &[String]) -> Option<Self> {
        let mut out = Vec::new();
        for pattern in patterns {
            let (exclusion, text) = match pattern.strip_prefix('!') {
                Some(text) => (true, text),
                None => (false, pattern.as_str()),
            };
            let (regex, kind) = expression(text);
            let kind = match kind {
                "exact" => Kind::Exact,
                "prefix" => Kind::Prefix,
                "suffix" => Kind::Suffix,
                _ => Kind::Expression(parse(&regex)?),
            };
            out.push((exclusion, text.to_owned(), kind));
        }
        Some(Self(out))
    }

    fn one(&self, i: usize, path: &str) -> bool {
        let (_, text, kind) = &self.0[i];
        match kind {
            Kind::Exact => path == text,
            Kind::Prefix => path.starts_with(&text[..text.len() - 2]),
            Kind::Suffix => {
                let suffix = &text[2..];
                path.ends_with(suffix) || (suffix.starts_with('/') && path == &suffix[1..])
            }
            Kind::Expression(items) => fits(items, &path.chars().collect::<Vec<_>>(), 0),
        }
    }

    /// `MatchesUsingParentResults`, from the top of the path down, as the walk of a context does.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut parent: Vec<bool> = Vec::new();
        let mut matched = false;
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let here = &path[..end];
            matched = false;
            let mut own = vec![false; self.0.len()];
            for (i, (exclusion, ..)) in self.0.iter().enumerate() {
                let exclusion = *exclusion;
                let mut found = parent.get(i).copied().unwrap_or(false);
                if !found {
                    if exclusion != matched {
                        continue;
                    }
                    found = self.one(i, here);
                }
                own[i] = found;
                if found {
                    matched = !exclusion;
                }
            }
            parent = own;
        }
        matched
    }
}
