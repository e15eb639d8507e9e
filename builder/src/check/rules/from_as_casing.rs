use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::From;

/// `FromAsCasing`: `FROM … as` or `from … AS`. A FROM in both cases is another rule's.
pub(in crate::check) fn from_as_casing(from: &From, out: &mut Findings) {
    let Some((keyword, _)) = &from.alias else { return };
    let written = &from.keyword.value;
    let meant = if *written == written.to_lowercase() {
        "as"
    } else if *written == written.to_uppercase() {
        "AS"
    } else {
        return;
    };
    if keyword.value != meant {
        let message = format!("'{}' and '{written}' keywords' casing do not match", keyword.value);
        out.add(Rule::FromAsCasing, keyword.span, message, format!("write `{meant}`"));
    }
}
