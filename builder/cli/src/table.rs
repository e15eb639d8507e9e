//! Columns of text for people.

use std::io::Write;

use unicode_width::UnicodeWidthStr as _;

use crate::diagnostics::Failure;
use crate::progress::clean;

/// Writes rows under `heads`, each column as wide as it must be, two spaces between them.
pub(crate) fn write(heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text(heads, rows).as_bytes()).map_err(|error| Failure::stdout(&error))
}

fn text(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = heads.iter().map(|&head| head.to_owned()).collect();
    columns(&[&[heads][..], rows].concat(), 2, true)
}

/// A cell that is wider than this moves what follows in its own row and in no other: blanks for a long one in each of many
/// rows would be more than there is memory for.
const WIDEST: usize = 1000;

/// Rows in columns as wide as they must be, `gap` between them. What is blank at a row's end is left out by `trim`.
pub(crate) fn columns(rows: &[Vec<String>], gap: usize, trim: bool) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).filter(|width| *width <= WIDEST).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0) + gap).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(cell);
            // The last one is as wide as it is.
            if column + 1 < row.len() {
                line.push_str(&" ".repeat(width.saturating_sub(cell.width()).max(gap)));
            }
        }
        out.push_str(if trim { line.trim_end() } else { &line });
        out.push('\n');
    }
    out
}

/// Writes lines to standard output.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").map_err(|error| Failure::stdout(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [vec!["é".to_owned(), "x".to_owned()], vec!["longer".to_owned(), "y\n".to_owned()]];
        assert_eq!(text(&["A", "B"], &rows), "A       B\né       x\nlonger  y\n");
        let rows =
            [vec!["木\nx".to_owned(), "B".to_owned()], vec!["long\u{1b}[2J".to_owned(), String::new()]];
        let shown = columns(&rows, 3, false);
        assert!(
            shown.starts_with("木 x") && shown.lines().count() == 2 && !shown.contains('\u{1b}'),
            "{shown}"
        );
        assert_eq!(text(&["A"], &[vec!["木".to_owned(), "y".to_owned()]]), "A\n木  y\n");
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(columns(&rows, 3, false), "A      B\nlong   \n");
        assert_eq!(columns(&rows, 3, true), "A      B\nlong\n");
        let long = "x".repeat(WIDEST + 1);
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec![long.clone(), "C".to_owned()]];
        assert_eq!(columns(&rows, 1, false), format!("A B\n{long} C\n"));
    }
}
