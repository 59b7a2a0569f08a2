//! Asks Redis, and knows no session: a [`Client`] runs what an [`Operation`] asks of Redis, again
//! and again if need be, until an answer stands or the deadline has passed.

mod breaker;
#[cfg(feature = "cluster")]
mod cluster;
mod connection;
mod deadline;
mod failure;
mod slot;

use std::{
    future::{pending, ready},
    iter::repeat,
    mem::forget,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::Either;
use tokio::{runtime::Handle, time::sleep};

use self::{
    breaker::{Answers, Breaker, Trial},
    deadline::Deadline,
    slot::Slots,
};
pub(crate) use self::{
    connection::{Connection, Connector},
    failure::Failure,
};
use crate::{
    error::{Error, Fault},
    telemetry::{events, observation::Observation},
};

/// What a store asks Redis with: a connection for each thread, one circuit breaker for all.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) deadline: Duration,
    /// An option that cannot work: every operation fails with it.
    pub(crate) invalid: Option<Error>,
    slots: Arc<Slots>,
    breaker: Breaker,
}

/// One operation of the store. All that it asks of Redis comes before one deadline.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    deadline: Deadline,
    pub(crate) observation: Observation<'a>,
    invalid: Option<&'a Error>,
}

impl Client {
    pub(crate) fn new(connector: Connector, invalid: Option<Error>) -> Arc<Self> {
        Arc::new(Self {
            deadline: connector.deadline,
            invalid,
            breaker: Breaker::new(connector.deadline / 2 + Duration::from_millis(500)),
            slots: Slots::new(connector),
        })
    }

    pub(crate) fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation {
            deadline: Deadline::new(self.deadline),
            observation: Observation::start(name, &self.slots.connector.log),
            invalid: self.invalid.as_ref(),
        }
    }

    /// Runs `command`, and runs it again, on another connection if need be, until an answer stands
    /// or the deadline has passed. A try whose reply was lost may have been carried out: `command`
    /// must be safe to repeat.
    pub(crate) async fn run<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        self: &Arc<Self>,
        op: &Operation<'_>,
        command: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error> {
        let answers = self.admit().map_err(|outage| op.unavailable(outage))?;
        let permit = Permit {
            client: self,
            deadline: &op.deadline,
            left: op.deadline.left(),
            answers,
        };
        let outcome = self.tries(op, &command).await;
        // What other steps of the operation have spent of its deadline was answered.
        let had_time = permit.left >= op.deadline.total / 2;
        forget(permit);
        outcome.map_err(|failure| match failure {
            Failure::Permanent(error) => error,
            Failure::Transient(fault) if !had_time => op.unavailable(fault),
            Failure::Transient(fault) => op.unavailable(self.gave_up(answers, fault)),
        })
    }

    /// The only loop of an operation.
    async fn tries<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        self: &Arc<Self>,
        op: &Operation<'_>,
        command: &(impl Fn(Arc<Connection>) -> F + Sync),
    ) -> Result<T, Failure> {
        let command = |redis| {
            op.observation.tries_once_more();
            command(redis)
        };
        let mut known = None;
        for pause in backoff() {
            let outcome = self.attempt(&op.deadline, known.is_some(), command).await;
            known = match outcome {
                // What an earlier try has run into says more.
                Err(Failure::Transient(fault)) if fault.is_silence() => known.or(Some(fault)),
                Err(Failure::Transient(fault)) => Some(fault),
                outcome => return outcome,
            };
            if pause >= op.deadline.left() {
                break;
            }
            op.deadline.wait(pause, pending::<()>()).await;
            events::retried();
            self.admit().map_err(Failure::Transient)?;
        }
        Err(known.map_or_else(Failure::no_answer, Failure::Transient))
    }

    /// One try, and what follows from it for its connection, and for all others.
    async fn attempt<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        &self,
        deadline: &Deadline,
        alone: bool,
        command: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Failure> {
        let attempt = async {
            let connection = self.slots.connection(deadline, alone).await?;
            let answer = command(Arc::clone(&connection));
            let heard = connection.listen(deadline, answer).await;
            let outcome = heard.ok_or_else(Failure::no_answer)?;
            if let Err(Failure::Transient(fault)) = &outcome {
                if connection.is_given_up_for(fault) {
                    self.slots.give_up(&connection, fault);
                } else if fault.is_silence() || connection.is_cluster() && fault.is_cluster_down() {
                    self.slots.begin_succession(&connection);
                }
            }
            outcome
        };
        let outcome = attempt.await;
        if outcome.as_ref().err().is_none_or(Failure::is_answer) {
            self.breaker.answered();
        }
        outcome
    }

    fn admit(self: &Arc<Self>) -> Result<Answers, Fault> {
        self.breaker.admit(|| self.start_trial())
    }

    /// What a fault that lasted until the deadline means: an outage, unless it only concerns this
    /// operation, or Redis has answered others meanwhile.
    fn gave_up(self: &Arc<Self>, answers: Answers, fault: Fault) -> Fault {
        let outage = match self.slots.least_shared() {
            _ if !fault.is_outage() => None,
            Some(connection) => connection.outage_by(&fault),
            None => Some(fault.clone()),
        };
        if let Some(outage) = &outage {
            self.breaker.open(outage, answers, || self.start_trial());
        }
        outage.unwrap_or(fault)
    }

    fn start_trial(self: &Arc<Self>) -> Trial {
        let runtime = Handle::try_current().ok()?;
        self.slots.stop_connecting();
        let trial = make_trial_calls(Arc::downgrade(self));
        Some(runtime.spawn(trial).abort_handle())
    }
}

