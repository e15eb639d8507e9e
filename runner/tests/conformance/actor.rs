//! What the jobs of the portable checks do, on any system.
#![expect(clippy::disallowed_methods, reason = "a job reads its environment and starts processes")]

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where a path of the root is: there is no `/` of a job's own on Windows.
fn at(path: &str) -> PathBuf {
    match (std::env::var_os("ORLOP_ROOT"), path.strip_prefix('/')) {
        (Some(root), Some(below)) => PathBuf::from(root).join(below),
        _ => path.into(),
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(io::Error::other)
}

/// Does what `words` say.
pub(super) fn act(words: &[&str]) -> io::Result<()> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    match words {
        ["exit", code] => leave(number(code)? as i32),
        ["args", args @ ..] => args.iter().try_for_each(|arg| writeln!(out, "{arg:?}")),
        ["say", to_out, to_err] => {
            writeln!(out, "{to_out}")?;
            writeln!(err, "{to_err}")
        }
        ["cat"] => io::copy(&mut io::stdin().lock(), &mut out).map(drop),
        ["cwd"] => writeln!(out, "{}", std::env::current_dir()?.display()),
        ["env", names @ ..] => names.iter().try_for_each(|name| match std::env::var(name) {
            Ok(value) => writeln!(out, "{name}={value}"),
            Err(_) => writeln!(out, "{name} unset"),
        }),
        ["flood", lines, errors] => {
            let line = b"0123456789abcde\n";
            let block = line.repeat(1024);
            let lines = number(lines)? as usize;
            (0..lines / 1024).try_for_each(|_| out.write_all(&block))?;
            out.write_all(&line.repeat(lines % 1024))?;
            out.flush()?;
            err.write_all(&line.repeat(number(errors)? as usize))
        }
        ["write", path, text] => fs::write(at(path), text),
        ["read", path] => {
            let mut content = Vec::new();
            fs::File::open(at(path))?.read_to_end(&mut content)?;
            out.write_all(&content)
        }
        ["delayed", time, path, text] => {
            std::thread::sleep(Duration::from_millis(number(time)?));
            fs::write(at(path), text)
        }
        ["burn", time] => {
            let until = Instant::now() + Duration::from_millis(number(time)?);
            let mut sum = 0u64;
            while Instant::now() < until {
                sum = (0..10_000u64).fold(sum, |sum, next| std::hint::black_box(sum.wrapping_mul(31) ^ next));
            }
            writeln!(out, "{sum}")
        }
        ["allocate", mebibytes] => {
            let mut kept = Vec::new();
            for _ in 0..number(mebibytes)? {
                let mut block = Vec::new();
                block.try_reserve_exact(1 << 20).map_err(io::Error::other)?;
                block.resize(1 << 20, 1u8);
                kept.push(block);
            }
            writeln!(out, "{}", kept.len())
        }
        ["sleep", time] => {
            std::thread::sleep(Duration::from_millis(number(time)?));
            Ok(())
        }
        ["spawn", count] => {
            let children: Vec<io::Result<_>> =
                (0..number(count)?).map(|_| own(&["sleep", "1000"])?.spawn()).collect();
            let mut good = true;
            for child in children {
                good &= child.and_then(|mut child| child.wait()).is_ok_and(|status| status.success());
            }
            leave(if good { 0 } else { 1 })
        }
        ["leave", count, path, code] => {
            start_beating(number(count)?, path)?;
            writeln!(out, "ready")?;
            out.flush()?;
            leave(number(code)? as i32)
        }
        ["hold", count, path] => {
            start_beating(number(count)?, path)?;
            writeln!(out, "ready")?;
            out.flush()?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        ["beat", path] => {
            for _ in 0..3000 {
                OpenOptions::new().append(true).create(true).open(at(path))?.write_all(b".")?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        _ => Err(io::Error::other(format!("no such part: {words:?}"))),
    }
}

#[expect(clippy::exit, reason = "the job's exit code is what is looked at")]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// This program once more, with our output and without input.
fn own(words: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("actor").args(words).stdin(Stdio::null());
    Ok(command)
}

fn start_beating(count: u64, path: &str) -> io::Result<()> {
    let paths: Vec<String> = (0..count).map(|number| format!("{path}-{number}")).collect();
    for path in &paths {
        own(&["beat", path])?.spawn()?;
    }
    let until = Instant::now() + Duration::from_secs(30);
    while !paths.iter().all(|path| at(path).exists()) {
        if Instant::now() > until {
            return Err(io::Error::other("they do not start"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
