//! What a RUN asks for beyond what every step has, and whether this build grants it: BuildKit's "entitlements".
//!
//! The steps of a build are looked through before the first one runs, and a trigger of a base when its turn comes.

use orlop_runner::Network;

use super::Execution;
use super::stage::StageRun;
use crate::dialect::Dialect;
use crate::dockerfile::{Kind, Run, RunNetwork, RunSecurity};
use crate::error::BuildError;
use crate::source::Span;

/// What a RUN is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    pub(crate) network: Network,
    /// Without the usual confinement.
    pub(crate) insecure: bool,
}

/// What is granted to one RUN.
///
/// # Errors
/// At the flag that asks for what this build does not grant.
pub(crate) fn of(exec: &Execution<'_>, dialect: Dialect, run: &Run) -> Result<Leave, BuildError> {
    let required = run.devices.iter().find(|device| device.value.required);
    if let Some(device) = required {
        let name = &device.value.name;
        return Err(refusal(
            exec,
            device.span,
            &format!("the device `{name}` is required, and orlop gives no devices to steps"),
            "remove `required`, or build this stage with BuildKit where the device is",
        ));
    }
    Ok(Leave { network: network(exec, run)?, insecure: insecure(exec, dialect, run)? })
}

fn refusal(exec: &Execution<'_>, span: Span, message: &str, hint: &str) -> BuildError {
    BuildError::user(message).with_hint(hint.to_owned()).at(&exec.dockerfile().source, span)
}

fn insecure(exec: &Execution<'_>, dialect: Dialect, run: &Run) -> Result<bool, BuildError> {
    let Some(security) = run.security.as_ref().filter(|s| s.value == RunSecurity::Insecure) else {
        return Ok(false);
    };
    if dialect.is_windows() {
        return Err(refusal(
            exec,
            security.span,
            "`RUN --security=insecure` has no meaning on Windows: a step has no Linux capabilities there",
            "remove the flag; what a step may be without there is said with `--isolation`",
        ));
    }
    if !exec.request.allowed.insecure {
        return Err(refusal(
            exec,
            security.span,
            "`RUN --security=insecure` is not allowed in this build",
            "allow it where you trust this Dockerfile with the machine: `orlop build --allow security.insecure`",
        ));
    }
    Ok(true)
}

/// The network of a RUN. What every step may use needs no leave; but what the user took from every step is not given
/// back by the Dockerfile alone.
fn network(exec: &Execution<'_>, run: &Run) -> Result<Network, BuildError> {
    let request = exec.request;
    let Some(asked) = &run.network else { return Ok(request.network) };
    match asked.value {
        RunNetwork::None => Ok(Network::None),
        RunNetwork::Default => Ok(request.network),
        RunNetwork::Host if request.network == Network::Host || request.allowed.host_network => {
            Ok(Network::Host)
        }
        RunNetwork::Host => Err(refusal(
            exec,
            asked.span,
            "`RUN --network=host` is not allowed in a build with `--network none`",
            "allow it with `orlop build --allow network.host`",
        )),
    }
}

impl Execution<'_> {
    /// Looks through every RUN of the stages that will be built, before one of them costs time.
    pub(crate) fn check_entitlements(&self) -> Result<(), BuildError> {
        // What a named context stands for is not run.
        for &index in self.plan.needed.iter().filter(|&&index| !self.plan.stages[index].replaced) {
            let dialect = Dialect::of(&self.plan.stages[index].platform);
            for instruction in &self.dockerfile().stages[index].instructions {
                if let Kind::Run(run) = &instruction.kind {
                    of(self, dialect, run)?;
                }
            }
        }
        Ok(())
    }
}

impl StageRun<'_, '_> {
    /// Of devices there are none. One that is not required is then simply not there, as where BuildKit knows none of
    /// that name.
    pub(crate) fn warn_of_devices(&self, run: &Run) {
        for device in &run.devices {
            self.warn(
                device.span,
                &format!("the device `{}` is not there: orlop gives no devices to steps", device.value.name),
                "write `required` behind its name where the step cannot do without",
            );
        }
    }
}
