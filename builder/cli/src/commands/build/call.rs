//! `--call`: what else can be asked of a Dockerfile than to build it. The answers are on standard output, in the words
//! and the JSON of `docker buildx build --call`. They change nothing, and need a store only for a
//! context that has to be fetched.

mod check;
mod json;
mod outline;
mod targets;

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_builder::request::BuildRequest;
use orlop_builder::source::SourceFile;

use crate::diagnostics::Failure;
use crate::progress::Mode;
use crate::session::App;

/// The names of the methods, as `--call` takes them.
const METHODS: [(&str, Method); 6] = [
    ("build", Method::Build),
    ("check", Method::Check),
    ("lint", Method::Check),
    ("outline", Method::Outline),
    ("targets", Method::Targets),
    ("subrequests.describe", Method::Describe),
];

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Build,
    Check,
    Outline,
    Targets,
    Describe,
}

/// `--call`, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    method: Method,
    json: bool,
    /// Findings of checks are no failure.
    ignore_status: bool,
}

/// Reads `--call=METHOD[,format=text|json][,ignorestatus=BOOL]`.
pub(super) fn parse(text: &str) -> Result<Call, String> {
    let mut call = Call { method: Method::Build, json: false, ignore_status: false };
    for field in crate::fields::split(text)? {
        let Some((key, value)) = field.split_once('=') else {
            if !field.is_empty() {
                call.method = method(&field)?;
            }
            continue;
        };
        match (key.trim().to_ascii_lowercase().as_str(), value) {
            ("format", "json") => call.json = true,
            ("format", "text" | "") => call.json = false,
            ("format", _) => return Err(format!("there is no format `{value}` (use `text` or `json`)")),
            ("ignorestatus", _) => {
                call.ignore_status = orlop_builder::boolean(value)
                    .ok_or_else(|| format!("`ignorestatus` is true or false, not `{value}`"))?;
            }
            _ => return Err(format!("`{key}` is neither `format` nor `ignorestatus`")),
        }
    }
    Ok(call)
}

fn method(name: &str) -> Result<Method, String> {
    if let Some((_, method)) = METHODS.iter().find(|(known, _)| *known == name) {
        return Ok(*method);
    }
    let names = METHODS.map(|(known, _)| known);
    Err(match orlop_builder::nearest(name, names) {
        Some(near) => format!("there is no method `{name}`; did you mean `{near}`?"),
        None => format!(
            "there is no method `{name}` (there are {})",
            names.map(|known| format!("`{known}`")).join(", ")
        ),
    })
}

impl Call {
    /// What both flags together ask for.
    pub(super) fn of(call: Option<Self>, check: bool) -> Result<Self, Failure> {
        let asked = call.unwrap_or(Self { method: Method::Build, json: false, ignore_status: false });
        match (check, asked.method) {
            (false, _) | (_, Method::Check) => Ok(asked),
            (true, Method::Build) => Ok(Self { method: Method::Check, ..asked }),
            (true, _) => Err(Failure::usage("`--check` and another `--call` exclude each other")),
        }
    }

    /// What is to be done.
    pub(super) fn work(self) -> Work {
        let Self { json, ignore_status, .. } = self;
        match self.method {
            Method::Build => Work::Build,
            Method::Describe => Work::Print(targets::describe(json)),
            Method::Check => Work::Answer(Question::Check { json, ignore_status }),
            Method::Outline => Work::Answer(Question::Outline { json }),
            Method::Targets => Work::Answer(Question::Targets { json }),
        }
    }
}

/// What a call of `orlop build` is to do.
pub(super) enum Work {
    Build,
    /// Print what is the same for every Dockerfile.
    Print(String),
    Answer(Question),
}

/// Something asked of a Dockerfile.
#[derive(Clone, Copy)]
pub(super) enum Question {
    Check { json: bool, ignore_status: bool },
    Outline { json: bool },
    Targets { json: bool },
}

impl Question {
    /// Prints the answer.
    pub(super) fn answer(self, app: &App, request: &BuildRequest, mode: Mode) -> Result<(), Failure> {
        match self {
            Self::Check { json, ignore_status } => check::run(app, request, mode, (json, ignore_status)),
            Self::Outline { json } => print(&outline::text(request, json)?),
            Self::Targets { json } => print(&targets::text(request, json)?),
        }
    }
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::stdout(&error))
}

/// The whole text of a Dockerfile, as the answers in JSON have it.
fn sources(file: &SourceFile) -> serde_json::Value {
    serde_json::json!([STANDARD.encode(file.text())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_their_options() {
        let call = |method, json, ignore_status| Call { method, json, ignore_status };
        for (text, expect) in [
            ("build", call(Method::Build, false, false)),
            ("", call(Method::Build, false, false)),
            ("check", call(Method::Check, false, false)),
            ("lint,format=json", call(Method::Check, true, false)),
            ("format=json,check", call(Method::Check, true, false)),
            ("check,ignorestatus=true", call(Method::Check, false, true)),
            ("outline,format=text", call(Method::Outline, false, false)),
            ("targets", call(Method::Targets, false, false)),
            ("subrequests.describe,format=json", call(Method::Describe, true, false)),
        ] {
            assert_eq!(parse(text).unwrap(), expect, "{text}");
        }
        for (text, says) in [
            ("target", "did you mean `targets`"),
            ("ouline", "did you mean `outline`"),
            ("nosuchthing", "`subrequests.describe`"),
            ("check,format=xml", "`json`"),
            ("check,fromat=json", "`format`"),
            ("check,ignorestatus=x", "true or false"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn both_flags() {
        let parsed = |text| Some(parse(text).unwrap());
        assert_eq!(Call::of(None, false).unwrap().method, Method::Build);
        assert_eq!(Call::of(None, true).unwrap().method, Method::Check);
        assert_eq!(Call::of(parsed("build"), true).unwrap().method, Method::Check);
        assert!(Call::of(parsed("check,format=json"), true).unwrap().json);
        assert!(Call::of(parsed("outline"), true).is_err());
    }
}
