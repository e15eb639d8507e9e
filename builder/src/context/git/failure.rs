//! What git said when it failed, as an error that says what to do.

use super::reference::GitReference;
use crate::error::BuildError;

/// Parts of git's messages, and what they mean.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["Permission denied (", "Too many authentication failures"],
        "the server takes none of the agent's keys: `ssh-add` the right one",
    ),
    (
        &["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"],
        "the server has another key than the one in `~/.ssh/known_hosts`: if that is right, `ssh-keygen -R HOST`",
    ),
    (&["cannot run ssh", "ssh: not found"], "the program `ssh` is missing: `apt-get install openssh-client`"),
    (&["Unable to find remote helper"], "git lacks its part for this protocol: `apt-get install git` has it"),
    (
        &[
            "Could not resolve host",
            "unable to look up",
            "Name or service not known",
            "Temporary failure in name resolution",
        ],
        "look at the host's name, and whether this machine reaches it",
    ),
    (
        &[
            "Failed to connect",
            "Connection refused",
            "Connection timed out",
            "unable to connect",
            "Couldn't connect",
        ],
        "nobody answers there: look at the host and the port",
    ),
    (
        &["certificate", "SSL"],
        "the server's certificate is not trusted: name its authority's by `SSL_CERT_FILE`",
    ),
    (
        &["No space left on device", "Disk quota exceeded"],
        "free some space (`orlop store gc`) or choose another store with `--root`",
    ),
];

/// Parts of messages that say that the server wants to know who asks.
const LOGIN: &[&str] = &[
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "error: 401",
    "error: 403",
    "terminal prompts disabled",
];

/// Says what a failed exchange with the server means.
pub(super) fn fetching(reference: &GitReference, said: &str) -> BuildError {
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    let remote = reference.remote();
    let token = "give a token: `--secret id=GIT_AUTH_TOKEN,env=GIT_AUTH_TOKEN`";
    if let Some((_, hint)) = KNOWN.iter().find(|(parts, _)| has(parts)) {
        return error(remote, said).with_hint((*hint).to_owned());
    }
    if has(LOGIN) {
        let out = BuildError::user(format!("`{remote}` wants to know who asks"));
        return out
            .because(cause(said))
            .with_hint(format!("{token} (or `GIT_AUTH_HEADER` with a whole header)"));
    }
    if has(&[
        "not found",
        "error: 404",
        "does not exist",
        "not appear to be a git repository",
        "access denied",
    ]) {
        return BuildError::user(format!("there is no repository `{remote}`, or none for everybody"))
            .because(cause(said))
            .with_hint(match reference.is_ssh() {
                true => "look at the address; the agent's key may lack the right to it".to_owned(),
                false => format!("look at the address; for a private one {token}"),
            });
    }
    if has(&["error: 301", "error: 302", "error: 307", "error: 308"]) {
        return error(remote, said).with_hint(
            "the repository is elsewhere now: a header goes to the address that is written, and no other"
                .to_owned(),
        );
    }
    error(remote, said)
}

fn error(remote: &str, said: &str) -> BuildError {
    BuildError::user(format!("cannot fetch `{remote}`")).because(cause(said))
}

/// The lines that say why: the last `fatal:` or `error:`, else the last line.
pub(super) fn cause(said: &str) -> String {
    let lines: Vec<_> = said.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let tells = |line: &&&str| ["fatal: ", "error: ", "ERROR: "].iter().any(|word| line.starts_with(word));
    let remote = lines.iter().rfind(|line| line.starts_with("remote: ") && line.len() > 12);
    let line = lines.iter().rfind(tells).or(lines.last()).copied().unwrap_or("git failed and said nothing");
    let line = match remote {
        Some(remote) if line.starts_with("fatal: ") => format!("{line} ({remote})"),
        _ => line.to_owned(),
    };
    let line = line.trim_start_matches("fatal: ").trim_start_matches("error: ").trim_start_matches("ERROR: ");
    // A server can say what it likes, to the terminal too.
    line.chars().filter(|c| !c.is_control()).take(400).collect()
}
