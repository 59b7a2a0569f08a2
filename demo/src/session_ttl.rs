use std::{fmt, str::FromStr, time::Duration};

use actix_web::cookie::time;
use anyhow::ensure;

/// The longest that `actix-session-redis` can store: ten thousand years of 365 days.
const LONGEST: Duration = Duration::from_secs(10_000 * 365 * 24 * 60 * 60);

/// How long a session lives after its last request: `3600` (seconds), `90s`, `1h 30m`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTtl(time::Duration);

impl SessionTtl {
    pub(crate) fn get(self) -> time::Duration {
        self.0
    }
}

impl Default for SessionTtl {
    /// One hour, as in the post that the demo follows.
    fn default() -> Self {
        Self(time::Duration::HOUR)
    }
}

impl TryFrom<Duration> for SessionTtl {
    type Error = anyhow::Error;

    fn try_from(ttl: Duration) -> anyhow::Result<Self> {
        ensure!(
            ttl >= Duration::from_millis(1),
            "a session lives for one millisecond at least"
        );
        ensure!(
            ttl <= LONGEST,
            "a session lives for 10000 years of 365 days at most"
        );
        Ok(Self(ttl.try_into()?))
    }
}

impl FromStr for SessionTtl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let ttl = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => humantime::parse_duration(text)?,
        };
        ttl.try_into()
    }
}

impl fmt::Display for SessionTtl {
    /// In a form that [`FromStr`] reads; humantime cannot read long lives in milliseconds alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.0.whole_seconds(), self.0.subsec_milliseconds());
        write!(f, "{seconds}s {rest}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(text: &str) -> i128 {
        let ttl: SessionTtl = text.parse().unwrap();
        ttl.get().whole_milliseconds()
    }

    #[test]
    fn reads_seconds_and_durations_with_units() {
        assert_eq!(milliseconds("3600"), 3_600_000);
        assert_eq!(milliseconds("90s"), 90_000);
        assert_eq!(milliseconds("500ms"), 500);
        assert_eq!(milliseconds("1h 30m"), 5_400_000);
    }

    #[test]
    fn refuses_what_no_session_can_live() {
        for text in ["", "0", "0s", "999us", "-5", "soon"] {
            assert!(text.parse::<SessionTtl>().is_err(), "{text:?}");
        }
        for text in [
            "315360000001",
            "3650000d 1ms",
            "20000y",
            "18446744073709551615",
        ] {
            let refusal = text.parse::<SessionTtl>().unwrap_err().to_string();
            assert!(refusal.contains("10000 years"), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn is_read_back_as_it_is_written() {
        for ttl in
            ["500ms", "3600", "1h 1ms", "3650000d"].map(|text| text.parse::<SessionTtl>().unwrap())
        {
            assert_eq!(ttl.to_string().parse::<SessionTtl>().unwrap(), ttl);
        }
    }
}
