use std::collections::BTreeSet;

use orlop_store::Reference;

use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::Dockerfile;
use crate::dockerfile::variables::expand;
use crate::scope::GlobalScope;

/// `InvalidDefaultArgInFrom`: without any `--build-arg`, FROM names no image.
pub(in crate::check) fn invalid_default_arg_in_from(
    file: &Dockerfile,
    globals: &GlobalScope,
    out: &mut Findings,
) {
    let escape = file.directives.escape;
    let mut globals = globals.without_build_args();
    for arg in file.global_args() {
        // What fails here fails the build, or is never needed because the argument is given.
        let Ok(name) = expand(&arg.name.value, escape, &|name| globals.lookup(name)) else { return };
        let default =
            arg.default.as_ref().map(|word| expand(&word.value, escape, &|name| globals.lookup(name)));
        let Ok(default) = default.transpose() else { return };
        globals.declare(&name, default);
    }
    let names = file.stages.iter().filter_map(|stage| stage.from.name.as_ref());
    let names: BTreeSet<_> = names.map(|name| name.value.to_ascii_lowercase()).collect();
    for stage in &file.stages {
        let image = &stage.from.image;
        let Ok(name) = expand(&image.value, escape, &|name| globals.lookup(name)) else { return };
        if name == "scratch"
            || name.starts_with("oci-layout://")
            || names.contains(&name.to_ascii_lowercase())
        {
            continue;
        }
        let reference = name.strip_prefix("docker-image://").unwrap_or(&name);
        if reference.parse::<Reference>().is_err() {
            out.at(stage.from.span, &stage.from.comments);
            let message =
                format!("Default value for ARG {} results in empty or invalid base image name", image.value);
            let hint = match name.as_str() {
                "" => "give the ARG before FROM a default: `ARG NAME=image`".to_owned(),
                _ => format!("its defaults make it `{name}`: give the ARG before FROM another one"),
            };
            out.add(Rule::InvalidDefaultArgInFrom, image.span, message, hint);
        }
    }
}
