//! How long sessions live, as Redis takes it.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::cookie::time::Duration;

use crate::error::{Error, MAX_TTL_YEARS};

/// The longest lifetime that a session may be asked to have.
pub(crate) const LONGEST: std::time::Duration =
    std::time::Duration::from_secs(MAX_TTL_YEARS.unsigned_abs() * 365 * 24 * 60 * 60);

/// Redis takes TTLs in whole milliseconds. Zero or less would delete the session on the spot, and
/// a number that it cannot add to the time of day is an error there.
pub(crate) fn whole_milliseconds(ttl: &Duration) -> Result<i64, Error> {
    let longest = Duration::days(365 * MAX_TTL_YEARS);
    if (Duration::milliseconds(1)..=longest).contains(ttl) {
        Ok(ttl.whole_seconds() * 1000 + i64::from(ttl.subsec_milliseconds()))
    } else {
        Err(Error::InvalidTtl { ttl: *ttl })
    }
}

pub(crate) fn milliseconds(duration: std::time::Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}

/// Since 1970.
pub(crate) fn now_ms() -> i64 {
    milliseconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
#[path = "../../tests/unit/ttl.rs"]
mod tests;
