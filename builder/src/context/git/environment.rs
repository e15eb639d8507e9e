//! The whole environment that git runs in.
//!
//! It is given no configuration but this, so that nothing that the machine or the user has configured (hooks, URL
//! rewriting, credential helpers, other transports) plays a part, and no repository can bring its own.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::reference::{GitReference, Transport};
use super::{GitAccess, GitSettings};
use crate::error::BuildError;
use crate::request::Secret;

/// Configuration for every run.
const CONFIG: [(&str, &str); 16] = [
    ("core.hooksPath", if cfg!(windows) { "NUL" } else { "/dev/null" }),
    ("core.fsmonitor", "false"),
    // The same bytes on every system.
    ("core.autocrlf", "false"),
    ("core.longPaths", "true"),
    ("init.defaultBranch", "master"),
    ("advice.detachedHead", "false"),
    // Nothing stays behind that works on when git has ended.
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    // It ends by itself where we are no more and the server says nothing.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "600"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "false"),
    ("protocol.ext.allow", "never"),
    ("protocol.file.allow", "never"),
    // The directory is ours, whoever the store belongs to.
    ("safe.directory", "*"),
];

/// Makes `home` below `dir`, and says all variables.
pub(super) fn of(
    reference: &GitReference,
    dir: &Path,
    access: GitAccess<'_>,
) -> Result<Vec<(OsString, OsString)>, BuildError> {
    let home = dir.join("home");
    fs::create_dir(&home).map_err(|e| BuildError::internal("cannot make a directory for git").because(e))?;
    let mut out = access.settings.variables.clone();
    let mut set = |name: &str, value: OsString| out.push((name.into(), value));
    let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
    let ssh = ssh(&home, access.settings)?;
    for (name, value) in [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", null),
        ("GIT_ATTR_NOSYSTEM", "1"),
        // Of all transports these; `ext::` would run commands, and `file://` read the machine's repositories.
        ("GIT_ALLOW_PROTOCOL", if ssh.is_some() { "http:https:git:ssh" } else { "http:https:git" }),
        // Sample hooks and the like, which differ from machine to machine.
        ("GIT_TEMPLATE_DIR", ""),
        ("LC_ALL", "C"),
    ] {
        set(name, value.into());
    }
    for name in ["HOME", "XDG_CONFIG_HOME"] {
        set(name, home.clone().into());
    }
    // The store may be inside a repository, whose configuration is none of ours.
    set("GIT_CEILING_DIRECTORIES", dir.into());
    if let Some(bundle) = authorities(&home, access.settings)? {
        set("GIT_SSL_CAINFO", bundle.into());
    }
    if reference.is_ssh() {
        let agent = access.ssh.iter().find(|agent| agent.id == "default").ok_or_else(|| {
            BuildError::user(format!(
                "`{reference}` is reached over ssh, and there is no agent to log in with"
            ))
            .with_hint(
                "start one (`eval $(ssh-agent)`, `ssh-add`), and build with `--ssh default`".to_owned(),
            )
        })?;
        if ssh.is_none() {
            return Err(BuildError::user("the store's path is no text, which ssh cannot be told")
                .with_hint("choose another store with `--root`".to_owned()));
        }
        set("SSH_AUTH_SOCK", agent.socket.clone().into());
    }
    // Whatever the repository is reached by: its submodules may be reached over ssh, with no key then, as the agent
    // is for the one that the user named.
    if let Some(command) = ssh {
        set("GIT_SSH_VARIANT", "ssh".into());
        set("GIT_SSH_COMMAND", command.into());
    }
    let mut config: Vec<(String, String)> =
        CONFIG.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    match login(reference, access.secrets)? {
        None => {}
        Some(Login { scope, how: How::Password(user, password) }) => {
            config.push(("credential.useHttpPath".to_owned(), "true".to_owned()));
            config.push(("credential.helper".to_owned(), HELPER.to_owned()));
            set("ORLOP_GIT_SCOPE", as_git_asks(&scope).into());
            set("ORLOP_GIT_USER", user.into());
            set("ORLOP_GIT_PASSWORD", password.into());
        }
        Some(Login { scope, how: How::Header(header) }) => {
            config.push((format!("http.{scope}.extraHeader"), format!("Authorization: {header}")));
            // git sends such a header to whatever place the server sends it to.
            config.push(("http.followRedirects".to_owned(), "false".to_owned()));
        }
    }
    for (n, (key, value)) in config.iter().enumerate() {
        set(&format!("GIT_CONFIG_KEY_{n}"), key.into());
        set(&format!("GIT_CONFIG_VALUE_{n}"), value.into());
    }
    set("GIT_CONFIG_COUNT", config.len().to_string().into());
    Ok(out)
}

