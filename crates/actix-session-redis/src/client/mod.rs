//! Asks Redis, and knows no session: a [`Client`] runs what an [`Operation`] asks of Redis, again
//! and again if need be, until an answer stands or the deadline has passed.

mod backoff;
mod breaker;
#[cfg(feature = "cluster")]
mod cluster;
mod connection;
mod deadline;
mod failure;
mod slot;

use std::{
    future::ready,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::Either;
use tokio::{runtime::Handle, time::sleep};

use self::{
    backoff::Backoff,
    breaker::{Answers, Breaker, Trial},
    deadline::Deadline,
    slot::{Lease, Slots},
};
pub(crate) use self::{
    connection::{Connection, Connector},
    failure::Failure,
};
use crate::{
    error::{Error, Fault},
    telemetry::{events, operation::Observation},
};

/// What a store asks Redis with: a connection for each thread, one circuit breaker for all.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) deadline: Duration,
    slots: Slots,
    breaker: Breaker,
    /// An option that cannot work: every operation fails with it.
    pub(crate) invalid: Option<Error>,
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
            breaker: Breaker::new(connector.deadline / 2 + Duration::from_millis(500)),
            slots: Slots::new(connector),
            invalid,
        })
    }

    /// Starts the clock.
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
        let mut permit = Permit {
            client: self,
            deadline: &op.deadline,
            left: op.deadline.left(),
            answers: Some(answers),
        };
        let outcome = self.tries(op, &command).await;
        permit.answers = None;
        if outcome.as_ref().err().is_none_or(Failure::is_answer) {
            self.breaker.answered();
        }
        outcome.map_err(|failure| match failure {
            Failure::Permanent(error) => error,
            Failure::Transient(fault) => op.unavailable(self.gave_up(answers, fault)),
        })
    }

    /// The only loop of an operation.
    async fn tries<T: Send, F: Future<Output = Result<T, Failure>> + Send>(
        self: &Arc<Self>,
        op: &Operation<'_>,
        command: &(impl Fn(Arc<Connection>) -> F + Sync),
    ) -> Result<T, Failure> {
        let mut backoff = Backoff::default();
        let mut known = None;
        loop {
            let tried = async {
                let lease = self.slots.lease(&op.deadline, known.is_some()).await?;
                op.observation.tries_once_more();
                let answer = pin!(command(Arc::clone(&lease.connection)));
                match listen(&op.deadline, &lease.connection, answer).await {
                    Some(outcome) => self.conclude(&lease, outcome),
                    None => Err(Failure::no_answer()),
                }
            };
            let fault = match tried.await {
                // What an earlier try has run into says more.
                Err(Failure::Transient(fault)) if fault.is_silence() => known.unwrap_or(fault),
                Err(Failure::Transient(fault)) => fault,
                outcome => return outcome,
            };
            if !Box::pin(backoff.pause(&op.deadline)).await {
                return Err(Failure::Transient(fault));
            }
            known = Some(fault);
            events::retried();
            self.admit().map_err(Failure::Transient)?;
        }
    }

    /// What comes of the connection after a try.
    fn conclude<T>(&self, lease: &Lease, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure @ Failure::Transient(fault)) = &outcome {
            let connector = &self.slots.connector;
            if failure.is_answer() {
                self.breaker.answered();
            }
            if lease.connection.is_given_up_for(fault) {
                lease.give_up(fault, &connector.log);
            } else if fault.is_silence() {
                lease.look_after(connector);
            }
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
            Some(lease) => lease.connection.outage_by(&fault),
            None => Some(fault.clone()),
        };
        if let Some(outage) = &outage {
            self.breaker.open(outage, answers, || self.start_trial());
        }
        outage.unwrap_or(fault)
    }

    fn start_trial(self: &Arc<Self>) -> Trial {
        let runtime = Handle::try_current().ok()?;
        Some(runtime.spawn(make_trial_calls(Arc::downgrade(self))))
    }

    async fn trial_call(&self) -> Result<(), Failure> {
        let deadline = Deadline::new(self.deadline / 2);
        let lease = self.slots.lease(&deadline, true).await?;
        let answer = pin!(lease.connection.ping());
        let answer = deadline.wait(deadline.left(), answer).await;
        self.conclude(&lease, answer.unwrap_or_else(|| Err(Failure::no_answer())))
    }
}

/// Looks whether Redis is back, so that no request has to pay for that.
async fn make_trial_calls(client: Weak<Client>) {
    let mut backoff = Backoff::default();
    if let Some(client) = client.upgrade() {
        client.slots.stop_connecting();
    }
    loop {
        sleep(backoff.next()).await;
        match client.upgrade() {
            Some(client) if client.breaker.trial_begins() => match client.trial_call().await {
                Err(failure) if !failure.is_answer() => client.breaker.trial_failed(),
                _ => client.breaker.answered(),
            },
            _ => return,
        }
    }
}

/// Waits for the answer for as long as others get theirs on the same connection: a large reply may
/// come on a slow line. When nothing at all was answered there for three eighths of the deadline,
/// there is time left to ask again elsewhere. `None`: the deadline has passed before.
async fn listen<T>(
    deadline: &Deadline,
    connection: &Connection,
    mut answer: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Option<Result<T, Failure>> {
    // Of a cluster, one server is asked, and that others answer says nothing of that one.
    let is_cluster = connection.is_cluster();
    let most = if is_cluster { 2 } else { 3 };
    let mut silent_eighths = 0;
    while !deadline.left().is_zero() {
        if silent_eighths == most {
            return Some(Err(Failure::no_answer()));
        }
        let answers = connection.answers();
        let heard = deadline.wait(deadline.part(8), answer.as_mut()).await;
        if heard.is_some() {
            return heard;
        }
        silent_eighths = match connection.answers() == answers || is_cluster {
            true => silent_eighths + 1,
            false => 0,
        };
    }
    None
}

/// An operation that was let through by the circuit breaker.
struct Permit<'a> {
    client: &'a Arc<Client>,
    deadline: &'a Deadline,
    /// Of the deadline, when it was let through.
    left: Duration,
    /// At that time; None once it is known what came of it.
    answers: Option<Answers>,
}

/// Whose client hangs up after half of the deadline speaks of an outage, too: clients with less
/// patience than the deadline would never open the circuit otherwise.
impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let waited = self.left.saturating_sub(self.deadline.left());
        if let Some(answers) = self.answers
            && waited >= self.deadline.part(2)
        {
            let fault = self.client.slots.connector.why_no_connection();
            self.client.gave_up(answers, fault);
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
        self.deadline.left() >= self.deadline.part(4)
    }

    /// Waits for something else than Redis, and so long that there is time for some tries.
    pub(crate) async fn wait<T>(&self, what: impl Future<Output = T> + Unpin) -> Option<T> {
        self.deadline.wait(self.deadline.part(2), what).await
    }

    pub(crate) fn unavailable(&self, fault: Fault) -> Error {
        let waited = self.observation.waited();
        Error::Unavailable { waited, fault }
    }
}
