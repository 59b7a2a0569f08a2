//! What a command that was not answered means for the connection to a cluster.
//!
//! Its client would ask a silent master for ever, over the same connection. So another one takes
//! its place if all masters answer to that one: others have taken over, or it was the connection
//! that was silent. Not else: it would try to reach the silent one again and again, and keep
//! everybody waiting meanwhile. With the old one, those who need the other masters do not notice.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use futures_util::future::join;
use tokio::task::JoinHandle;

use crate::{
    client::lease::{Lease, Leases, ThreadLease},
    error::{Failure, Fault},
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
            let Some(masters) = leases.soon(lease.connection.masters()).await.flatten() else {
                lease.retire(&Fault::no_answer());
                return Ok(());
            };
            let is_down = leases.soon(lease.connection.is_down());
            let reached = leases.soon(lease.connection.reaches(&masters));
            let (is_down, reached) = join(is_down, reached).await;
            if let Some(Ok(is_down)) = is_down {
                lease.cluster_is_down.store(is_down, Relaxed);
            }
            let one_is_silent = reached.is_none();
            lease.has_silent_master.store(one_is_silent, Relaxed);
            if one_is_silent && !lease.cluster_is_down.load(Relaxed) {
                leases.replace_if_better(&thread, &lease).await
            } else {
                Ok(())
            }
        })
    }

    async fn replace_if_better(
        &self,
        thread: &ThreadLease,
        lease: &Arc<Lease>,
    ) -> Result<(), Failure> {
        lease.leave_pool();
        match self.connected().await {
            Ok(pooled) => {
                let successor = Arc::new(Lease::new(pooled));
                if lease.is_lost() || self.reaches_all_masters(&successor).await {
                    self.give(thread, &successor);
                } else {
                    successor.leave_pool();
                }
            }
            Err(failure) if failure.is_pool_exhausted() => {
                // Another thread that shared the old connection was faster.
                let others = self.threads.iter().filter_map(|it| it.usable());
                for other in others.filter(|it| !Arc::ptr_eq(it, lease)) {
                    if self.reaches_all_masters(&other).await {
                        thread.keep(&other);
                        break;
                    }
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    async fn reaches_all_masters(&self, lease: &Lease) -> bool {
        let Some(masters) = self.soon(lease.connection.masters()).await.flatten() else {
            return false;
        };
        matches!(
            self.soon(lease.connection.reaches(&masters)).await,
            Some(Ok(true))
        )
    }
}
