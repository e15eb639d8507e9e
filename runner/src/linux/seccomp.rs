//! The system call filter: Docker's default profile, compiled to BPF.
//!
//! One program holds a part for each architecture whose calls the kernel takes (x86-64, x86 and x32; arm64 and
//! arm), so that 32-bit programs run, and run filtered. Calls that no rule allows fail with EPERM; calls that are
//! newer than the profile fail with ENOSYS, so that programs fall back to what they used before.

use crate::Capabilities;

mod bpf;
mod numbers;
mod profile;

pub(crate) use bpf::Instruction;

/// An architecture's system call table; the value is its column in the table of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64 = 0,
    X86 = 1,
    X32 = 2,
    Aarch64 = 3,
    Arm = 4,
}

/// What happens to one system call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Allow,
    Errno(u32),
    /// Allowed when any test on the argument holds, else EPERM.
    AllowIf {
        argument: u8,
        any: Vec<Test>,
    },
}

/// A test on one 64-bit argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal(u64),
    Below(u64),
    /// None of these bits is set.
    NoneOf(u64),
}

/// `AUDIT_ARCH_*` of linux/audit.h.
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_X86: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARM: u32 = 0x4000_0028;
/// Bit that tells x32's numbers from x86-64's, which share an `AUDIT_ARCH`.
const X32_BIT: u32 = 0x4000_0000;

/// The filter for jobs with `capabilities`; `None` on an architecture that the table does not know.
pub(crate) fn filter(capabilities: Capabilities) -> Option<Vec<Instruction>> {
    let parts: &[(u32, &[Arch])] = if cfg!(target_arch = "x86_64") {
        &[(AUDIT_X86_64, &[Arch::X86_64, Arch::X32]), (AUDIT_X86, &[Arch::X86])]
    } else if cfg!(target_arch = "aarch64") {
        &[(AUDIT_AARCH64, &[Arch::Aarch64]), (AUDIT_ARM, &[Arch::Arm])]
    } else {
        return None;
    };
    Some(compile(parts, capabilities))
}

fn compile(parts: &[(u32, &[Arch])], capabilities: Capabilities) -> Vec<Instruction> {
    let mut program = bpf::Program::new();
    for (audit, arches) in parts {
        let mut segments = Vec::new();
        for arch in *arches {
            let base = if *arch == Arch::X32 { X32_BIT } else { 0 };
            segments.extend(self::segments(base, *arch, capabilities));
        }
        program.architecture(*audit, &segments);
    }
    program.finish()
}

/// The rules as a function of the number that is constant piece by piece: where a piece starts, and its rule.
fn segments(base: u32, arch: Arch, capabilities: Capabilities) -> Vec<(u32, Rule)> {
    let mut segments: Vec<(u32, Rule)> = Vec::new();
    let mut push = |start: u32, rule: Rule| {
        if segments.last().is_none_or(|(_, last)| *last != rule) {
            segments.push((base + start, rule));
        }
    };
    let refused = Rule::Errno(libc::EPERM as u32);
    let unknown = Rule::Errno(libc::ENOSYS as u32);
    let newest = profile::newest(arch);
    let mut next = 0;
    for (number, rule) in profile::rules(arch, capabilities) {
        if number > next {
            if next <= newest {
                push(next, refused.clone());
            }
            if number > newest + 1 {
                push((newest + 1).max(next), unknown.clone());
            }
        }
        push(number, rule);
        next = number + 1;
    }
    if next <= newest {
        push(next, refused);
        next = newest + 1;
    }
    push(next, unknown);
    segments
}

#[cfg(test)]
mod tests;
