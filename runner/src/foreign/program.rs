//! The smallest program of a processor: it exits with 0 and does nothing else.

/// How a processor's programs are written down.
struct Machine {
    name: &'static str,
    /// `e_machine` of the ELF header.
    number: u16,
    wide: bool,
    big_endian: bool,
    /// `e_flags`: the calling convention, where the kernel or an emulator looks at it.
    flags: u32,
    /// `exit(0)`.
    code: &'static [u8],
}

/// The processors by Go's names. The code is that of the system call `exit` with 0 in the first argument.
const MACHINES: &[Machine] = &[
    machine("amd64", 62, b"\xb8\x3c\0\0\0\x31\xff\x0f\x05"),
    Machine { wide: false, ..machine("386", 3, b"\xb8\x01\0\0\0\x31\xdb\xcd\x80") },
    machine("arm64", 183, b"\0\0\x80\xd2\xa8\x0b\x80\xd2\x01\0\0\xd4"),
    Machine {
        wide: false,
        flags: 0x0500_0000,
        ..machine("arm", 40, b"\0\0\xa0\xe3\x01\x70\xa0\xe3\0\0\0\xef")
    },
    machine("riscv64", 243, b"\x93\x08\xd0\x05\x13\x05\0\0\x73\0\0\0"),
    Machine { flags: 2, ..machine("ppc64le", 21, b"\x01\0\0\x38\0\0\x60\x38\x02\0\0\x44") },
    Machine { big_endian: true, ..machine("s390x", 22, b"\xa7\x29\0\0\x0a\x01") },
    machine("loong64", 258, b"\x0b\x74\x81\x03\x04\0\x15\0\0\0\x2b\0"),
    Machine { flags: 0x8000_0007, ..machine("mips64le", 8, b"\xc2\x13\x02\x24\0\0\x04\x24\x0c\0\0\0") },
];

const fn machine(name: &'static str, number: u16, code: &'static [u8]) -> Machine {
    Machine { name, number, wide: true, big_endian: false, flags: 0, code }
}

/// The program for `architecture`; none for one that is not in the table.
pub(super) fn program(architecture: &str) -> Option<Vec<u8>> {
    MACHINES.iter().find(|machine| machine.name == architecture).map(Machine::program)
}

/// Where the program is in memory: a place that every emulator has free.
const BASE: u64 = 0x40_0000;
/// What it is aligned to: the largest page of all these processors.
const PAGE: u64 = 0x1_0000;

impl Machine {
    /// An ELF file of one segment, its headers included ("Tool Interface Standard, ELF", version 1.2).
    fn program(&self) -> Vec<u8> {
        let (header, segment): (u16, u16) = if self.wide { (64, 56) } else { (52, 32) };
        let start = u64::from(header + segment);
        let size = start + self.code.len() as u64;
        let mut out = vec![0x7f, b'E', b'L', b'F'];
        out.extend([1 + u8::from(self.wide), 1 + u8::from(self.big_endian), 1]);
        out.resize(16, 0);
        self.half(&mut out, 2); // ET_EXEC
        self.half(&mut out, self.number);
        self.word(&mut out, 1);
        self.address(&mut out, BASE + start);
        self.address(&mut out, u64::from(header));
        self.address(&mut out, 0);
        self.word(&mut out, self.flags);
        for field in [header, segment, 1, 0, 0, 0] {
            self.half(&mut out, field);
        }
        let readable_and_executable = 5;
        self.word(&mut out, 1); // PT_LOAD
        if self.wide {
            self.word(&mut out, readable_and_executable);
        }
        for field in [0, BASE, BASE, size, size] {
            self.address(&mut out, field);
        }
        if !self.wide {
            self.word(&mut out, readable_and_executable);
        }
        self.address(&mut out, PAGE);
        out.extend(self.code);
        out
    }

    fn half(&self, out: &mut Vec<u8>, value: u16) {
        out.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn word(&self, out: &mut Vec<u8>, value: u32) {
        out.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    /// An address or a size: as wide as the processor's.
    fn address(&self, out: &mut Vec<u8>, value: u64) {
        match (self.wide, self.big_endian) {
            (true, true) => out.extend(value.to_be_bytes()),
            (true, false) => out.extend(value.to_le_bytes()),
            // All of them are below 4 GiB.
            (false, _) => self.word(out, value as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_as_long_as_they_say() {
        for machine in MACHINES {
            let program = machine.program();
            let headers = if machine.wide { 64 + 56 } else { 52 + 32 };
            assert_eq!(program.len(), headers + machine.code.len(), "{}", machine.name);
            assert_eq!(&program[headers..], machine.code);
        }
        assert_eq!(program("pdp11"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test starts emulators")]
    fn an_emulator_of_each_processor_runs_its_program() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for machine in MACHINES {
            let emulator = match machine.name {
                "amd64" => "x86_64",
                "386" => "i386",
                "arm64" => "aarch64",
                "loong64" => "loongarch64",
                "mips64le" => "mips64el",
                name => name,
            };
            let path = dir.path().join(machine.name);
            std::fs::write(&path, machine.program()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let emulator = format!("qemu-{emulator}-static");
            let status = std::process::Command::new(&emulator).arg(&path).status();
            let status = status
                .unwrap_or_else(|e| panic!("this test needs `{emulator}` (Debian's qemu-user-static): {e}"));
            assert_eq!(status.code(), Some(0), "{}: {status}", machine.name);
        }
    }
}
