//! Platforms: what an image is for, and which image of several serves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system and processor that an image is for, in Go's words (`linux`, `amd64`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, `linux` or `windows`.
    #[serde(default)]
    pub os: String,
    /// Processor, `amd64`, `arm64`, `arm`, …
    #[serde(default)]
    pub architecture: String,
    /// Variant of the processor, `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system; Windows images carry it.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system; Windows images carry it.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// Text that names no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a platform (expected `os[(version)]/architecture[/variant]`, such as `linux/arm64` or `windows(10.0.20348.587)/amd64`)"
)]
pub struct PlatformParseError(String);

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            variant: (architecture == "arm").then(|| "v7".to_owned()),
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// Whether an image of platform `other` is what was asked for: same system and processor, and the same variant, as
    /// one may leave it out (`arm64` alone means `arm64/v8`).
    pub fn matches(&self, other: &Self) -> bool {
        self.rank(other).is_some_and(|rank| rank.distance == 0)
    }

    /// How well the version of `other`'s operating system serves where `self` was asked for, the best least; none
    /// where it does not. Of Windows the build (the first three numbers) has to be the same where one was asked
    /// for, and the whole version had better be; of several that serve the newest is the best.
    pub fn version_fit(&self, other: &Self) -> Option<VersionFit> {
        let numbers = |text: &str| text.split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u64>>();
        let has = other.os_version.as_deref().map(numbers).unwrap_or_default();
        let newest = std::cmp::Reverse(has.clone());
        let Some(wanted) = self.os_version.as_deref().filter(|v| !v.is_empty()).map(numbers) else {
            return Some(VersionFit { miss: 0, newest });
        };
        let same = |n: usize| wanted.iter().take(n).eq(has.iter().take(n));
        match other.os_version {
            None => Some(VersionFit { miss: 2, newest }),
            Some(_) if wanted == has || (wanted.len() <= 3 && same(wanted.len())) => {
                Some(VersionFit { miss: 0, newest })
            }
            Some(_) if wanted.len() >= 3 && same(3) => Some(VersionFit { miss: 1, newest }),
            Some(_) => None,
        }
    }

    /// With the version of the operating system, where there is one: `windows(10.0.20348.587)/amd64`.
    pub fn with_version(&self) -> String {
        let plain = self.to_string();
        match (&self.os_version, plain.strip_prefix(&self.os)) {
            (Some(version), Some(rest)) => format!("{}({version}){rest}", self.os),
            _ => plain,
        }
    }
}

/// How well a version serves: [`Platform::version_fit`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionFit {
    /// 0: what was asked for. 1: another revision of the build. 2: nobody knows.
    miss: u8,
    newest: std::cmp::Reverse<Vec<u64>>,
}

/// How well an image serves a platform, the best least: [`Platform::rank`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    distance: u32,
    version: VersionFit,
}

/// The distance to code of the processor's 32-bit ancestor: farther than any variant.
const OTHER_PROCESSOR: u32 = 1 << 20;

impl Platform {
    /// How well an image for `has` serves where `self` was asked for; none where it does not run there. The same
    /// variant is best, then the nearest older one (`arm/v7` runs `v6`, `amd64/v2` runs `amd64`), then 32-bit code of
    /// the same family, as containerd's `platforms.Only` has it.
    pub fn rank(&self, has: &Self) -> Option<Rank> {
        if self.os != has.os {
            return None;
        }
        let (wanted, found) = (self.normal(), has.normal());
        let distance = match (wanted.0 == found.0, wanted.1 == found.1) {
            (true, true) => 0,
            (true, false) => level(wanted.1?)?.checked_sub(level(found.1?)?)?,
            (false, _) => match (wanted.0, found.0) {
                ("amd64", "386") => OTHER_PROCESSOR,
                ("arm64", "arm") => OTHER_PROCESSOR + level("v8")?.checked_sub(level(found.1?)?)?,
                _ => return None,
            },
        };
        Some(Rank { distance, version: self.version_fit(has)? })
    }

    /// Architecture and variant by their usual names, with the variant that is meant where none is named.
    fn normal(&self) -> (&str, Option<&str>) {
        let arch = match self.architecture.as_str() {
            "aarch64" => "arm64",
            "x86_64" | "x86-64" => "amd64",
            other => other,
        };
        let default = match arch {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        (arch, self.variant.as_deref().filter(|v| !v.is_empty()).or(default))
    }

    /// Whether both name the same system and processor, whatever the variant: what is asked of an image that
    /// stands alone, because its variant says for what it was made and not what it needs.
    pub fn same_machine(&self, other: &Self) -> bool {
        self.os == other.os && self.architecture == other.architecture
    }
}

impl FromStr for Platform {
    type Err = PlatformParseError;

