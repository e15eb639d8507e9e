//! What git said when it failed, as an error that says what to do.

use percent_encoding::percent_decode_str;

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
        &[
            "SSL certificate problem",
            "certificate verification failed",
            "certificate subject name",
            "certificate subject alternative name",
            "error setting certificate",
            "certificate chain",
            "trust error",
        ],
        "the server's certificate is not trusted: name its authority's by `SSL_CERT_FILE`",
    ),
    (
        &["unexpected TLS packet", "wrong version number"],
        "what answers there speaks no TLS: look at the URL's scheme and its port",
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

/// Whether git said one of these, and not of the repository's address, which is made of whatever words its owner likes.
pub(super) fn says(reference: &GitReference, said: &str, parts: &[&str]) -> bool {
    let remote = reference.remote();
    let (host, path) = match remote.split_once("://") {
        Some((_, after)) => after.split_once('/').unwrap_or((after, "")),
        None => remote.split_once(':').unwrap_or((remote, "")),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let path = path.trim_matches('/');
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    // The whole before its parts.
    let own = [remote, path, &decoded, host];
    let said = own.iter().fold(said.to_owned(), |said, own| without(&said, own));
    parts.iter().any(|part| said.contains(part))
}

/// A text without these words, where they are no part of longer ones.
fn without(text: &str, words: &str) -> String {
    if words.is_empty() {
        return text.to_owned();
    }
    let (mut out, mut at) = (String::new(), 0);
    for (start, _) in text.match_indices(words) {
        let end = start + words.len();
        let goes_on = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if !goes_on(text[..start].chars().next_back()) && !goes_on(text[end..].chars().next()) {
            out.push_str(&text[at..start]);
            at = end;
        }
    }
    out + &text[at..]
}

/// Says what a failed exchange with the server means.
pub(super) fn fetching(reference: &GitReference, said: &str) -> BuildError {
    let has = |parts: &[&str]| says(reference, said, parts);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(remote: &str, said: &str) -> String {
        let reference = GitReference::parse(remote).unwrap().unwrap();
        fetching(&reference, said).hint.unwrap_or_default()
    }

    #[test]
    fn what_a_repository_is_called_says_nothing_of_what_is_wrong() {
        let name = "Connection refused/SSL certificate problem/No space left on device/shallow.git";
        for before in ["https://unshallow.example:8/", "git://unshallow.example/", "git@unshallow.example:"] {
            let remote = format!("{before}{name}");
            let reference = GitReference::parse(&remote).unwrap().unwrap();
            let shown = reference.remote();
            for said in [
                format!("fatal: unable to access '{shown}/': The requested URL returned error: 500"),
                format!("fatal: '{name}' is odd"),
                format!("fatal: '/{}' is odd", name.replace(' ', "%20")),
                "ssh: connect to host unshallow.example port 22: odd".to_owned(),
            ] {
                // What is not encoded over ssh is not written so.
                if before.starts_with("git@") && said.contains('%') {
                    continue;
                }
                assert_eq!(hint(&remote, &said), "", "{said}");
                assert!(!says(&reference, &said, &["shallow"]), "{said}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_known_by_gits_own_words() {
        let unable = |why: &str| format!("fatal: unable to access 'https://ssl.example/not/x.git/': {why}");
        for (why, said) in [
            ("SSL certificate problem: unable to get local issuer certificate", "SSL_CERT_FILE"),
            ("server certificate verification failed. CAfile: none CRLfile: none", "SSL_CERT_FILE"),
            ("SSL: no alternative certificate subject name matches target host name 'x'", "SSL_CERT_FILE"),
            ("gnutls_handshake() failed: An unexpected TLS packet was received.", "speaks no TLS"),
            ("Could not resolve host: ssl.example", "look at the host's name"),
            ("Failed to connect to ssl.example port 443: Connection refused", "nobody answers there"),
            ("The requested URL returned error: 403", "GIT_AUTH_TOKEN"),
        ] {
            let hint = hint("https://ssl.example/not/x.git", &unable(why));
            assert!(hint.contains(said), "{why}: {hint}");
        }
        // A branch or a path of few letters takes nothing out of other words.
        assert!(hint("git@h:o", "ERROR: Repository not found.").contains("look at the address"));
    }
}
