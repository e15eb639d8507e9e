//! One build for several platforms: a plan and an execution for each, side by side, and one image of each.

use std::sync::{Arc, PoisonError};

use orlop_store::{Image, Platform};

use super::checks::Checks;
use super::{Common, Execution, default_platform, finish_image};
use crate::dialect::Dialect;
use crate::dockerfile::Dockerfile;
use crate::error::BuildError;
use crate::output::Built;
use crate::plan::Plan;
use crate::scope::StageScope;

/// Builds the Dockerfile for every platform that was asked for. The first error ends all of them. The `checks` look
/// at what is built for the first platform, as BuildKit's do.
pub(super) fn build(
    common: &Common<'_>,
    dockerfile: &Arc<Dockerfile>,
    mut checks: Checks<'_>,
) -> Result<Built, BuildError> {
    let platforms = asked(&common.request.platforms);
    let several = platforms.len() > 1;
    let span = common.engine.trace().span("plan", &[]);
    let plans = plans(common, dockerfile, &mut checks, &platforms)?;
    drop(span);
    let executions: Vec<Execution<'_>> = plans
        .into_iter()
        .enumerate()
        .map(|(number, plan)| Execution::new(common, plan, number, several))
        .collect();
    executions.iter().try_for_each(Execution::check_entitlements)?;
    if let Some(execution) = executions.first() {
        execution.warn_about_unknown_stages();
        checks.stages(execution)?;
    }
    let images: Vec<Result<Image, BuildError>> = std::thread::scope(|scope| {
        let image = |execution| {
            common.engine.trace().thread("platform");
            Execution::target(execution).map(|result| finish_image(execution, &result))
        };
        let (first, others) = executions.split_at(1.min(executions.len()));
        let others: Vec<_> = others.iter().map(|execution| scope.spawn(move || image(execution))).collect();
        let mut images: Vec<_> = first.iter().map(image).collect();
        let ended = || BuildError::internal("the build for a platform ended without a result");
        images.extend(others.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(ended()))));
        images
    });
    // Also where the build failed: the value that it lacked may be the one with the slip in its name.
    if let Some(execution) = executions.first() {
        execution.warn_about_unused_arguments();
    }
    if let Some(error) = common.first_error.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    let images = platforms.into_iter().zip(images).map(|(platform, image)| {
        let image = image?;
        Ok((named(platform, &image), image))
    });
    let images = images.collect::<Result<_, BuildError>>()?;
    Execution::warn_about_unused_contexts(&executions);
    Ok(Built { images })
}

/// The platforms, each once.
fn asked(platforms: &[Platform]) -> Vec<Platform> {
    let mut out: Vec<Platform> = Vec::new();
    for platform in platforms {
        if !out.contains(platform) {
            out.push(platform.clone());
        }
    }
    if out.is_empty() {
        out.push(default_platform());
    }
    out
}

/// What an index says that an image is for: what was asked for, and of Windows the version that it has.
fn named(mut platform: Platform, image: &Image) -> Platform {
    let own = image.platform();
    if platform.os == "windows" && own.os == platform.os {
        platform.os_version = platform.os_version.or(own.os_version);
        if platform.os_features.is_empty() {
            platform.os_features = own.os_features;
        }
    }
    platform
}

/// A plan for each platform. A fault that is not the same for all names its platform.
fn plans(
    common: &Common<'_>,
    dockerfile: &Arc<Dockerfile>,
    checks: &mut Checks<'_>,
    platforms: &[Platform],
) -> Result<Vec<Plan>, BuildError> {
    let request = common.request;
    let plan = |platform: &Platform| Plan::of(request, dockerfile, platform);
    let (mut plans, mut faults) = (Vec::new(), Vec::new());
    for (number, platform) in platforms.iter().enumerate() {
        let planned = match number {
            0 => checks.plan(request, common.progress, platform, || plan(platform)),
            _ => plan(platform),
        };
        match planned {
            Ok(plan) => plans.push(plan),
            Err(error) => faults.push((platform, error)),
        }
    }
    let same = faults.len() == platforms.len() && faults.windows(2).all(|f| f[0].1.message == f[1].1.message);
    if let Some((platform, error)) = faults.into_iter().next() {
        return Err(if same { error } else { error.of(&platform.with_version()) });
    }
    Ok(plans)
}

impl Execution<'_> {
    /// How titles and errors call a stage: its name, and where there are several platforms before it that of its
    /// programs, with `->arm64` behind it where the stage sees that it works for another one.
    pub(crate) fn label(&self, index: usize, scope: &StageScope) -> String {
        let name = &self.plan.stages[index].name;
        match self.several {
            true => format!("{} {name}", self.works_for(index, scope)),
            false => name.clone(),
        }
    }

    /// The part of the label before the name.
    pub(crate) fn works_for(&self, index: usize, scope: &StageScope) -> String {
        let own = &self.plan.stages[index].platform;
        let target = target_of(scope, own).filter(|t| t.to_string() != own.to_string());
        match target {
            Some(target) if target.os == own.os => {
                let whole = target.to_string();
                let short = whole.strip_prefix(&format!("{}/", target.os)).unwrap_or(&whole).to_owned();
                format!("{}->{short}", own.with_version())
            }
            Some(target) => format!("{}->{target}", own.with_version()),
            None => own.with_version(),
        }
    }
}

/// The platform that the ARGs of a stage tell, if it asked for one of them.
fn target_of(scope: &StageScope, own: &Platform) -> Option<Platform> {
    let value = |name: &str| scope.lookup(&[], Dialect::Linux, name);
    if let Some(whole) = value("TARGETPLATFORM").and_then(|text| text.parse().ok()) {
        return Some(whole);
    }
    let (os, arch, variant) = (value("TARGETOS"), value("TARGETARCH"), value("TARGETVARIANT"));
    if os.is_none() && arch.is_none() {
        return None;
    }
    let os = os.unwrap_or_else(|| own.os.clone());
    let variant = variant.filter(|v| !v.is_empty()).map(|v| format!("/{v}")).unwrap_or_default();
    format!("{os}/{}{variant}", arch.unwrap_or_else(|| own.architecture.clone())).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_is_named_twice_is_built_once() {
        let platforms: Vec<Platform> =
            ["linux/arm64", "linux/amd64", "linux/arm64/v8"].iter().map(|p| p.parse().unwrap()).collect();
        assert_eq!(asked(&platforms), platforms[..2]);
        assert_eq!(asked(&[]), [default_platform()]);
    }

    #[test]
    fn an_index_names_the_version_of_windows_that_the_image_has() {
        let image = Image::scratch(&"windows(10.0.20348.9)/amd64".parse().unwrap());
        let platform = |text: &str| named(text.parse().unwrap(), &image).with_version();
        assert_eq!(platform("windows/amd64"), "windows(10.0.20348.9)/amd64");
        assert_eq!(platform("windows(10.0.17763.1)/amd64"), "windows(10.0.17763.1)/amd64");
        assert_eq!(platform("linux/amd64"), "linux/amd64");
    }
}
