//! "Did you mean": the nearest of some names.

/// The name of `names` that `typed` is most likely a slip of, if any is near enough.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer text is not a slip, and the comparison below is quadratic.
    const MOST: usize = 32;
    let typed: Vec<char> = typed.chars().take(MOST + 1).flat_map(char::to_lowercase).collect();
    if typed.is_empty() || typed.len() > MOST {
        return None;
    }
    let allowed = match typed.len() {
        1 => 0,
        2..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    names
        .into_iter()
        .map(|name| (distance(&typed, &name.to_lowercase().chars().collect::<Vec<_>>(), true), name))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", if any of `names` is near.
pub(crate) fn did_you_mean<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(typed, names).map(|name| format!("did you mean `{name}`?"))
}

/// The number of characters inserted, left out, replaced or, where that counts as one slip, swapped with their neighbour.
pub(crate) fn distance(a: &[char], b: &[char], swaps: bool) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if swaps && i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        for (typed, meant) in
            [("FORM", "FROM"), ("rnu", "RUN"), ("COPYY", "COPY"), ("ENTRYPONT", "ENTRYPOINT")]
        {
            assert_eq!(nearest(typed, names), Some(meant), "{typed}");
        }
        for other in ["", "X", "apt-get", "BUILD"] {
            assert_eq!(nearest(other, names), None, "{other}");
        }
    }
}
