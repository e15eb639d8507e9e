//! What the figures were taken on.

use std::fs;

use orlop_fixtures::tool::tool;

/// Kernel, CPUs, memory and the file system of the work directory, in one line.
pub(crate) fn describe(work: &std::path::Path) -> String {
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy();
    // A build's own suffix says nothing about speed.
    let kernel = kernel.split('-').next().unwrap_or(&kernel).to_owned();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    format!(
        "{}, Linux {kernel}, {cpus} × {}, {} GiB, {}",
        system.trim_matches('"'),
        model.unwrap_or(std::env::consts::ARCH),
        kib.unwrap_or(0).div_ceil(1 << 20),
        file_system(work)
    )
}

fn file_system(work: &std::path::Path) -> String {
    let output = tool("stat").args(["-f", "-c", "%T"]).arg(work).output();
    let name = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    if name == "ext2/ext3" { "ext4".to_owned() } else { name }
}

/// Today.
pub(crate) fn date() -> String {
    let output = tool("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}
