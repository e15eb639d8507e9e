use crate::check::Rule;
use crate::check::walk::Walk;
use crate::dockerfile::variables::Expander;
use crate::dockerfile::{ExposedPorts, Word};
use crate::error::BuildError;

/// `ExposeProtoCasing`: `EXPOSE 80/TCP`. `ExposeInvalidFormat`: `EXPOSE 127.0.0.1:80:80`, of which only the last part
/// means anything. Variables of EXPOSE are not looked for: it may have any number of words.
pub(in crate::check) fn expose(words: &[Word], walk: &mut Walk<'_>) -> Result<(), BuildError> {
    let expander = Expander::new(walk.dockerfile.directives.escape);
    for word in words {
        let (file, home) = (&walk.dockerfile.source, walk.findings.home(word.span));
        let at = |message: String, hint| BuildError::user(message).with_hint(hint).at(file, home);
        let expanded = walk.scope.expand(&word.value, expander).map_err(|e| at(e.to_string(), e.hint()))?;
        for text in expanded.words {
            let ports = ExposedPorts::parse(&text).map_err(|e| at(e.to_string(), e.hint()))?;
            let plain = text.rsplit(':').next().unwrap_or_default().to_lowercase();
            if ports.odd_case {
                let message = format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
                walk.findings.add(Rule::ExposeProtoCasing, word.span, message, format!("write `{plain}`"));
            }
            if ports.host {
                let message = format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
                );
                let hint =
                    format!("write `{plain}`: which port of the host it is, is said where the image runs");
                walk.findings.add(Rule::ExposeInvalidFormat, word.span, message, hint);
            }
        }
    }
    Ok(())
}
