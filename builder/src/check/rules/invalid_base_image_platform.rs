use orlop_store::{Image, Platform};

use super::quoted;
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::From;

/// `InvalidBaseImagePlatform`: what the name of a base stands for is an image of another platform.
pub(in crate::check) fn invalid_base_image_platform(
    from: &From,
    image: &Image,
    expected: &Platform,
    out: &mut Findings,
) {
    let actual = image.platform();
    if actual.os.is_empty() && actual.architecture.is_empty() {
        return;
    }
    if actual.os != expected.os || actual.architecture != expected.architecture {
        let message = format!(
            "Base image {} was pulled with platform {}, expected {} for current build",
            from.image.value,
            quoted(&actual.to_string()),
            quoted(&expected.to_string())
        );
        let hint = format!("build with `--platform {actual}`, or take a base for {expected}");
        out.add(Rule::InvalidBaseImagePlatform, from.image.span, message, hint);
    }
}
