//! Classic BPF for seccomp: a decision tree over call numbers, and argument tests at its leaves.

use super::{Rule, Test};

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Load a 32-bit word of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQ: u16 = 0x15;
pub(super) const JUMP_GE: u16 = 0x35;
pub(super) const JUMP_SET: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`. Both architecture families are little-endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;

const fn instruction(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

const fn load(offset: u32) -> Instruction {
    instruction(LOAD, offset, 0, 0)
}

const fn give(value: u32) -> Instruction {
    instruction(RETURN, value, 0, 0)
}

/// A program under construction.
#[derive(Debug)]
pub(super) struct Program(Vec<Instruction>);

impl Program {
    pub(super) fn new() -> Self {
        Self(vec![load(ARCHITECTURE)])
    }

    /// Adds the part for one architecture; `segments` are sorted by start and begin at 0.
    pub(super) fn architecture(&mut self, audit: u32, segments: &[(u32, Rule)]) {
        let mut body = vec![load(NUMBER)];
        tree(segments, &mut body);
        self.0.push(instruction(JUMP_EQ, audit, 1, 0));
        self.0.push(instruction(JUMP, length(&body), 0, 0));
        self.0.append(&mut body);
    }

    /// The finished program: an architecture without a part is killed, as nothing is known of its numbers.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.0.push(give(KILL_PROCESS));
        self.0
    }
}

fn length(code: &[Instruction]) -> u32 {
    u32::try_from(code.len()).unwrap_or(u32::MAX)
}

/// Halves the segments until one is left. Conditional jumps reach 255 instructions, so the far half is reached by
/// an unconditional one, which has 32 bits.
fn tree(segments: &[(u32, Rule)], out: &mut Vec<Instruction>) {
    match segments {
        [] => out.push(give(KILL_PROCESS)),
        [(_, rule)] => leaf(rule, out),
        _ => {
            let (low, high) = segments.split_at(segments.len() / 2);
            let mut body = Vec::new();
            tree(low, &mut body);
            out.push(instruction(JUMP_GE, high[0].0, 0, 1));
            out.push(instruction(JUMP, length(&body), 0, 0));
            out.append(&mut body);
            tree(high, out);
        }
    }
}

fn leaf(rule: &Rule, out: &mut Vec<Instruction>) {
    match rule {
        Rule::Allow => out.push(give(ALLOW)),
        Rule::Errno(errno) => out.push(give(ERRNO | errno)),
        Rule::AllowIf { argument, any } => {
            let low = ARGUMENTS + 8 * u32::from(*argument);
            for test in any {
                check(*test, low, out);
            }
            out.push(give(ERRNO | libc::EPERM as u32));
        }
    }
}

/// Returns "allow" when the test holds, else falls through. Arguments are compared in halves.
fn check(test: Test, low: u32, out: &mut Vec<Instruction>) {
    let (Test::Equal(value) | Test::Below(value) | Test::NoneOf(value)) = test;
    let (high_half, low_half) = ((value >> 32) as u32, value as u32);
    match test {
        Test::Equal(_) => out.extend([
            load(low + 4),
            instruction(JUMP_EQ, high_half, 0, 3),
            load(low),
            instruction(JUMP_EQ, low_half, 0, 1),
            give(ALLOW),
        ]),
        // Above or at the high half's value is decided by equality alone: all bounds here fit the low half.
        Test::Below(_) => out.extend([
            load(low + 4),
            instruction(JUMP_EQ, high_half, 0, 3),
            load(low),
            instruction(JUMP_GE, low_half, 1, 0),
            give(ALLOW),
        ]),
        Test::NoneOf(_) => out.extend([
            load(low + 4),
            instruction(JUMP_SET, high_half, 3, 0),
            load(low),
            instruction(JUMP_SET, low_half, 1, 0),
            give(ALLOW),
        ]),
    }
}
