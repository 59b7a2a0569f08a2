//! What one call of the store does with Redis, all of it before one deadline.
//!
//! What is rare is boxed, because it would be part of every request's future, which gets copied.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    client::breaker::Permit,
    client::connect::{Backoff, LastConnect},
    client::connection::Connection,
    client::deadline::Deadline,
    client::lease::{Lease, Leases, ThreadLease},
    error::{Error, Failure, Fault},
    telemetry,
    telemetry::{operation::Observation, outcome::Outcome},
};

pub(crate) struct Operation<'a> {
    leases: &'a Arc<Leases>,
    deadline: Deadline,
    observation: Observation,
}

impl<'a> Operation<'a> {
    /// Starts the clock.
    pub(crate) fn start(name: &'static str, leases: &'a Arc<Leases>) -> Self {
        Self {
            leases,
            deadline: Deadline::new(leases.deadline),
            observation: Observation::start(name),
        }
    }

    /// All that the operation does, for those who observe it.
    pub(crate) fn observe<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        self.observation.of(work)
    }

    /// Says more of the outcome than its result will.
    pub(crate) fn turns_out(&self, outcome: Outcome) {
        self.observation.turns_out(outcome);
    }

    /// Its session has ended, so there is nothing to write to.
    pub(crate) fn drops_write(&self) {
        telemetry::events::write_dropped();
        self.turns_out(Outcome::Ended);
    }

    /// Runs `command`, and runs it again on another connection when the one it had is lost, until
    /// the deadline. A try whose reply was lost may have been carried out: `command` must be safe
    /// to repeat.
    pub(crate) async fn run<T>(
        &self,
        command: impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let unavailable = |fault| Error::Unavailable {
            waited: self.observation.waited(),
            fault,
        };
        if self.deadline.left().is_zero() {
            return Err(unavailable(Fault::no_answer()));
        }

        let thread = self.leases.of_this_thread();
        let mut permit = thread.breaker.admit(&self.deadline).map_err(unavailable)?;
        let mut backoff = Backoff::default();
        loop {
            self.observation.tries_once_more();
            let fault = match self.try_once(thread, &mut permit, &command).await {
                Ok(reply) => {
                    permit.answered();
                    return Ok(reply);
                }
                Err(Failure::Permanent(error)) => {
                    permit.answered();
                    return Err(error);
                }
                Err(Failure::Transient(fault)) => fault,
            };
            if !fault.is_outage() {
                permit.answered();
            }
            if let Some(outage) = permit.revoked() {
                return Err(unavailable(outage));
            }
            if !Box::pin(backoff.pause(&self.deadline)).await {
                let outage = thread.outage(&fault);
                match &outage {
                    Some(outage) => permit.gave_up(outage),
                    None => permit.learnt_nothing(),
                }
                return Err(unavailable(outage.unwrap_or(fault)));
            }
            telemetry::events::retried();
        }
    }

    /// Whether a command that is sent now can wait for its answer for as long as any other.
    pub(crate) fn has_time_for_a_try(&self) -> bool {
        self.deadline.left() >= self.time_for_a_try()
    }

    /// A quarter: when no answer comes, there is time left to ask again elsewhere.
    fn time_for_a_try(&self) -> Duration {
        self.deadline.part(4)
    }

    async fn try_once<T>(
        &self,
        thread: &Arc<ThreadLease>,
        permit: &mut Permit<'_>,
        command: &impl AsyncFn(Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let lease = match thread.usable() {
            Some(lease) => lease,
            None => Box::pin(self.lease(thread, permit)).await?,
        };
        let mut answer = pin!(command(lease.connection.clone()));
        let outcome = loop {
            let has_time = self.has_time_for_a_try();
            let heard = self.deadline.wait(self.time_for_a_try(), answer.as_mut());
            if let Some(outcome) = heard.await {
                break outcome;
            }
            // Silence is the connection's fault only if there was time to speak.
            if has_time {
                self.heard_nothing(thread, &lease);
            }
            // A cluster's client keeps what a server does not answer: to ask that again on the
            // same connection would only add to it.
            let waits_on = lease.has_silent_master.load(Relaxed) && thread.holds(&lease);
            if !waits_on || self.deadline.left().is_zero() {
                return Err(Failure::Transient(Fault::no_answer()));
            }
        };
        let outcome = outcome.map_err(|failure| failure.on(&lease.connection));
        match &outcome {
            Err(Failure::Transient(fault)) => lease.retire(fault),
            _ => lease.answered(self.observation.started()),
        }
        outcome
    }

    fn heard_nothing(&self, thread: &Arc<ThreadLease>, lease: &Arc<Lease>) {
        if !lease.connection.is_cluster() {
            lease.retire(&Fault::no_answer());
        } else if let Ok(mut last) = thread.search.try_lock() {
            last.connecting(self.leases, || self.leases.look_into_silence(thread, lease));
        }
    }

    /// A lease for a thread that has none: the first to come searches, and the others wait for
    /// what it finds.
    async fn lease(
        &self,
        thread: &Arc<ThreadLease>,
        permit: &mut Permit<'_>,
    ) -> Result<Arc<Lease>, Failure> {
        let left = self.deadline.left();
        let turn = pin!(thread.search.lock());
        let Some(mut last) = self.deadline.wait(left, turn).await else {
            return Err(Failure::Transient(Fault::no_answer()));
        };
        if let Some(lease) = thread.usable() {
            return Ok(lease);
        }
        if let Some(outage) = permit.revoked() {
            return Err(Failure::Transient(outage));
        }
        if let Some(refusal) = last.refusal() {
            return Err(Failure::Permanent(refusal));
        }

        let mut backoff = Backoff::starting_at(last.pause());
        loop {
            if !backoff.pause(&self.deadline).await {
                // Before the next in line may search: it would do so in vain.
                let fault = last.fault().unwrap_or_else(Fault::no_answer);
                permit.gave_up(&fault);
                return Err(Failure::Transient(fault));
            }
            let found = self.search(thread, &mut last).await;
            last.ended(found.as_ref().err());
            match found {
                Ok(lease) => return Ok(lease),
                Err(Failure::Permanent(refusal)) => return Err(Failure::Permanent(refusal)),
                Err(Failure::Transient(_)) => {}
            }
        }
    }

    /// A connection of the thread's own while the pool has one, else a share in another thread's.
    async fn search(
        &self,
        thread: &Arc<ThreadLease>,
        last: &mut LastConnect,
    ) -> Result<Arc<Lease>, Failure> {
        let Leases { pool, leased, .. } = &**self.leases;
        let mut leased_elsewhere = pin!(leased.notified());
        let share = || {
            let lease = self.leases.least_shared();
            lease.inspect(|lease| thread.keep(lease))
        };
        let connecting = last.connecting(self.leases, || self.leases.connect(thread));
        let first = self.time_for_a_try();
        let mut connected = self.deadline.wait(first, &mut *connecting).await;
        if connected.is_none() {
            // Connecting goes on, and what it brings takes the place of the share.
            if let Some(lease) = share() {
                return Ok(lease);
            }
            let connected_or_share = pin!(async {
                tokio::select! {
                    connected = connecting => Some(connected),
                    () = leased_elsewhere.as_mut() => None,
                }
            });
            let left = self.deadline.left();
            connected = self.deadline.wait(left, connected_or_share).await.flatten();
        }
        let failure = match connected {
            Some(Ok(Err(failure))) => failure,
            // The runtime that was to connect has ended.
            Some(Err(_)) => Failure::Transient(Fault::no_answer()),
            // Maybe with a lease of another thread's.
            None | Some(Ok(Ok(()))) => match thread.usable().or_else(share) {
                Some(lease) => return Ok(lease),
                // Out of deadline: what the try before ran into says more.
                None => Failure::Transient(last.fault().unwrap_or_else(Fault::no_answer)),
            },
        };
        // Who could not connect so far may well be one too many for Redis, too.
        let is_one_too_many = match &failure {
            Failure::Transient(_) => self.deadline.left() <= self.deadline.part(2),
            Failure::Permanent(_) => false,
        };
        if (failure.is_pool_exhausted() || is_one_too_many)
            && let Some(lease) = share()
        {
            return Ok(lease);
        }
        if !failure.is_pool_exhausted() {
            return Err(failure);
        }
        let turn_or_share = pin!(async {
            tokio::select! {
                pooled = pool.get_in_line() => Ok(self.leases.lease(pooled?, thread)),
                () = leased_elsewhere => share().ok_or_else(|| Failure::Transient(Fault::no_answer())),
            }
        });
        let left = self.deadline.left();
        let lease = self.deadline.wait(left, turn_or_share).await;
        lease.unwrap_or(Err(failure))
    }
}