/// Where the system's authorities are, together: git takes one file, instead of the system's.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// All authorities in one file, where there are more than the system's.
fn authorities(home: &Path, settings: &GitSettings) -> Result<Option<PathBuf>, BuildError> {
    if settings.authorities.is_empty() {
        return Ok(None);
    }
    let bundle = home.join("authorities.pem");
    let mut all = SYSTEM_AUTHORITIES.iter().find_map(|path| fs::read(path).ok()).unwrap_or_default();
    for path in &settings.authorities {
        let failed = |e| BuildError::user(format!("cannot read `{}`", path.display())).because(e);
        all.push(b'\n');
        all.extend(fs::read(path).map_err(failed)?);
    }
    fs::write(&bundle, all)
        .map_err(|e| BuildError::internal("cannot write certificates for git").because(e))?;
    Ok(Some(bundle))
}

/// ssh without its configuration: it asks nothing, uses the agent's keys alone, and keeps what it learns of
/// servers in `home`. None where that is no text, which ssh cannot be told.
fn ssh(home: &Path, settings: &GitSettings) -> Result<Option<String>, BuildError> {
    let failed = |e| BuildError::internal("cannot write the keys of ssh servers").because(e);
    let known = home.join("known_hosts");
    let mut file = fs::File::create(&known).map_err(failed)?;
    for path in &settings.known_hosts {
        // A user who has none knows no servers.
        if let Ok(keys) = fs::read(path) {
            file.write_all(&keys).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
        }
    }
    let Some(known) = known.to_str() else { return Ok(None) };
    // ssh splits at blanks outside `"` and replaces `%`; the shell before it takes all but `'` as it is.
    let known = known.replace('%', "%%").replace('\'', "'\\''");
    Ok(Some(format!(
        "ssh -F none -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=accept-new \
         -o ConnectTimeout=30 -o ServerAliveInterval=30 -o ControlMaster=no -o ForwardAgent=no \
         -o ClearAllForwardings=yes -o PermitLocalCommand=no -o 'UserKnownHostsFile=\"{known}\"'"
    )))
}

