//! Yes and no as Docker's programs read them.

/// What Go's `strconv.ParseBool` makes of a text; none where it is neither.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
