//! How it is proven that sessions can be read and written.

use std::sync::Arc;

use futures_util::future::{OptionFuture, try_join};

use super::{
    Sessions,
    layout::{built_in::BuiltIn, hash::Hash},
};
use crate::{
    client::{Connection, Failure, Operation},
    error::Error,
};

impl Sessions {
    /// Reads and writes as requests do, under a Redis key that is no session's. What Redis replies
    /// stands, even if it would reply something else in a moment: unless another connection may
    /// lead to another server.
    pub(crate) async fn check(&self, op: &Operation<'_>) -> Result<(), Error> {
        let (redis_key, built_in) = &self.keyspace.check();
        let check = |redis: Arc<Connection>| async move {
            let of_built_in = built_in.as_ref().map(|redis_key| {
                let redis = Arc::clone(&redis);
                BuiltIn { redis, redis_key }.check()
            });
            let of_built_in = async { OptionFuture::from(of_built_in).await.transpose() };
            let ours = Hash {
                redis: Arc::clone(&redis),
                redis_key,
            };
            let ours = ours.check(self.policy.user_field.is_some());
            let checked = try_join(of_built_in, ours).await;
            checked.map(drop).map_err(|failure| match failure {
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