/// Answers git's question for a password, where it is asked for a URL that the password is for. git asks again for
/// the place that a server sends it to, so that this gets nothing that is not its own.
const HELPER: &str = r#"!f() { test "$1" = get || exit 0; while IFS='=' read -r key value; do case "$key" in
protocol) protocol=$value ;; host) host=$value ;; path) path=$value ;; esac; done
case "$protocol://$host/$path" in "$ORLOP_GIT_SCOPE" | "$ORLOP_GIT_SCOPE"/*)
printf 'username=%s\npassword=%s\n' "$ORLOP_GIT_USER" "$ORLOP_GIT_PASSWORD" ;; esac; }; f"#;

/// How git says who it is, and to which URLs: this one and those below it.
#[derive(Debug, PartialEq, Eq)]
struct Login {
    scope: String,
    how: How,
}

#[derive(Debug, PartialEq, Eq)]
enum How {
    Password(String, String),
    /// The whole value of `Authorization`.
    Header(String),
}

/// Of a secret that is for this host alone before others, of a whole header before a token, as BuildKit looks; else
/// what the URL itself says.
fn login(reference: &GitReference, secrets: &[Secret]) -> Result<Option<Login>, BuildError> {
    if reference.transport != Transport::Http {
        return Ok(None);
    }
    let remote = reference.remote();
    let after = remote.find("://").map_or(0, |at| at + 3);
    let host_end = remote[after..].find('/').map_or(remote.len(), |at| after + at);
    let (whole_host, host) = (&remote[..host_end], &remote[after..host_end]);
    let ids = [
        format!("GIT_AUTH_HEADER.{host}"),
        format!("GIT_AUTH_TOKEN.{host}"),
        "GIT_AUTH_HEADER".to_owned(),
        "GIT_AUTH_TOKEN".to_owned(),
    ];
    for id in ids {
        let Some(secret) = secrets.iter().find(|secret| secret.id == id) else { continue };
        let value = std::str::from_utf8(&secret.value).map(|text| text.trim_end_matches(['\n', '\r']));
        let value = value.ok().filter(|text| !text.is_empty() && !text.contains(char::is_control));
        let Some(value) = value else {
            return Err(BuildError::user(format!("the secret `{id}` is not one line of text")));
        };
        let how = match id.starts_with("GIT_AUTH_TOKEN") {
            true => How::Password("x-access-token".to_owned(), value.to_owned()),
            false => password_of(value).unwrap_or_else(|| How::Header(value.to_owned())),
        };
        // For this repository alone. Of GitHub, where submodules are other repositories of the same host and
        // tokens say themselves what they are for, everything.
        let github = ["https://github.com", "https://www.github.com"];
        let scope = if github.contains(&whole_host) { whole_host } else { remote };
        return Ok(Some(Login { scope: scope.to_owned(), how }));
    }
    // The whole host: submodules with relative URLs inherit what the URL of their parent has.
    Ok(reference.credentials.as_ref().map(|(user, password)| Login {
        scope: whole_host.to_owned(),
        how: How::Password(user.clone(), password.clone()),
    }))
}

/// The URL as git says it to whom it asks for a password: host and path percent-decoded, with one `/` before the path
/// and none behind it. What is no text then stays as it is written: git asks for something else, and is told nothing.
fn as_git_asks(url: &str) -> String {
    let decoded = |text| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains('\0') => text.into_owned(),
        _ => text.to_owned(),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = decoded(path.trim_start_matches('/'));
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{}{slash}{path}", decoded(host))
}

/// User and password of a header of the scheme `basic`.
fn password_of(header: &str) -> Option<How> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':').filter(|_| !text.contains(char::is_control))?;
    Some(How::Password(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sent(url: &str, secrets: &[(&str, &str)]) -> Option<Login> {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|(id, value)| Secret { id: (*id).to_owned(), value: Arc::from(value.as_bytes()) })
            .collect();
        login(&GitReference::parse(url).unwrap().unwrap(), &secrets).unwrap()
    }

    fn password(scope: &str, user: &str, password: &str) -> Option<Login> {
        let how = How::Password(user.to_owned(), password.to_owned());
        Some(Login { scope: scope.to_owned(), how })
    }

    fn header(scope: &str, header: &str) -> Option<Login> {
        Some(Login { scope: scope.to_owned(), how: How::Header(header.to_owned()) })
    }

    #[test]
    fn the_nearest_secret_is_sent_and_to_no_other_place() {
        let url = "https://u:p%40@h.example:8/a/b.git";
        let scope = "https://h.example:8/a/b.git";
        let token = ("GIT_AUTH_TOKEN", "t");
        let own_token = ("GIT_AUTH_TOKEN.h.example:8", "own t\n");
        let bearer = ("GIT_AUTH_HEADER", "bearer h");
        let own_bearer = ("GIT_AUTH_HEADER.h.example:8", "bearer own");
        let all = [token, bearer, own_token, own_bearer];
        assert_eq!(sent(url, &all), header(scope, "bearer own"));
        assert_eq!(sent(url, &all[..3]), password(scope, "x-access-token", "own t"));
        assert_eq!(sent(url, &all[..2]), header(scope, "bearer h"));
        assert_eq!(sent(url, &all[..1]), password(scope, "x-access-token", "t"));
        assert_eq!(sent(url, &[]), password("https://h.example:8", "u", "p@"));
        assert_eq!(sent("https://h/x.git", &[("GIT_AUTH_TOKEN.other", "t")]), None);
        assert_eq!(sent("ssh://git@h/x", &[token]), None);
        assert_eq!(sent("github.com/a/b", &[token]), password("https://github.com", "x-access-token", "t"));
        let basic = [("GIT_AUTH_HEADER", "Basic dTpwOnE=")];
        assert_eq!(sent(url, &basic), password(scope, "u", "p:q"));
        for odd in ["basic", "basic ???", "basic dQ==", "basic /w=="] {
            assert_eq!(sent(url, &[("GIT_AUTH_HEADER", odd)]), header(scope, odd));
        }
    }

    /// What git gets for this URL in a directory of that name, without an agent; one of ssh's has one.
    fn variables(url: &str, dir: &std::ffi::OsStr) -> Result<Vec<(OsString, OsString)>, BuildError> {
        let work = tempfile::tempdir().unwrap();
        let dir = work.path().join(dir);
        fs::create_dir(&dir).unwrap();
        let reference = GitReference::parse(url).unwrap().unwrap();
        let agent = [crate::request::SshAgent { id: "default".into(), socket: "/agent".into() }];
        let ssh = if reference.is_ssh() { &agent[..] } else { &[] };
        of(&reference, &dir, GitAccess { settings: &GitSettings::default(), secrets: &[], ssh })
    }

    fn value<'v>(variables: &'v [(OsString, OsString)], name: &str) -> Option<&'v str> {
        variables.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str())
    }

    #[test]
    fn ssh_is_ours_whatever_the_repository_is_reached_by() {
        for url in ["http://h/x.git", "https://u:p@h/x.git", "git://h/x", "ssh://git@h/x", "git@h:x"] {
            let all = variables(url, "work".as_ref()).unwrap();
            let command = value(&all, "GIT_SSH_COMMAND").unwrap();
            assert!(command.starts_with("ssh -F none ") && command.contains("BatchMode=yes"), "{url}");
            assert!(command.contains("IdentityFile=none"), "{url}: {command}");
            assert_eq!(value(&all, "GIT_SSH_VARIANT"), Some("ssh"), "{url}");
            assert_eq!(value(&all, "SSH_AUTH_SOCK").is_some(), url.contains("git@"), "{url}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_store_that_ssh_cannot_be_told_of_does_without() {
        use std::os::unix::ffi::OsStrExt;
        let strange = std::ffi::OsStr::from_bytes(b"a\xffb");
        let all = variables("https://h/x.git", strange).unwrap();
        assert_eq!(value(&all, "GIT_ALLOW_PROTOCOL"), Some("http:https:git"));
        assert_eq!(value(&all, "GIT_SSH_COMMAND"), None);
        let error = variables("git@h:x", strange).unwrap_err();
        assert!(error.to_string().contains("the store's path is no text"), "{error}");
    }

    #[test]
    fn the_place_of_a_password_is_said_as_git_says_it() {
        for (url, place) in [
            ("https://h:8/a/b.git", "https://h:8/a/b.git"),
            ("https://h/my%20app.git", "https://h/my app.git"),
            ("https://h//a//b%2Fc.git/", "https://h/a//b/c.git"),
            ("http://[fe80::1%25eth0]/%c3%a9.git", "http://[fe80::1%eth0]/é.git"),
            ("https://github.com", "https://github.com"),
            ("https://h/%e9%00.git", "https://h/%e9%00.git"),
            ("https://h/100%.git", "https://h/100%.git"),
        ] {
            assert_eq!(as_git_asks(url), place);
        }
    }

    #[test]
    fn a_secret_that_would_be_two_headers_is_refused() {
        let secret = Secret { id: "GIT_AUTH_HEADER".into(), value: Arc::from(&b"a\r\nX: y"[..]) };
        let reference = GitReference::parse("https://h/x.git").unwrap().unwrap();
        let error = login(&reference, &[secret]).unwrap_err();
        assert!(!error.to_string().contains('y'), "{error}");
    }
}
