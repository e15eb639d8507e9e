//! The compiled filter against what the profile says, by an interpreter of the BPF that it uses.

use super::*;

/// Runs a program on one call, as the kernel would.
fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(audit.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    for argument in arguments {
        data.extend(argument.to_le_bytes());
    }
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let instruction = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        match instruction.code {
            bpf::LOAD => {
                let offset = instruction.k as usize;
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().expect("four bytes"));
            }
            bpf::JUMP => at += instruction.k as usize,
            bpf::JUMP_EQ => at += jump(accumulator == instruction.k),
            bpf::JUMP_GE => at += jump(accumulator >= instruction.k),
            bpf::JUMP_SET => at += jump(accumulator & instruction.k != 0),
            bpf::RETURN => return instruction.k,
            code => panic!("instruction {code:#x} is not one of ours"),
        }
    }
}

const EPERM: u32 = bpf::ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = bpf::ERRNO | libc::ENOSYS as u32;

struct Case {
    program: Vec<Instruction>,
}

impl Case {
    fn new(capabilities: Capabilities) -> Self {
        let parts: &[(u32, &[Arch])] = &[
            (AUDIT_X86_64, &[Arch::X86_64, Arch::X32]),
            (AUDIT_X86, &[Arch::X86]),
            (AUDIT_AARCH64, &[Arch::Aarch64]),
            (AUDIT_ARM, &[Arch::Arm]),
        ];
        Self { program: compile(parts, capabilities) }
    }

    fn call(&self, arch: Arch, name: &str, arguments: [u64; 6]) -> u32 {
        let number = profile::number(arch, name).unwrap_or_else(|| panic!("{name} is not in the table"));
        self.number(arch, number, arguments)
    }

    fn number(&self, arch: Arch, number: u32, arguments: [u64; 6]) -> u32 {
        let (audit, bit) = match arch {
            Arch::X86_64 => (AUDIT_X86_64, 0),
            Arch::X32 => (AUDIT_X86_64, X32_BIT),
            Arch::X86 => (AUDIT_X86, 0),
            Arch::Aarch64 => (AUDIT_AARCH64, 0),
            Arch::Arm => (AUDIT_ARM, 0),
        };
        run(&self.program, audit, number | bit, arguments)
    }
}

const ARCHES: [Arch; 5] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];

#[test]
fn every_number_gets_what_the_rules_say() {
    for capabilities in [Capabilities::EMPTY, Capabilities::DOCKER_DEFAULT, Capabilities::ALL] {
        let case = Case::new(capabilities);
        for arch in ARCHES {
            let rules = profile::rules(arch, capabilities);
            let newest = profile::newest(arch);
            for number in (0..1200).chain(0xf_0000..0xf_0010) {
                let rule = rules.iter().find(|(known, _)| *known == number).map(|(_, rule)| rule);
                let expected = match rule {
                    Some(Rule::Allow) => bpf::ALLOW,
                    Some(Rule::Errno(errno)) => bpf::ERRNO | errno,
                    Some(Rule::AllowIf { .. }) => continue,
                    None if number > newest => ENOSYS,
                    None => EPERM,
                };
                assert_eq!(case.number(arch, number, [0; 6]), expected, "{arch:?} {number}");
            }
        }
    }
}

#[test]
fn docker_default_refuses_what_breaks_out() {
    let case = Case::new(Capabilities::DOCKER_DEFAULT);
    for arch in ARCHES {
        for name in ["mount", "umount2", "unshare", "setns", "bpf", "kcmp", "init_module", "perf_event_open"]
        {
            assert_eq!(case.call(arch, name, [0; 6]), EPERM, "{arch:?} {name}");
        }
        for name in ["read", "execve", "chroot", "ptrace", "setxattrat", "close_range"] {
            assert_eq!(case.call(arch, name, [0; 6]), bpf::ALLOW, "{arch:?} {name}");
        }
        assert_eq!(case.call(arch, "clone3", [0; 6]), ENOSYS);
    }
    // keyctl, add_key, io_uring_setup, userfaultfd and kexec_load on x86-64; keyctl and vm86 on x86.
    for number in [250, 248, 425, 323, 246] {
        assert_eq!(case.number(Arch::X86_64, number, [0; 6]), EPERM, "{number}");
    }
    for number in [288, 166, 113] {
        assert_eq!(case.number(Arch::X86, number, [0; 6]), EPERM, "{number}");
    }
}