    /// Parses `os/architecture[/variant]`, an architecture alone or a system alone, with the usual
    /// aliases (`x86_64`, `aarch64`, `armhf`, …), as containerd's platforms package does. Behind the system its
    /// version and features may stand: `windows(10.0.20348.587+win32k)/amd64`.
    fn from_str(text: &str) -> Result<Self, PlatformParseError> {
        let fail = || PlatformParseError(text.to_owned());
        let mut lower = text.to_ascii_lowercase();
        let (mut os_version, mut os_features) = (None, Vec::new());
        if let Some((os, rest)) = lower.clone().split_once('(') {
            let (inside, rest) = rest.split_once(')').ok_or_else(fail)?;
            let mut parts = inside.split('+');
            let is_word = |w: &str| w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !inside.split('+').all(is_word) || !(rest.is_empty() || rest.starts_with('/')) {
                return Err(fail());
            }
            os_version = parts.next().filter(|v| !v.is_empty()).map(str::to_owned);
            os_features = parts.filter(|f| !f.is_empty()).map(str::to_owned).collect();
            lower = format!("{os}{rest}");
        }
        let parts: Vec<&str> = lower.split('/').collect();
        if parts.is_empty()
            || parts.len() > 3
            || parts
                .iter()
                .any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
        {
            return Err(fail());
        }
        let host = Self::host();
        let known_os = |p: &str| {
            matches!(p, "linux" | "windows" | "darwin" | "freebsd" | "netbsd" | "openbsd" | "wasi" | "macos")
        };
        let (os, arch, variant) = match parts.as_slice() {
            [one] if known_os(one) => (*one, host.architecture.as_str(), host.variant.as_deref()),
            [one] => (host.os.as_str(), *one, None),
            [os, arch] => (*os, *arch, None),
            [os, arch, variant] => (*os, *arch, Some(*variant)),
            _ => return Err(fail()),
        };
        let (arch, variant) = match (arch, variant) {
            ("x86_64" | "x86-64", v) => ("amd64", v),
            ("aarch64", v) => ("arm64", v),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("i386" | "i686", _) => ("386", None),
            ("arm", None) => ("arm", Some("v7")),
            ("arm64", Some("8" | "v8")) => ("arm64", None),
            ("amd64", Some("v1")) => ("amd64", None),
            other => other,
        };
        if parts.len() == 1
            && !known_os(parts[0])
            && !matches!(
                arch,
                "amd64" | "arm64" | "arm" | "386" | "ppc64le" | "s390x" | "riscv64" | "mips64le" | "loong64"
            )
        {
            return Err(fail());
        }
        Ok(Self {
            os: if os == "macos" { "darwin".to_owned() } else { os.to_owned() },
            architecture: arch.to_owned(),
            variant: variant.map(|v| if v.starts_with('v') { v.to_owned() } else { format!("v{v}") }),
            os_version,
            os_features,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
/// A variant as a number that grows with what it asks of the processor: `v8.2`, or `7` as some write it.
fn level(variant: &str) -> Option<u32> {
    let text = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor) = (major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?);
    Some(u32::from(major) << 8 | u32::from(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_text() {
        for (text, shown) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/ARM/7", "linux/arm/v7"),
            ("arm64", &format!("{}/arm64", Platform::host().os)),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
        for bad in ["", "a/b/c/d", "linux//x", "nonsense", "linux/ä"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_of_windows() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        let exact = platform("Windows(10.0.20348.587+win32k)/x86_64");
        assert_eq!(exact.os_version.as_deref(), Some("10.0.20348.587"));
        assert_eq!(exact.os_features, ["win32k"]);
        assert_eq!(exact.to_string(), "windows/amd64");
        assert_eq!(exact.with_version(), "windows(10.0.20348.587)/amd64");
        assert_eq!(platform("windows(10.0.17763)").os_version.as_deref(), Some("10.0.17763"));
        for bad in
            ["windows(/amd64", "windows(1)x/amd64", "windows(a b)/amd64", "(1)/amd64", "windows)/amd64"]
        {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        let fit = |wanted: &str, has: &str| platform(wanted).version_fit(&platform(has));
        let any = "windows/amd64";
        let (old, new) = ("windows(10.0.20348.9)/amd64", "windows(10.0.20348.10)/amd64");
        assert!(fit(any, new) < fit(any, old), "the newest, by number");
        assert!(fit(old, old) < fit(old, new) && fit(old, new).is_some(), "the very one first");
        assert!(fit("windows(10.0.20348)/amd64", new) < fit("windows(10.0.20348)/amd64", old));
        assert_eq!(fit("windows(10.0.17763.1)/amd64", new), None);
        assert_eq!(fit("windows(10.0)/amd64", new).map(|f| f.miss), Some(0));
        assert!(!platform("windows(10.0.17763.1)/amd64").matches(&platform(new)));
    }

    #[test]
    fn arm64_alone_means_v8() {
        let plain: Platform = "linux/arm64".parse().unwrap();
        let v8 = Platform { variant: Some("v8".into()), ..plain.clone() };
        assert!(plain.matches(&v8) && v8.matches(&plain));
        assert!(!plain.matches(&"linux/amd64".parse().unwrap()));
    }

    #[test]
    fn older_variants_and_32_bit_code_serve_in_this_order() {
        let rank = |wanted: &str, has: &str| {
            wanted.parse::<Platform>().unwrap().rank(&has.parse::<Platform>().unwrap())
        };
        let chains: [&[&str]; 4] = [
            &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
            &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
            &[
                "linux/arm64/v9",
                "linux/arm64/v8.5",
                "linux/arm64",
                "linux/arm/v8",
                "linux/arm/v7",
                "linux/arm/v5",
            ],
            &["linux/s390x"],
        ];
        for chain in chains {
            for pair in chain.windows(2) {
                let (better, worse) = (rank(chain[0], pair[0]), rank(chain[0], pair[1]));
                assert!(better.is_some() && better < worse, "{pair:?}");
            }
            assert!(chain[1..].iter().all(|newer| rank(newer, chain[0]).is_none()), "{chain:?}");
        }
        for (wanted, has) in
            [("linux/386", "linux/amd64"), ("linux/amd64", "windows/amd64"), ("linux/arm", "linux/arm64")]
        {
            assert_eq!(rank(wanted, has), None, "{wanted} {has}");
        }
    }
}
