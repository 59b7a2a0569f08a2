//! How long sessions live, as Redis takes it.

use actix_web::cookie::time::Duration;

use crate::error::{Error, MAX_TTL_YEARS};

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

#[cfg(test)]
#[path = "../../tests/unit/ttl.rs"]
mod tests;