#[test]
fn arguments_are_looked_at() {
    let case = Case::new(Capabilities::DOCKER_DEFAULT);
    let first = |value: u64| [value, 0, 0, 0, 0, 0];
    for arch in ARCHES {
        for family in 0..64 {
            let refused = matches!(family, 12 | 19 | 20 | 23 | 25 | 34 | 37 | 38 | 40) || family > 45;
            let expected = if refused { EPERM } else { bpf::ALLOW };
            assert_eq!(case.call(arch, "socket", first(family)), expected, "{arch:?} family {family}");
        }
        assert_eq!(case.call(arch, "socket", first(1 << 32 | 2)), EPERM);
        for persona in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            assert_eq!(case.call(arch, "personality", first(persona)), bpf::ALLOW);
        }
        for persona in [1, 0x40000, 0x1_0000_0000] {
            assert_eq!(case.call(arch, "personality", first(persona)), EPERM);
        }
        // What fork, pthread_create and vfork ask for, then each kind of namespace.
        for flags in [0x11, 0x003d_0f00, 0x0120_0011, 0x4111] {
            assert_eq!(case.call(arch, "clone", first(flags)), bpf::ALLOW, "{flags:#x}");
        }
        for bit in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
        {
            assert_eq!(case.call(arch, "clone", first(bit | 0x11)), EPERM, "{bit:#x}");
        }
    }
}

#[test]
fn capabilities_open_their_calls() {
    let with = |capability| Case::new(Capabilities::DOCKER_DEFAULT.with(capability));
    assert_eq!(with(crate::Capability::SysAdmin).call(Arch::X86_64, "mount", [0; 6]), bpf::ALLOW);
    assert_eq!(with(crate::Capability::SysAdmin).call(Arch::X86_64, "clone3", [0; 6]), bpf::ALLOW);
    assert_eq!(with(crate::Capability::SysAdmin).call(Arch::X86, "clone", [0x1000_0000; 6]), bpf::ALLOW);
    assert_eq!(with(crate::Capability::SysPtrace).call(Arch::Arm, "kcmp", [0; 6]), bpf::ALLOW);
    assert_eq!(Case::new(Capabilities::EMPTY).call(Arch::X86_64, "chroot", [0; 6]), EPERM);
}

#[test]
fn other_architectures_are_killed_and_the_kernel_takes_the_program() {
    let case = Case::new(Capabilities::ALL);
    assert_eq!(run(&case.program, 0x1234, 0, [0; 6]), bpf::KILL_PROCESS);
    // BPF_MAXINSNS, for the program of one machine.
    assert!(filter(Capabilities::DOCKER_DEFAULT).is_some_and(|program| program.len() < 4096));
    assert_eq!(std::mem::size_of::<Instruction>(), 8);
}

#[test]
fn the_table_agrees_with_the_c_library() {
    assert!(numbers::NUMBERS.is_sorted_by(|a, b| a.0 < b.0));
    #[cfg(target_arch = "x86_64")]
    for (name, number) in [
        ("openat2", libc::SYS_openat2),
        ("rt_sigaction", libc::SYS_rt_sigaction),
        ("fchmodat2", libc::SYS_fchmodat2),
        ("mseal", libc::SYS_mseal),
        ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node),
        ("process_mrelease", libc::SYS_process_mrelease),
    ] {
        assert_eq!(profile::number(Arch::X86_64, name).map(i64::from), Some(number), "{name}");
    }
    assert_eq!(profile::newest(Arch::Arm), 466);
    assert_eq!(profile::newest(Arch::X86_64), 466);
}
