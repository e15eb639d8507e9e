//! When to try again, and how long to wait.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, TransportKind};

/// How failures that may pass are tried again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Further attempts after the first that got nowhere. A transfer that got on starts counting anew.
    pub count: u32,
    /// The first wait; each further one is twice as long, give or take a quarter.
    pub base: Duration,
    /// The longest wait of our own accord.
    pub max: Duration,
    /// The longest that a registry may ask us to wait with `Retry-After`, in all; beyond it the error is final.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            count: 5,
            base: Duration::from_millis(300),
            max: Duration::from_secs(15),
            max_retry_after: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// How long to wait before the next attempt after one more failure, or nothing when that is final.
    pub(crate) fn wait(&self, attempts: &mut Attempts, error: &Error) -> Option<Duration> {
        attempts.failures += 1;
        let attempt = attempts.failures;
        let limited = class(error).map(|class| {
            attempts.of_class[class.number] += 1;
            (attempts.of_class[class.number], class.patience)
        });
        if attempt > self.count || limited.is_some_and(|(n, most)| n > most) || !error.is_temporary() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            attempts.asked = attempts.asked.saturating_add(asked);
            return (attempts.asked <= self.max_retry_after).then(|| asked.max(self.base.min(self.max)));
        }
        let doubled = self.base.saturating_mul(1u32 << (attempt.saturating_sub(1)).min(16)).min(self.max);
        // Jitter of a quarter either way, so that many builders do not come back at the same moment.
        let noise = RandomState::new().build_hasher().finish() % 512;
        Some(doubled.mul_f64(0.75 + noise as f64 / 1024.0))
    }
}

/// How something that is tried again and again went up to now.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Since it last got on.
    pub(crate) failures: u32,
    of_class: [u32; 3],
    asked: Duration,
}

impl Attempts {
    /// It got on: counting begins anew. What the registry asked us to wait stays counted.
    pub(crate) fn got_on(&mut self) {
        *self = Self { asked: self.asked, ..Self::default() };
    }
}

/// Failures that are repeated less often than others, whatever the policy.
struct Class {
    number: usize,
    patience: u32,
}

/// Waiting out a time limit again and again would look like a hang, and where nobody listens, no name is known or
/// something else listens, somebody seldom comes within seconds.
fn class(error: &Error) -> Option<Class> {
    let (number, patience) = match error.transport_kind()? {
        TransportKind::FirstByteTimeout | TransportKind::ConnectTimeout | TransportKind::Slow => (0, 1),
        TransportKind::Stalled => (0, 2),
        TransportKind::Refused | TransportKind::Resolve | TransportKind::Connect | TransportKind::Proxy => {
            (1, 2)
        }
        TransportKind::NotHttp => (2, 1),
        _ => return None,
    };
    Some(Class { number, patience })
}

/// How many repetitions there will be at most.
pub(crate) fn repetitions(policy: &RetryPolicy, error: &Error) -> u32 {
    policy.count.min(class(error).map_or(u32::MAX, |class| class.patience))
}

/// A repetition that is about to happen, for the person who waits.
#[derive(Clone, Debug)]
pub struct Retry {
    /// What failed, in one line without secrets.
    pub error: String,
    /// 1 for the first repetition.
    pub attempt: u32,
    /// Repetitions that there will be at most.
    pub of: u32,
    /// The pause before it.
    pub wait: Duration,
    /// Whether the registry asked for the pause by `Retry-After`.
    pub asked: bool,
}

/// Whether a transfer that broke got on far enough to begin counting anew: a fiftieth of the whole, or as much as is
/// worth waiting out a time limit once more. A server that sends a few bytes each time would keep us for ever.
pub(crate) fn got_on(bytes: u64, whole: u64, error: &Error) -> bool {
    const WORTH: u64 = 64 << 10;
    let least = if error.is_timeout() { WORTH } else { WORTH.min(whole / 50) };
    bytes > 0 && bytes >= least
}

/// How often somebody who waits asks whether to stop.
pub(crate) const STOP_INTERVAL: Duration = Duration::from_millis(100);

type Question = dyn Fn() -> bool + Send + Sync;

/// Asked a few times a second while something waits for a registry; a yes ends it with [`Error::Cancelled`].
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<Question>>);

impl Stop {
    /// Asks `f`, from any thread.
    pub fn new(f: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|f| f())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.0.is_some()).finish()
    }
}

type Callback = dyn Fn(&Retry) + Send + Sync;

/// Called before each repetition.
#[derive(Clone, Default)]
pub struct RetryObserver(Option<Arc<Callback>>);

impl RetryObserver {
    /// Calls `f` before each repetition, from any thread.
    pub fn new(f: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(f)))
    }

    pub(crate) fn notify(&self, retry: &Retry) {
        if let Some(f) = &self.0 {
            f(retry);
        }
    }
}

impl fmt::Debug for RetryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryObserver").field(&self.0.is_some()).finish()
    }
}

/// Reads `Retry-After`: seconds, or a date as HTTP writes it (RFC 9110, 10.2.3), seen from `now` in
/// seconds since 1970. Seconds that no number holds are too many as well.
pub(crate) fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some(Duration::from_secs(http_date(value)?.saturating_sub(now)))
}

