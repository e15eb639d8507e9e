use super::quoted;
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::source::Span;

/// Words of a name, between underscores and whatever their case, that speak of a secret.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// Words that speak against it: `PUBLIC_KEY`, `PASSWORD_FILE`, `AUTH_VERSION`.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

/// `SecretsUsedInArgOrEnv`: an ARG or ENV has the name of a secret. Both are written into the image.
pub(in crate::check) fn secrets_used_in_arg_or_env(
    keyword: &str,
    name: &str,
    span: Span,
    out: &mut Findings,
) {
    let says =
        |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)));
    if says(&SECRET) && !says(&HARMLESS) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {})", quoted(name));
        let hint = format!(
            "give it to the step that needs it: `RUN --mount=type=secret,id={},env={name} …`",
            name.to_lowercase()
        );
        out.add(Rule::SecretsUsedInArgOrEnv, span, message, hint);
    }
}
