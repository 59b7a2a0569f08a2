//! What a command that was not answered means for the connection to a cluster.
//!
//! Its client would ask a silent master for ever, over the same connection. So another one takes
//! its place once others have taken over, or if all masters answer to that one. Not else: it would
//! try to reach the silent one again and again, and keep everybody waiting meanwhile. With the old
//! one, those who need the other masters do not notice.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use futures_util::future::join;
use tokio::task::JoinHandle;

use crate::{
    connection::Masters,
    error::{Failure, Fault},
    lease::{Lease, Leases, ThreadLease},
};

impl Leases {
    pub(crate) fn look_into_silence(
        self: &Arc<Self>,
        thread: &Arc<ThreadLease>,
        lease: &Arc<Lease>,
    ) -> JoinHandle<Result<(), Failure>> {
        let (leases, thread) = (Arc::clone(self), Arc::clone(thread));
        let lease = Arc::clone(lease);
        tokio::spawn(async move {
            let Some(masters) = leases.masters(&lease.connection).await else {
                lease.retire(&Fault::no_answer());
                return Ok(());
            };
            if lease.masters.as_ref() == Some(&masters) {
                let is_down = leases.soon(lease.connection.is_down());
                let each = leases.soon(lease.connection.reaches(&masters));
                let (is_down, each) = join(is_down, each).await;
                let (is_down, one_is_silent) = (matches!(is_down, Some(Ok(true))), each.is_none());
                lease.cluster_is_down.store(is_down, Relaxed);
                lease.has_silent_master.store(one_is_silent, Relaxed);
                if is_down || !one_is_silent {
                    return Ok(());
                }
            }
            leases.replace_if_better(&thread, &lease, masters).await
        })
    }

    async fn replace_if_better(
        &self,
        thread: &ThreadLease,
        lease: &Arc<Lease>,
        masters: Masters,
    ) -> Result<(), Failure> {
        lease.leave_pool();
        let pooled = match self.connected().await {
            Ok(pooled) => pooled,
            Err(failure) if failure.is_pool_exhausted() => {
                // Another thread that shared the old connection was faster.
                let mut others = self.threads.iter().filter_map(|it| it.usable());
                let is_newer = |it: &Arc<Lease>| {
                    !Arc::ptr_eq(it, lease) && it.masters.as_ref() == Some(&masters)
                };
                if let Some(successor) = others.find(is_newer) {
                    thread.keep(&successor);
                }
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let successor = self.lease_on(pooled).await;
        if self.is_better(&successor, lease).await {
            self.give(thread, &successor);
        } else {
            successor.leave_pool();
        }
        Ok(())
    }

    async fn is_better(&self, successor: &Lease, lease: &Lease) -> bool {
        let Some(masters) = &successor.masters else {
            return false;
        };
        let have_others_taken_over = successor.masters != lease.masters;
        let reached = self.soon(successor.connection.reaches(masters));
        have_others_taken_over || matches!(reached.await, Some(Ok(true)))
    }
}
