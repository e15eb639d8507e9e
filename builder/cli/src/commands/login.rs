//! `orlop login`: a login tried at its registry, and kept.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clap::Args;
use orlop_registry_client::auth::{LoginTarget, with_login};
use orlop_registry_client::{Client, Credential, Credentials, RetryObserver};

use crate::config::{self, logins::LoginFiles};
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::progress::clean;
use crate::system::console;
use crate::{file, locked, session, table};

/// The longest password or token that is taken.
const MAX_PASSWORD: u64 = 64 << 10;
/// The registry where none is named.
pub(super) const DEFAULT: &str = "docker.io";

/// Log in to a registry
///
/// The login is tried first, and kept where the registry takes it: by the credential helper that the file names for
/// the registry, else in the file itself. That is the file of `--authfile` or REGISTRY_AUTH_FILE, else Docker's
/// `config.json` (in DOCKER_CONFIG, else in `~/.docker`), which docker, podman, buildah and skopeo read as well.
#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// Registry, `HOST[:PORT]`, or one repository on it, `HOST[:PORT]/NAME` [default: docker.io]
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,

    /// Name of the user; without, a login that is known already is tried, or the terminal is asked
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// Read the password from standard input; without, the terminal is asked for it
    #[arg(long)]
    password_stdin: bool,

    /// Show who is logged in, and try nothing
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    get_login: bool,

    /// Accept plain HTTP and certificates that nobody vouches for from the registry
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", hide = true)]
    tls_verify: bool,

    /// Taken only to say why it is not.
    #[arg(short, long, value_name = "PASSWORD", num_args = 0..=1, hide = true)]
    password: Option<Option<String>>,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &LoginArgs) -> Result<(), Failure> {
    // First, as a URL may hold a password too, which is not said again.
    let target = target(args.registry.as_deref().unwrap_or(DEFAULT))?;
    if args.password.is_some() {
        let user = args.username.as_deref().unwrap_or("USER");
        return Err(Failure::usage("`--password` would show the password to everybody who lists processes")
            .with_hint(format!(
                "give it on standard input: `orlop login -u {user} --password-stdin {target} < FILE`"
            )));
    }
    let files = config::login_files(global)?;
    if args.get_login {
        return match stored(&files, &target)? {
            Some(credential) => table::lines([credential.user().unwrap_or("<token>").to_owned()]),
            None => Err(Failure::user(format!("nobody is logged in to `{target}`"))),
        };
    }
    let mut global = global.clone();
    if !args.tls_verify {
        global.insecure_registries.push(target.registry().to_owned());
    }
    // A file that cannot be used is told of before anybody types a password.
    let path = files.place_for(&target)?;
    let name = path.display().to_string();
    let keeper = Credentials::keeper(&name, &read(&path)?, &target)?;

    if args.username.is_none()
        && !args.password_stdin
        && let Some(credential) = stored(&files, &target)?
    {
        match attempt(&global, &target, &credential) {
            Ok(_) => {
                let user = credential.user().map(|user| format!(" as `{user}`")).unwrap_or_default();
                note(&format!("the login to `{target}`{user} that is known already is good"));
                return table::lines(["Login Succeeded".to_owned()]);
            }
            Err(failure) if !io::stdin().is_terminal() => return Err(failure),
            Err(failure) => failure.report(),
        }
    }
    let credential = ask(args, &target)?;
    let (checked, kept) = attempt(&global, &target, &credential)?;
    if !checked {
        note(&format!("`{target}` asks for no login: nobody has looked at the password"));
    }
    keep(&files, &path, keeper.as_deref(), &target, &kept)?;
    table::lines(["Login Succeeded".to_owned()])
}

