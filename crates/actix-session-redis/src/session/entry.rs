//! What Redis holds for one session: an encoded state that lives for a while.

use actix_session::storage::SessionKey;
use actix_web::cookie::time::Duration;
use deadpool_redis::redis::{Cmd, ExistenceCheck, SetExpiry, SetOptions};
use futures_util::future::try_join;

use super::keyspace::{Keyspace, draw_session_key};
use crate::{
    client::{Connection, Failure},
    error::{Error, MAX_TTL_YEARS},
};

/// Reads an entry, and on demand how many milliseconds it has left to live, in one round trip.
pub(crate) async fn read(
    redis: &Connection,
    redis_key: &str,
    with_ttl: bool,
) -> Result<(Option<Vec<u8>>, Option<u64>), Failure> {
    if !with_ttl {
        return Ok((redis.query(&Cmd::get(redis_key)).await?, None));
    }
    let (get, pttl) = (Cmd::get(redis_key), Cmd::pttl(redis_key));
    let (body, ttl_left) = try_join(redis.query(&get), redis.query::<i64>(&pttl)).await?;
    // Negative: the key is missing, or has no TTL.
    Ok((body, ttl_left.try_into().ok()))
}

pub(crate) struct Entry {
    body: Vec<u8>,
    ttl_ms: i64,
}

impl Entry {
    pub(crate) fn new(body: Vec<u8>, ttl: &Duration) -> Result<Self, Error> {
        Ok(Self {
            body,
            ttl_ms: ttl_ms(ttl)?,
        })
    }

    /// Stores the entry under a new session key; if it is taken, under another one.
    ///
    /// Safe to repeat: a try whose reply was lost leaves an entry that nobody has the key to, and
    /// that expires.
    pub(crate) async fn create(
        &self,
        redis: &Connection,
        keyspace: &Keyspace,
    ) -> Result<SessionKey, Failure> {
        loop {
            let session_key = draw_session_key();
            let redis_key = keyspace.session(&session_key);
            if self.set(redis, &redis_key, ExistenceCheck::NX).await? {
                return Ok(session_key);
            }
        }
    }

    /// Stores the entry in the place of an existing one; `false` if there is none.
    pub(crate) async fn replace(
        &self,
        redis: &Connection,
        redis_key: &str,
    ) -> Result<bool, Failure> {
        self.set(redis, redis_key, ExistenceCheck::XX).await
    }

    async fn set(
        &self,
        redis: &Connection,
        redis_key: &str,
        condition: ExistenceCheck,
    ) -> Result<bool, Failure> {
        let options = SetOptions::default()
            .conditional_set(condition)
            .with_expiration(SetExpiry::PX(self.ttl_ms.cast_unsigned()));
        let set = Cmd::set_options(redis_key, &self.body, options);
        redis.query(&set).await
    }
}

/// Redis takes TTLs in whole milliseconds. Zero or less would delete the session on the spot, and
/// a number that it cannot add to the time of day is an error there.
pub(crate) fn ttl_ms(ttl: &Duration) -> Result<i64, Error> {
    let longest = Duration::days(365 * MAX_TTL_YEARS);
    if (Duration::milliseconds(1)..=longest).contains(ttl) {
        Ok(ttl.whole_seconds() * 1000 + i64::from(ttl.subsec_milliseconds()))
    } else {
        Err(Error::InvalidTtl { ttl: *ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_are_whole_milliseconds() {
        for (ttl, expected) in [
            (Duration::milliseconds(1), 1),
            (Duration::microseconds(1_999), 1),
            (Duration::milliseconds(1_500), 1_500),
            (Duration::hours(1), 3_600_000),
        ] {
            assert_eq!(ttl_ms(&ttl).unwrap(), expected);
        }
    }

    #[test]
    fn ttls_out_of_range_are_refused() {
        for ttl in [
            Duration::ZERO,
            Duration::seconds(-1),
            Duration::microseconds(999),
            Duration::MIN,
            Duration::MAX,
        ] {
            let refused = ttl_ms(&ttl).unwrap_err();
            assert!(matches!(refused, Error::InvalidTtl { ttl: t } if t == ttl));
        }
    }
}
