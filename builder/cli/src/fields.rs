//! Comma-separated fields with CSV's quotes (RFC 4180), as `-o`, `--secret` and `--ssh` have them.

/// Splits `text` at the commas that are not inside double quotes.
pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut out = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    loop {
        match chars.next() {
            Some('"') if quoted => {
                if chars.next_if_eq(&'"').is_some() {
                    field.push('"');
                } else {
                    quoted = false;
                    if chars.peek().is_some_and(|&c| c != ',') {
                        return Err("after a closing quote comes a comma or the end");
                    }
                }
            }
            Some('"') if field.is_empty() => quoted = true,
            Some(',') if !quoted => out.push(std::mem::take(&mut field)),
            Some(c) => field.push(c),
            None if quoted => return Err("a double quote is not closed"),
            None => break,
        }
    }
    out.push(field);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas() {
        assert_eq!(split("a=b,c").unwrap(), ["a=b", "c"]);
        assert_eq!(split("\"name=a,b\",x=\"y").unwrap(), ["name=a,b", "x=\"y"]);
        assert_eq!(split("\"say \"\"hi\"\"\"").unwrap(), ["say \"hi\""]);
        assert_eq!(split("").unwrap(), [""]);
        assert!(split("\"open").is_err());
        assert!(split("\"a\"b").is_err());
    }
}