/// What the words on the command line stand for.
pub(super) fn target(text: &str) -> Result<LoginTarget, Failure> {
    LoginTarget::parse(text).map_err(|error| {
        Failure::usage(error.to_string())
            .with_hint("write `HOST[:PORT]`, or `HOST[:PORT]/REPOSITORY` for one repository".to_owned())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(file::read_optional(path, config::MAX_FILE)?.unwrap_or_default())
}

/// The login that is known for just this target, or for its registry where it names a repository.
fn stored(files: &LoginFiles, target: &LoginTarget) -> Result<Option<Credential>, Failure> {
    Ok(files.known()?.find(target.registry(), target.repository())?)
}

/// Tries a login. Whether the registry asked for it, and what is to be kept of it.
fn attempt(
    global: &Global,
    target: &LoginTarget,
    credential: &Credential,
) -> Result<(bool, Credential), Failure> {
    let on_retry = RetryObserver::new(|retry| warn(&session::waiting(retry)));
    let mut config = config::anonymous(global, on_retry)?;
    config.credentials.add(target.registry(), credential.clone());
    let checked = Client::new(config).check_login(target).map_err(|error| {
        let refused = matches!(error.status(), Some(400 | 401 | 403));
        let hint = refused.then(|| {
            "check the user's name and the password; some registries take a token in its place only"
                .to_owned()
        });
        let user = credential.user().map(|user| format!(" as `{user}`")).unwrap_or_default();
        let failure = Failure::user(format!("cannot log in to `{target}`{user}"));
        failure.with_hint(error.hint()).because_of(&error).with_hint(hint)
    })?;
    Ok((checked.asked, checked.identity.unwrap_or_else(|| credential.clone())))
}

/// User and password, from standard input or from whoever sits at the terminal.
fn ask(args: &LoginArgs, target: &LoginTarget) -> Result<Credential, Failure> {
    let failed = |error: io::Error| Failure::user("cannot read the login").because_of(&error);
    if args.password_stdin {
        let user = args.username.clone().ok_or_else(|| {
            Failure::usage("`--password-stdin` needs a user")
                .with_hint(format!("write `orlop login -u USER --password-stdin {target}`"))
        })?;
        let bytes = file::read_limited(io::stdin().lock(), MAX_PASSWORD).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::user("the password is not UTF-8"))?;
        let password = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        return credential(&user, password);
    }
    if !io::stdin().is_terminal() {
        let user = args.username.as_deref().unwrap_or("USER");
        return Err(Failure::usage("there is no terminal to ask for the password").with_hint(format!(
            "give it on standard input: `orlop login -u {user} --password-stdin {target} < FILE`"
        )));
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => {
            prompt("Username: ");
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(failed)?;
            line.trim().to_owned()
        }
    };
    prompt("Password: ");
    let password = console::read_hidden().map_err(failed);
    prompt("\n");
    credential(&user, &password?.ok_or_else(Failure::interrupted)?)
}

/// Refuses what could not be kept as it is, or not be sent.
fn credential(user: &str, password: &str) -> Result<Credential, Failure> {
    let why = if user.is_empty() || user.contains(':') || user.contains(char::is_control) {
        "the name of a user is not empty, and has no colons and control characters"
    } else if password.is_empty() {
        "the password is empty"
    } else if password.contains('\0') {
        "the password has a NUL byte, which files of credentials cannot hold"
    } else {
        return Ok(Credential::Basic { user: user.to_owned(), password: password.to_owned() });
    };
    Err(Failure::usage(why))
}

/// Writes the login, and looks whether it is what will be found.
fn keep(
    files: &LoginFiles,
    path: &Path,
    keeper: Option<&str>,
    target: &LoginTarget,
    credential: &Credential,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    if let Some(helper) = keeper {
        files.known()?.store(helper, target, credential)?;
    }
    let entry = if keeper.is_some() { None } else { Some(credential) };
    locked::change(path, config::MAX_FILE, |bytes| Ok(Some(with_login(&name, bytes, target, entry)?)))?;
    if keeper.is_none() {
        let what = if matches!(credential, Credential::Basic { .. }) { "password" } else { "token" };
        warn(&format!("the {what} is stored unencrypted in `{name}`"));
        hint("a credential helper would keep it better: `\"credsStore\": \"NAME\"` in that file names one");
    }
    if !target.repository().is_empty() && path.ends_with("config.json") {
        warn(
            "docker takes no logins for a single repository from this file; orlop, podman, buildah and skopeo do",
        );
    }
    let found = files.credentials()?.find(target.registry(), target.repository())?;
    let same = match (&found, credential) {
        // Helpers do not keep the name of a token's user.
        (Some(Credential::IdentityToken { token, .. }), Credential::IdentityToken { token: kept, .. }) => {
            token == kept
        }
        (found, kept) => found.as_ref() == Some(kept),
    };
    match found {
        _ if same => {}
        Some(_) => {
            warn(&format!("another login to `{target}` comes before this one: see `orlop logout {target}`"));
        }
        None => warn("`credential-helpers` in registries.conf leaves out where this login is"),
    }
    Ok(())
}

fn note(text: &str) {
    // With standard error gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", clean(text));
}

fn warn(text: &str) {
    note(&format!("warning: {text}"));
}

fn hint(text: &str) {
    note(&format!("hint: {text}"));
}

fn prompt(text: &str) {
    let mut err = io::stderr();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_could_hold_is_refused() {
        assert!(credential("u", "p:q \u{e4}").is_ok());
        for (user, password) in [("", "p"), ("u:v", "p"), ("u\n", "p"), ("u", ""), ("u", "hunter2\0")] {
            let failure = credential(user, password).unwrap_err();
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
    }
}
