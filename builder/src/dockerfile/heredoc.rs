//! Heredocs: files written in the Dockerfile itself.

use crate::source::Span;

/// A heredoc, `<<NAME` to the line `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes: for COPY and ADD also the name of the file.
    pub name: String,
    /// Where `<<NAME` stands.
    pub span: Span,
    /// The number before `<<`; 0 where there is none.
    pub fd: u32,
    /// The delimiter has no quotes: variables in the content of a COPY or ADD expand.
    pub expand: bool,
    /// `<<-`: leading tabs go away.
    pub chomp: bool,
    /// The lines, each with its line break, as written.
    pub content: String,
    /// Where they stand.
    pub content_span: Span,
}

impl Heredoc {
    /// The content, without the leading tabs of its lines where [`Self::chomp`] asks for that.
    pub fn text(&self) -> String {
        if self.chomp { chomp(&self.content) } else { self.content.clone() }
    }
}

/// `content` without the leading tabs of its lines.
fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
