//! Times as the system counts them.

/// A moment: 100 nanoseconds since 1601, signed, as in `FILETIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub i64);

/// 1970, counted from 1601 in 100 nanoseconds.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;

impl FileTime {
    /// Nanoseconds since 1970; at the ends of what fits, the end.
    pub fn unix_nanos(self) -> i64 {
        self.0.saturating_sub(UNIX_EPOCH).saturating_mul(100)
    }

    /// Seconds since 1970 and nanoseconds within the second.
    pub fn unix(self) -> (i64, u32) {
        let ticks = self.0.saturating_sub(UNIX_EPOCH);
        let nanoseconds = u32::try_from(ticks.rem_euclid(10_000_000) * 100).unwrap_or(0);
        (ticks.div_euclid(10_000_000), nanoseconds)
    }

    /// The moment that [`FileTime::unix`] tells; what does not fit is the nearest that does, and nothing before
    /// 1601 exists.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let ticks = seconds.saturating_mul(10_000_000).saturating_add(i64::from(nanoseconds / 100));
        // 0 means "leave as it is" to the calls that set times.
        Self(ticks.saturating_add(UNIX_EPOCH).max(1))
    }
}
