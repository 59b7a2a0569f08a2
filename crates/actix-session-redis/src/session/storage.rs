//! Where sessions are.

use std::sync::Arc;

use futures_util::future::{FutureExt as _, OptionFuture, try_join};

use super::{
    details::Terms,
    idempotency::IdempotencyKeys,
    index::Index,
    keyspace::{Keyspace, User},
    layout::{built_in::BuiltIn, hash::Hash},
    plan::{Of, Plan},
    rules::Rules,
    seal::Seals,
    state::State,
    turns::Turns,
};
use crate::{
    client::{Client, Connection, Failure, Operation},
    error::Error,
    telemetry::events,
};

#[derive(Debug)]
pub(super) struct Storage {
    pub(super) client: Arc<Client>,
    pub(super) keyspace: Keyspace,
    pub(super) rules: Rules,
    pub(super) idempotency_keys: IdempotencyKeys,
    pub(super) turns: Turns,
}

impl Storage {
    pub(super) fn new(client: Arc<Client>, keyspace: Keyspace, rules: Rules) -> Self {
        Self {
            client,
            keyspace,
            rules,
            idempotency_keys: IdempotencyKeys::new(),
            turns: Turns::new(),
        }
    }

    pub(super) fn seals(&self) -> &Seals {
        &self.rules.policy.seals
    }

    pub(super) fn index<'a>(&'a self, op: &'a Operation<'a>, user: &'a User) -> Index<'a> {
        Index::new(&self.client, &self.keyspace, op, user)
    }

    /// What a write is to make of a session beside its state. That a login is void since the application
    /// is wrong is told to its operators.
    pub(super) fn plan(
        &self,
        op: &Operation<'_>,
        of: Of<'_>,
        base: Option<&User>,
        state: &State,
        terms: Terms<'_>,
    ) -> Result<Option<Plan>, Error> {
        let policy = &self.rules.policy;
        let plan = Plan::new(policy, of, base, state, terms);
        if let (Err(Error::Overtaken), Some(login), Some(field)) =
            (&plan, terms.login, &policy.user_field)
            && let Some(mistake) = policy.mistake(login, state)
        {
            op.observation.log.login_is_mistaken(field, mistake);
        }
        plan
    }

    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(super) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        let (redis_key, built_in) = &self.keyspace.check();
        let check = |redis: Arc<Connection>| async move {
            let checked = async {
                let of_built_in = built_in.as_ref().map(|redis_key| {
                    let redis = Arc::clone(&redis);
                    BuiltIn { redis, redis_key }.check()
                });
                let redis = Arc::clone(&redis);
                let ours = Hash { redis, redis_key }.check(self.rules.policy.user_field.is_some());
                try_join(OptionFuture::from(of_built_in).map(Option::transpose), ours).await
            };
            checked.await.map(drop).map_err(|failure| match failure {
                Failure::Transient(fault)
                    if fault.reply().is_some() && !redis.is_given_up_for(&fault) =>
                {
                    Failure::Permanent(op.unavailable(fault))
                }
                failure => failure,
            })
        };
        self.client.run(op, check).await
    }
}

/// What is there by now is no session, and is left alone.
pub(super) fn or_if_unreadable<T>(done: Result<T, Error>, gone: T) -> Result<T, Error> {
    match done {
        Err(Error::Unreadable { .. }) => Ok(gone),
        done => done,
    }
}

/// After a try that others came in between of: whether there is time for another one.
pub(super) fn goes_on_after(op: &Operation<'_>, tries: &mut u32) -> Result<(), Error> {
    events::conflicted();
    if !op.has_time_for_a_try() {
        return Err(Error::Contended { tries: *tries });
    }
    *tries += 1;
    Ok(())
}
