//! Files with a fixed mode and a fixed time.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use orlop_fixtures::tool::tool;

use crate::base::succeed;
use crate::noise::Noise;

/// The time of every file, in seconds since 1970.
pub(crate) const TIME: u64 = 1_700_000_000;

/// Writes one file, and makes the directories above it.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Writes a file of that many MiB, by turns noise and text.
pub(crate) fn put_blob(path: &Path, mib: usize, noise: &mut Noise) -> io::Result<()> {
    put(path, b"")?;
    let mut file = File::create(path)?;
    for n in 0..mib {
        let block = if n % 2 == 0 { noise.bytes(1 << 20) } else { noise.text(1 << 20) };
        file.write_all(&block)?;
    }
    Ok(())
}

/// Writes files of a size in `sizes`: a hundred to a directory, twenty directories to one above. Nine of ten are
/// text, as source code is, the tenth is noise, as pictures are.
pub(crate) fn put_tree(dir: &Path, files: usize, sizes: Range<u64>, noise: &mut Noise) -> io::Result<()> {
    for n in 0..files {
        let size = sizes.start + noise.next() % (sizes.end - sizes.start);
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let bytes = if n % 10 == 9 { noise.bytes(size) } else { noise.text(size) };
        put(&dir.join(format!("{:02}/{:03}/file-{n:06}.js", n / 2000, n / 100)), &bytes)?;
    }
    Ok(())
}

/// Copies a directory that somebody has.
pub(crate) fn put_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    // With the dot its content is copied, whether `from` is a link or not.
    let output = tool("cp").arg("-a").arg(from.join(".")).arg(to).output()?;
    succeed(output, "cp cannot copy the directory")
}

/// Gives the files and directories below `dir` and itself this time, and directories their mode.
pub(crate) fn touch(dir: &Path, seconds: u64) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            touch(&entry.path(), seconds)?;
        } else if kind.is_file() {
            File::open(entry.path())?.set_times(times)?;
        }
    }
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    File::open(dir)?.set_times(times)
}

/// Changes the content of a file, and not its size. Changed twice it is as it was, but for its time.
pub(crate) fn change(path: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    if let Some(byte) = bytes.first_mut() {
        *byte ^= 1;
    }
    fs::write(path, bytes)
}

/// The file in the middle of a context that is not its Dockerfile, of those that have something in them.
pub(crate) fn middle(context: &Path) -> io::Result<PathBuf> {
    let mut all = Vec::new();
    list(context, &mut all)?;
    all.retain(|path| *path != context.join("Dockerfile"));
    all.sort();
    all.get(all.len() / 2).cloned().ok_or_else(|| io::Error::other("there is no file to change"))
}

fn list(dir: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_dir() {
            list(&entry.path(), all)?;
        } else if data.is_file() && data.len() > 0 {
            all.push(entry.path());
        }
    }
    Ok(())
}
