//! Indexes that are mounted.

use super::*;

#[test]
fn privileged_one_of_each_kind() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let device = |path, kind, device| with((entry(path, kind), Vec::new()), |e| e.device = device);
    assert_same(&[
        with(dir("./"), |e| (e.mode, e.uid, e.mtime) = (0o1711, 5, Time { seconds: 12, nanoseconds: 34 })),
        with(dir("d/"), |e| (e.mode, e.mtime) = (0o2500, Time { seconds: -5, nanoseconds: 999_999_999 })),
        with(file("d/suid", "content"), |e| {
            (e.mode, e.uid, e.gid) = (0o6711, 4_000_000_000, 4_294_967_294);
            e.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
            e.xattrs.insert(b"user.bin".to_vec(), b"\n\0=\xff".to_vec());
            e.xattrs.insert(b"user.empty".to_vec(), b"".to_vec());
            e.xattrs.insert(b"trusted.x".to_vec(), vec![0; 300]);
        }),
        with(file("later", "x"), |e| e.mtime = Time { seconds: 10_000_000_000, nanoseconds: 1 }),
        file("empty", ""),
        hard_link("again", "d/suid"),
        hard_link("d/and again", "again"),
        device("null", Kind::CharDevice, (1, 3)),
        device("large", Kind::CharDevice, (4095, 1_048_575)),
        device("disk", Kind::BlockDevice, (259, 0x12345)),
        device("zero", Kind::BlockDevice, (0, 0)),
        with((entry("pipe", Kind::Fifo), Vec::new()), |e| e.mode = 0o622),
        with(symlink("s", "t"), |e| (e.uid, e.mtime.nanoseconds) = (7, 3)),
    ]);
}
