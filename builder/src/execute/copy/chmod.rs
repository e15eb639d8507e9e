//! `--chmod`: modes by number and by symbol, as chmod(1) has them.

use std::str::FromStr;

/// What becomes of a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chmod {
    text: String,
    change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Absolute(u32),
    Symbolic(Vec<Clause>),
}

/// `who` `op` `what`: one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clause {
    /// Bits that may change.
    who: u32,
    op: Op,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// These bits, and the execute bits too where `X` says so.
    Bits { bits: u32, x_if_any: bool },
    /// The bits of user (shift 6), group (3) or others (0).
    CopyOf(u32),
}

/// A `--chmod` that is no mode.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid chmod parameter: `{text}` (expected an octal number up to 7777, or symbols such as `u=rwX,go=rX`)"
)]
pub struct ChmodError {
    text: String,
}

impl ChmodError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        self.text.contains(['8', '9']).then(|| "an octal number has no 8 and no 9".to_owned())
    }
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHERS: u32 = 0o0007;
const STICKY: u32 = 0o1000;
/// Without `who` a symbolic mode leaves alone what the umask takes, as chmod(1) does; the umask of a
/// build is always this.
const UMASK: u32 = 0o022;

impl FromStr for Chmod {
    type Err = ChmodError;

    fn from_str(text: &str) -> Result<Self, ChmodError> {
        let fail = || ChmodError { text: text.to_owned() };
        let change = if text.starts_with(|c: char| c.is_ascii_digit()) {
            if !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(fail());
            }
            let mode = u32::from_str_radix(text, 8).map_err(|_| fail())?;
            if mode > 0o7777 {
                return Err(fail());
            }
            Change::Absolute(mode)
        } else {
            let mut clauses = Vec::new();
            for part in text.split(',') {
                parse_part(part, &mut clauses).ok_or_else(fail)?;
            }
            Change::Symbolic(clauses)
        };
        Ok(Self { text: text.to_owned(), change })
    }
}

/// Reads `[ugoa]*([-+=][rwxXst]*|[ugo])+`.
fn parse_part(part: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let rest = part.trim_start_matches(['u', 'g', 'o', 'a']);
    let named = part.get(..part.len() - rest.len())?;
    let who = named.chars().fold(0, |who, c| {
        who | match c {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHERS,
            _ => USER | GROUP | OTHERS,
        }
    });
    let mut chars = rest.chars().peekable();
    chars.peek()?;
    while let Some(op) = chars.next() {
        let op = match op {
            '+' => Op::Add,
            '-' => Op::Remove,
            '=' => Op::Set,
            _ => return None,
        };
        if let Some(from) = chars.next_if(|c| matches!(c, 'u' | 'g' | 'o')) {
            let shift = match from {
                'u' => 6,
                'g' => 3,
                _ => 0,
            };
            let who = if who == 0 { 0o777 & !UMASK } else { who };
            clauses.push(Clause { who, op, what: What::CopyOf(shift) });
            continue;
        }
        let (mut bits, mut x_if_any, mut sticky) = (0, false, false);
        while let Some(c) = chars.next_if(|c| !matches!(c, '+' | '-' | '=')) {
            match c {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                'X' => x_if_any = true,
                // Neither means anything to others alone.
                's' if who == 0 || who & !OTHERS != 0 => bits |= 0o6000,
                't' if who == 0 || who & !OTHERS != 0 => sticky = true,
                's' | 't' => {}
                _ => return None,
            }
        }
        if sticky {
            bits |= STICKY;
        }
        let who = match who {
            // `=` clears everything, also what the umask keeps from being set.
            0 if op == Op::Set => {
                let all = Clause { who: 0o7777, op: Op::Set, what: What::Bits { bits: 0, x_if_any: false } };
                clauses.push(all);
                clauses.push(Clause {
                    who: 0o7777 & !UMASK,
                    op: Op::Add,
                    what: What::Bits { bits, x_if_any },
                });
                continue;
            }
            0 => 0o7777 & !UMASK,
            who if sticky => who | STICKY,
            who => who,
        };
        clauses.push(Clause { who, op, what: What::Bits { bits, x_if_any } });
    }
    Some(())
}

impl Chmod {
    /// The mode that a file of mode `mode` gets.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.change {
            Change::Absolute(mode) => *mode,
            Change::Symbolic(clauses) => {
                let executable = is_dir || mode & 0o111 != 0;
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, executable))
            }
        }
    }

    /// The mode as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Clause {
    fn apply(self, mode: u32, executable: bool) -> u32 {
        let bits = match self.what {
            What::Bits { bits, x_if_any } => bits | if x_if_any && executable { 0o111 } else { 0 },
            What::CopyOf(shift) => (mode >> shift & 7) * 0o111,
        } & self.who;
        match self.op {
            Op::Add => mode | bits,
            Op::Remove => mode & !bits,
            Op::Set => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_number() {
        for (text, mode) in [("755", 0o755), ("0644", 0o644), ("4755", 0o4755), ("7777", 0o7777), ("0", 0)] {
            assert_eq!(text.parse::<Chmod>().unwrap().apply(0o600, false), mode, "{text}");
        }
    }

    #[test]
    fn modes_by_symbol() {
        for (text, from, dir, to) in [
            ("u+x", 0o644, false, 0o744),
            ("a+x", 0o644, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("+w", 0o444, false, 0o644),
            ("go-w", 0o666, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("go=", 0o777, false, 0o700),
            ("g=u", 0o740, false, 0o770),
            ("go=u-w", 0o754, false, 0o755),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("a=r", 0o4755, false, 0o444),
            ("=r", 0o777, false, 0o444),
            ("u+rw,g-x,o=", 0o077, false, 0o660),
            ("u=rw,+X", 0o111, false, 0o711),
        ] {
            assert_eq!(text.parse::<Chmod>().unwrap().apply(from, dir), to, "{text} on {from:o}");
        }
    }

    #[test]
    fn no_modes() {
        for text in ["", "8", "19", "77777", "u", "u+q", "rwx", "u+x,", "+-z", "0x1", "-1", "é+x"] {
            assert!(text.parse::<Chmod>().is_err(), "{text}");
        }
    }
}
