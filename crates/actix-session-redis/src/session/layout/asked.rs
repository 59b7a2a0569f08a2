//! What a layout is asked to do with a session, and what comes of it.

use deadpool_redis::redis::{Value, from_redis_value};

use crate::{
    client::Failure,
    error::Error,
    session::{
        changes::Other,
        details::{Details, OwnChanges},
        script::out_of_step,
        seal::Seal,
        state::{NOT_UTF8, State},
    },
};

/// How a session begins.
pub(crate) struct Birth<'a> {
    pub(crate) tombstone: &'a str,
    pub(crate) state: &'a State,
    /// When it is born, sealed: of another try, the same.
    pub(crate) born: &'a [u8],
    pub(crate) details: &'a Details,
    pub(crate) ttl_ms: i64,
    /// Until when it may begin, if that matters.
    pub(crate) latest: Option<i64>,
    /// The Redis key of its copy, while sessions are adopted.
    pub(crate) copy: Option<&'a str>,
    pub(crate) source: Source<'a>,
}

/// What a session begins with.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A state, of which its copy is made, too.
    State,
    /// What its copy holds: these bytes, still.
    Copy(&'a [u8]),
    /// A state in the place of what its copy holds, whatever that is.
    AnyCopy,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Begun {
    Done,
    /// By an earlier try, or by another request that adopts it in the same millisecond.
    Before,
    /// Its key is that of another session.
    Taken,
    /// It has ended already, here or there.
    Ended,
    /// Its copy holds something else.
    Changed,
}

/// The state that a session gets in the place of the one that it has.
pub(crate) struct Replacement<'a> {
    pub(crate) state: &'a State,
    pub(crate) own: &'a OwnChanges,
    /// Without, its TTL stays.
    pub(crate) ttl_ms: Option<i64>,
    /// Until when it may be written, if that matters.
    pub(crate) latest: Option<i64>,
    /// What the session must say of its owner, if that matters.
    pub(crate) owner_text: Option<&'a [u8]>,
}

impl<'a> Replacement<'a> {
    pub(crate) fn of_state(state: &'a State, ttl_ms: Option<i64>) -> Self {
        const NOTHING: &OwnChanges = &Vec::new();
        Self {
            state,
            own: NOTHING,
            ttl_ms,
            latest: None,
            owner_text: None,
        }
    }
}

pub(crate) enum Written {
    Done,
    /// There is no such session.
    Gone,
    /// Not written: these fields hold something else than was expected.
    Conflict(Vec<Other>),
}

impl Written {
    /// From what `write.lua` returns.
    pub(crate) fn parse(reply: Value, seal: &Seal<'_>) -> Result<Self, Failure> {
        match reply {
            Value::Int(0) => Ok(Self::Gone),
            Value::Int(_) => Ok(Self::Done),
            others @ Value::Array(_) => {
                let others = from_redis_value::<Vec<(Vec<u8>, Option<Vec<u8>>)>>(others);
                let others = others.map_err(|_| out_of_step())?.into_iter();
                let others = others.map(|(field, stored)| other(field, stored, seal));
                Ok(Self::Conflict(others.collect::<Result<_, _>>()?))
            }
            _ => Err(out_of_step()),
        }
    }
}

fn other(field: Vec<u8>, stored: Option<Vec<u8>>, seal: &Seal<'_>) -> Result<Other, Failure> {
    let text = |text| {
        let not_utf8 = |_| Failure::Permanent(Error::Unreadable { reason: NOT_UTF8 });
        String::from_utf8(text).map_err(not_utf8)
    };
    let open = |stored: &Vec<u8>| text(seal.open_value(&field, stored)?.text.into_owned());
    Ok(Other {
        json: stored.as_ref().map(open).transpose()?,
        field: text(field)?,
        stored,
    })
}

pub(super) fn is_done(reply: &Value) -> Result<bool, Failure> {
    match reply {
        Value::Int(done) => Ok(*done == 1),
        _ => Err(out_of_step()),
    }
}
