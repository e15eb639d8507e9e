//! `orlop logout`: a login forgotten, wherever it would be found.

use std::io::{self, Write};

use clap::Args;
use orlop_registry_client::Credentials;
use orlop_registry_client::auth::{without_all, without_login};

use super::login::{DEFAULT, target};
use crate::config::{self, logins::LoginFiles};
use crate::diagnostics::Failure;
use crate::global::Global;
use crate::{file, locked, table};

/// Forget the login to a registry
///
/// It goes from every file that logins are looked for in, and from the credential helpers that these files name. With
/// `--authfile` or REGISTRY_AUTH_FILE that is the one file.
#[derive(Args, Debug)]
pub(crate) struct LogoutArgs {
    /// Registry, `HOST[:PORT]`, or one repository on it, `HOST[:PORT]/NAME` [default: docker.io]
    #[arg(value_name = "REGISTRY", conflicts_with = "all")]
    registry: Option<String>,

    /// Forget all logins: also all that the credential helper of `credsStore` lists
    #[arg(short, long)]
    all: bool,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: &LogoutArgs) -> Result<(), Failure> {
    let files = config::login_files(global)?;
    if args.all {
        return all(&files);
    }
    let target = target(args.registry.as_deref().unwrap_or(DEFAULT))?;
    let credentials = files.known()?;
    let mut known = false;
    for path in files.written() {
        let name = path.display().to_string();
        let Some(bytes) = file::read_optional(path, config::MAX_FILE)? else { continue };
        // Helpers keep logins of registries alone.
        if target.repository().is_empty()
            && let Some(helper) = Credentials::keeper(&name, &bytes, &target)?
        {
            known |= credentials.erase(&helper, &target)?;
        }
        if without_login(&name, &bytes, &target)?.is_some() {
            known |=
                locked::change(path, config::MAX_FILE, |bytes| Ok(without_login(&name, bytes, &target)?))?;
        }
    }
    if !known {
        // Nobody is logged in, which is what was asked for.
        let _ = writeln!(io::stderr(), "nobody was logged in to `{target}`");
        return Ok(());
    }
    if let Some(left) = files.known()?.find(target.registry(), target.repository())? {
        let user = left.user().map(|user| format!(" of `{user}`")).unwrap_or_default();
        let _ = writeln!(io::stderr(), "warning: another login{user} is still good for `{target}`");
    }
    table::lines([format!("Removed the login to {target}")])
}

fn all(files: &LoginFiles) -> Result<(), Failure> {
    let credentials = files.known()?;
    let mut read = Vec::new();
    for path in files.written() {
        let name = path.display().to_string();
        let Some(bytes) = file::read_optional(path, config::MAX_FILE)? else { continue };
        if without_all(&name, &bytes)?.is_some() {
            locked::change(path, config::MAX_FILE, |bytes| Ok(without_all(&name, bytes)?))?;
        }
        read.push((name, bytes));
    }
    // After the files, as a helper that fails keeps its own logins and no others.
    let mut failed = None;
    for (name, bytes) in read {
        if let Err(e) = credentials.erase_all(&name, &bytes) {
            failed.get_or_insert(e);
        }
    }
    failed.map_or(Ok(()), Err)?;
    table::lines(["Removed all logins".to_owned()])
}