/// Reads `RateLimit-Limit: 100;w=21600` for a person: so many requests in so many seconds.
pub(crate) fn rate_limit(value: &str) -> Option<String> {
    let (count, window) = value.trim().split_once(";w=")?;
    let (count, window): (u64, u64) = (count.trim().parse().ok()?, window.trim().parse().ok()?);
    let window = match window {
        3600.. if window % 3600 == 0 => format!("{} h", window / 3600),
        60.. if window % 60 == 0 => format!("{} min", window / 60),
        _ => format!("{window} s"),
    };
    Some(format!("it allows {count} in {window}"))
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`; older forms are not read.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month =
        "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).filter(|i| month.len() == 3 && i % 3 == 0)? / 3;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|p| p.parse::<u64>().ok());
    let (h, m, s) = (clock.next()??, clock.next()??, clock.next()??);
    since_1970(year, month as i64 + 1, day, [h, m, s])
}

/// The same of a time such as `1994-11-06T08:49:37.5Z` or `…+01:00` (RFC 3339); parts of a second are dropped.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let numbers =
        |text: &str, sign: char| text.split(sign).map(|p| p.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let end = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(end);
    let clock = clock.split('.').next().unwrap_or_default();
    let [h, m, s] = numbers(clock, ':')?[..] else { return None };
    let shift = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), zone) => {
            let [h @ 0..=23, m @ 0..=59] = numbers(zone, ':')?[..] else { return None };
            (h * 3600 + m * 60) * if sign == "+" { 1 } else { -1 }
        }
        _ => return None,
    };
    let clock = [u64::try_from(h).ok()?, u64::try_from(m).ok()?, u64::try_from(s).ok()?];
    since_1970(year, month, day, clock)?.checked_add_signed(-shift)
}

/// Seconds since 1970 of a date and hours, minutes and seconds.
fn since_1970(year: i64, month: i64, day: i64, [h, m, s]: [u64; 3]) -> Option<u64> {
    let date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !date || h > 23 || m > 59 || s > 60 {
        return None;
    }
    // Days from civil: years counted from March, so that the leap day comes last.
    let (y, m0) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m0 + 2) / 5 + day - 1 - 719_468;
    Some(u64::try_from(days).ok()? * 86_400 + h * 3600 + m * 60 + s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StatusError;

    fn status(status: u16, retry_after: Option<Duration>) -> Error {
        let (method, url) = ("GET".to_owned(), "https://r/".to_owned());
        Error::Status(Box::new(StatusError {
            method,
            url,
            status,
            code: None,
            message: None,
            retry_after,
            login: None,
            challenge: None,
        }))
    }

    #[test]
    fn waits_grow_and_end() {
        let policy = RetryPolicy { count: 3, ..RetryPolicy::default() };
        let after = |failures, error| policy.wait(&mut Attempts { failures, ..Attempts::default() }, &error);
        let first = after(0, status(503, None)).unwrap();
        assert!(first >= policy.base.mul_f64(0.75) && first <= policy.base.mul_f64(1.25));
        assert!(after(2, status(503, None)).unwrap() >= policy.base.mul_f64(3.0));
        assert!(after(3, status(503, None)).is_none());
        assert!(after(0, status(404, None)).is_none());
    }

    #[test]
    fn some_failures_are_repeated_less_often() {
        let (policy, mut attempts) = (RetryPolicy::default(), Attempts::default());
        let broken =
            |kind| Error::Transport { method: "GET".into(), url: "https://r/".into(), kind, source: None };
        let mut goes = |error| policy.wait(&mut attempts, &error).is_some();
        assert!(goes(status(503, None)) && goes(broken(TransportKind::Broken)));
        // Failures of another kind before it do not count.
        assert!(goes(broken(TransportKind::FirstByteTimeout)));
        assert!(!goes(broken(TransportKind::FirstByteTimeout)));
    }

    #[test]
    fn rate_limits_are_readable() {
        for (value, text) in [
            ("100;w=21600", Some("it allows 100 in 6 h")),
            (" 5 ; w=60", None),
            ("5;w=90", Some("it allows 5 in 90 s")),
            ("5;w=120", Some("it allows 5 in 2 min")),
            ("5", None),
            ("x;w=1", None),
        ] {
            assert_eq!(rate_limit(value).as_deref(), text, "{value}");
        }
    }

    #[test]
    fn retry_after_rules_the_wait() {
        let policy = RetryPolicy::default();
        let mut attempts = Attempts::default();
        let mut asked = |s| policy.wait(&mut attempts, &status(429, Some(Duration::from_secs(s))));
        assert_eq!(asked(7), Some(Duration::from_secs(7)));
        assert_eq!(asked(293), Some(Duration::from_secs(293)));
        assert_eq!(asked(1), None, "300 s in all");
        assert_eq!(retry_after("120", 0), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(http_date(date), Some(784_111_777));
        assert_eq!(retry_after(date, 784_111_770), Some(Duration::from_secs(7)));
        for long in ["18446744073709551615", "18446744073709551616", &"9".repeat(500)] {
            assert_eq!(retry_after(long, 0), Some(Duration::from_secs(u64::MAX)), "{long}");
            let (mut attempts, error) = (Attempts::default(), status(429, retry_after(long, 0)));
            assert_eq!(policy.wait(&mut attempts, &error), None, "{long}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("asks to come back in more than a year"), "{hint}");
        }
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        for bad in ["", "soon", "-1", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 anF 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn times_with_their_zones() {
        for (text, want) in [
            ("1994-11-06T08:49:37Z", Some(784_111_777)),
            ("1994-11-06t09:49:37.999+01:00", Some(784_111_777)),
            ("1994-11-06 07:49:37-01:00", Some(784_111_777)),
            ("1994-11-06T08:49:37", None),
            ("1994-13-06T08:49:37Z", None),
            ("1994-11-06T-8:49:37Z", None),
            ("1994-11-06T08:49:37+", None),
            ("1994-11-06T08:49:37+99999999999999999999:00", None),
            ("\u{e9}T\u{e9}Z", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(text), want, "{text}");
        }
    }
}