/// Looks whether Redis is back, so that no request has to pay for that.
async fn make_trial_calls(client: Weak<Client>) {
    for pause in backoff() {
        sleep(pause).await;
        match client.upgrade() {
            Some(client) if client.breaker.trial_is_under_way(true) => {
                let deadline = Deadline::new(client.deadline / 2);
                let ping = |redis: Arc<Connection>| async move { redis.ping().await };
                let _ = client.attempt(&deadline, true, ping).await;
                client.breaker.trial_is_under_way(false);
            }
            _ => return,
        }
    }
}

/// The pauses after each try: none before the second, then from 10 ms doubling up to 100 ms. Each is
/// cut by a random part of up to a half, so that workers that broke together return one by one.
fn backoff() -> impl Iterator<Item = Duration> {
    let milliseconds = [0, 10, 20, 40, 80].into_iter().chain(repeat(100));
    milliseconds.map(|ms| Duration::from_millis(ms).mul_f64(rand::random_range(0.5..=1.0)))
}

/// An operation that was let through by the circuit breaker, until it is known what came of it.
struct Permit<'a> {
    client: &'a Arc<Client>,
    deadline: &'a Deadline,
    /// Of the deadline, when it was let through.
    left: Duration,
    answers: Answers,
}

/// Whose client hangs up after half of the deadline speaks of an outage, too: clients with less
/// patience than the deadline would never open the circuit otherwise.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let waited = self.left.saturating_sub(self.deadline.left());
        if waited >= self.deadline.total / 2 {
            let fault = self.client.slots.connector.why_no_connection();
            self.client.gave_up(self.answers, fault);
        }
    }
}

impl Operation<'_> {
    /// Does the work, unless an option cannot work, and reports what comes of it.
    pub(crate) fn of<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        self.observation.of(match self.invalid {
            Some(invalid) => Either::Left(ready(Err(invalid.clone()))),
            None => Either::Right(work),
        })
    }

    /// Whether it is worth while to send another command.
    pub(crate) fn has_time_for_a_try(&self) -> bool {
        self.deadline.left() >= self.deadline.total / 4
    }

    /// Waits for something else than Redis, and so long that there is time for a try.
    pub(crate) async fn wait<T>(&self, what: impl Future<Output = T> + Unpin) -> Option<T> {
        let (total, left) = (self.deadline.total, self.deadline.left());
        let limit = left.saturating_sub(total / 4).min(total / 2);
        self.deadline.wait(limit, what).await
    }

    pub(crate) fn unavailable(&self, fault: Fault) -> Error {
        let waited = self.observation.waited();
        Error::Unavailable { waited, fault }
    }
}
