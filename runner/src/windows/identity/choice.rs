//! Which identity a job gets: the one that the caller names, else the strongest that the system has.

use super::calls::{Calls, System, TokenFacts};
use super::{Asked, Container};
use crate::windows::security::Sid;
use crate::{Confinement, Identity, Network, RunError};

/// The AppContainer, unless the system has none or the caller wants none.
///
/// # Errors
/// [`RunError::Unsupported`] where the caller named one that cannot be had.
pub(super) fn container(
    name: &str,
    asked: &Asked<'_>,
    system: &System,
    calls: &dyn Calls,
    lines: &mut Vec<Confinement>,
) -> Result<Option<Container>, RunError> {
    let wanted = asked.isolation.identity;
    let said = match wanted {
        Some(Identity::AppContainer) => "an AppContainer",
        Some(Identity::RestrictedToken) => "a restricted token",
        None => "an AppContainer, or a restricted token where the system has none",
    };
    let made = match (&system.wine, wanted) {
        (_, Some(Identity::RestrictedToken)) => Err("as asked for".to_owned()),
        // It lacks them; a version that exports the calls would still not start anything in one.
        (Some(version), _) => Err(format!("Wine {version} has no AppContainers")),
        (None, _) => calls.create_container(name).map_err(|failure| failure.to_string()),
    };
    match (made, wanted) {
        (Ok(sid), _) => {
            // internetClient and privateNetworkClientServer.
            let capabilities = match asked.network {
                Network::Host => vec![Sid::capability(1), Sid::capability(3)],
                Network::None => Vec::new(),
            };
            lines.push(Confinement {
                got: format!("AppContainer {sid}"),
                ..Confinement::full("identity", said)
            });
            Ok(Some(Container { name: name.to_owned(), sid, capabilities }))
        }
        (Err(why), Some(Identity::AppContainer)) => Err(RunError::Unsupported {
            what: "`identity=app-container` of the isolation".into(),
            why,
            hint: Some(
                "leave it out: then a restricted token takes its place, and what that lacks is named".into(),
            ),
        }),
        (Err(why), _) => {
            lines.push(Confinement {
                got: format!("a restricted token ({why})"),
                ..Confinement::full("identity", said)
            });
            Ok(None)
        }
    }
}

/// Whether a process is in the AppContainer that it was started for.
pub(super) fn confirm(container: &Container, got: &TokenFacts) -> Confinement {
    let asked = format!("the AppContainer {}", container.sid);
    match &got.container {
        Some(sid) if *sid == container.sid => Confinement::full("app-container", asked),
        Some(other) => {
            let got = format!("the AppContainer {other}");
            Confinement::lesser("app-container", asked, got, "the system put the step into another one")
        }
        None => Confinement::lesser("app-container", asked, "none", "the system ignored the attribute"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::Recorded;
    use super::super::tests::Case;
    use super::*;
    use crate::windows::identity::Failure;

    fn asks(identity: Identity) -> Case {
        Case { identity: Some(identity), allow: vec!["named-objects"], ..Case::default() }
    }

    fn done(system: &Recorded) -> Vec<String> {
        system.done.lock().expect("not poisoned").clone()
    }

    #[test]
    fn a_restricted_token_where_it_is_named() {
        let system = Recorded::windows((10, 0, 20348), true, true);
        let prepared = asks(Identity::RestrictedToken).prepare(&system).expect("all is there");
        assert!(prepared.container.is_none() && prepared.sid.to_string().starts_with("S-1-9-"));
        let line = prepared.lines.iter().find(|line| line.what == "identity").expect("told");
        assert_eq!(line.to_string(), "identity: a restricted token (as asked for)");
        assert!(!done(&system).iter().any(|done| done.starts_with("profile")), "none is made");
        // What an AppContainer would have had besides is still said, with the flag whole.
        let bare = Case { allow: Vec::new(), ..asks(Identity::RestrictedToken) };
        let (missing, hint) = bare.refusal(&system);
        assert_eq!(missing, ["named-objects"]);
        assert_eq!(hint, "accept less with `--isolation=job,identity=restricted-token,allow=named-objects`");
    }

    #[test]
    fn an_appcontainer_where_it_is_named_or_nothing() {
        let mut system = Recorded::windows((6, 3, 9600), true, true);
        let prepared = asks(Identity::AppContainer).prepare(&system).expect("all is there");
        assert!(prepared.container.is_some());
        drop(prepared);
        system.done = Default::default();
        system.container = Err(Failure { call: "CreateAppContainerProfile", code: 0x8007_0005 });
        for (system, why) in
            [(system, "`CreateAppContainerProfile`: 0x80070005"), (Recorded::wine(), "Wine 8.0")]
        {
            let error = asks(Identity::AppContainer).prepare(&system).expect_err("it cannot be had");
            assert!(matches!(error, RunError::Unsupported { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.starts_with("`identity=app-container` of the isolation is not possible"), "{said}");
            assert!(said.contains(why) && error.hint().is_some(), "{said}");
            assert!(
                !done(&system).iter().any(|done| done.starts_with("restrict")),
                "nothing takes its place"
            );
        }
    }
}
