//! Asks Redis, and knows no session.
//!
//! A [`Client`] runs what an [`Operation`] asks of Redis, again and again if need be, until an
//! answer stands or the deadline has passed.

mod backoff;
mod breaker;
#[cfg(feature = "cluster")]
mod cluster;
mod connection;
mod deadline;
mod failure;
mod pool;
mod slot;
#[cfg(feature = "rustls")]
mod tls;

use std::{
    fmt,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either, select},
};
use tokio::{runtime::Handle, task::JoinHandle};

pub use self::pool::RedisPool;
use self::{
    backoff::Backoff,
    breaker::{Breaker, Permit},
    deadline::Deadline,
    slot::{Connector, Lease, Slots},
};
pub(crate) use self::{connection::Connection, failure::Failure};
use crate::{
    error::{Error, Fault},
    telemetry::{
        events::{self, Log},
        operation::Observation,
    },
};

/// What a store asks Redis with: a connection for each thread, one circuit breaker for all.
pub(crate) struct Client {
    deadline: Duration,
    slots: Slots,
    breaker: Breaker,
    log: Arc<Log>,
    /// An option that cannot work: nothing is asked then.
    invalid: Option<Error>,
    /// For the task that makes the trial calls.
    this: Weak<Self>,
}

/// What the builder of a store says of its connections.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) pool: RedisPool,
    pub(crate) deadline: Duration,
    pub(crate) client_name: Option<String>,
    pub(crate) max_connection_age: Option<Duration>,
}

/// One operation of the store. All that it asks of Redis comes before one deadline.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    deadline: Deadline,
    pub(crate) observation: Observation<'a>,
}

impl Client {
    pub(crate) fn new(settings: Settings, invalid: Option<Error>) -> Arc<Self> {
        let deadline = settings.deadline;
        let connector = Connector {
            pool: settings.pool,
            deadline,
            client_name: settings.client_name,
            max_age: settings.max_connection_age,
        };
        Arc::new_cyclic(|this| Self {
            deadline,
            slots: Slots::new(connector),
            breaker: Breaker::default(),
            log: Arc::default(),
            invalid,
            this: Weak::clone(this),
        })
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Starts the clock.
    pub(crate) fn operation(&self, name: &'static str) -> Operation<'_> {
        Operation {
            deadline: Deadline::new(self.deadline),
            observation: Observation::start(name, &self.log),
        }
    }

    /// Runs `command`, and runs it again, on another connection if need be, until an answer stands
    /// or the deadline has passed. A try whose reply was lost may have been carried out: `command`
    /// must be safe to repeat.
    pub(crate) async fn run<T, F>(
        &self,
        op: &Operation<'_>,
        command: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        if let Some(invalid) = &self.invalid {
            return Err(invalid.clone());
        }
        let permit = self.breaker.permit(&op.deadline, || self.start_trial());
        let permit = permit.map_err(|outage| op.unavailable(outage))?;
        let giving_up = GivingUp {
            client: self,
            permit,
        };
        let outcome = self.tries(op, &command).await;
        giving_up.settled(&outcome);
        outcome.map_err(|failure| match failure {
            Failure::Permanent(error) => error,
            Failure::Transient(fault) => op.unavailable(fault),
        })
    }

    /// The same, but what Redis replies stands, even if it would reply something else in a moment:
    /// unless another connection may lead to another server.
    pub(crate) async fn run_once<T, F>(
        &self,
        op: &Operation<'_>,
        command: impl Fn(Arc<Connection>) -> F + Sync,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.run(op, |connection| {
            let answer = command(Arc::clone(&connection));
            async move {
                match answer.await {
                    Err(Failure::Transient(fault))
                        if fault.reply().is_some() && !connection.is_given_up_for(&fault) =>
                    {
                        Err(Failure::Permanent(op.unavailable(fault)))
                    }
                    outcome => outcome,
                }
            }
        })
        .await
    }

    /// The only loop of an operation.
    async fn tries<T, F>(
        &self,
        op: &Operation<'_>,
        command: &(impl Fn(Arc<Connection>) -> F + Sync),
    ) -> Result<T, Failure>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let mut backoff = Backoff::default();
        loop {
            if let Some(outage) = self.breaker.outage() {
                return Err(Failure::Transient(outage));
            }
            let lease = match self.slots.ready() {
                Some(lease) => Ok(lease),
                None => Box::pin(self.slots.lease(&op.deadline)).await,
            };
            let outcome = match lease {
                Err(failure) => Err(failure),
                Ok(lease) => {
                    op.observation.tries_once_more();
                    let mut answer = pin!(command(Arc::clone(&lease.connection)));
                    match self.listen(op, &lease, answer.as_mut()).await {
                        Some(outcome) => self.conclude(&lease, outcome),
                        // A slow line brings a large reply late: it is waited for, beside those
                        // to the tries that follow.
                        None => return first_answer(answer, self.more_tries(op, command)).await,
                    }
                }
            };
            let Err(Failure::Transient(fault)) = outcome else {
                return outcome;
            };
            if !Box::pin(backoff.pause(&op.deadline)).await {
                return Err(Failure::Transient(self.outage(&fault).unwrap_or(fault)));
            }
            events::retried();
        }
    }

    fn more_tries<'a, T, F>(
        &'a self,
        op: &'a Operation<'_>,
        command: &'a (impl Fn(Arc<Connection>) -> F + Sync),
    ) -> BoxFuture<'a, Result<T, Failure>>
    where
        T: Send + 'a,
        F: Future<Output = Result<T, Failure>> + Send + 'a,
    {
        self.tries(op, command).boxed()
    }

    /// Waits for the answer for as long as others get theirs on the same connection. `None` when
    /// it is silent: nothing at all was answered there for a quarter of the deadline.
    async fn listen<T, F>(
        &self,
        op: &Operation<'_>,
        lease: &Lease,
        mut answer: Pin<&mut F>,
    ) -> Option<Result<T, Failure>>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        loop {
            let answers = lease.connection.answers();
            let has_time = op.has_time_for_a_try();
            let heard = op.deadline.wait(op.time_for_a_try(), answer.as_mut());
            if let Some(outcome) = heard.await {
                return Some(outcome);
            }
            if !has_time || op.deadline.left().is_zero() {
                return Some(Err(Failure::Transient(Fault::no_answer())));
            }
            if lease.connection.answers() == answers {
                self.fell_silent(lease);
                return None;
            }
        }
    }

    fn conclude<T>(&self, lease: &Lease, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::Transient(fault)) = &outcome {
            if !fault.is_outage() {
                self.breaker.answered();
            }
            if lease.connection.is_given_up_for(fault) {
                lease.give_up(fault, &self.log);
            }
        }
        outcome
    }

    /// Another connection takes its place. In a cluster, it may be one of the servers that is
    /// silent, and the connection is of use to those who need the others.
    fn fell_silent(&self, lease: &Lease) {
        #[cfg(feature = "cluster")]
        if cluster::look_after(&self.slots.connector, lease, &self.log) {
            return;
        }
        lease.give_up(&Fault::no_answer(), &self.log);
    }

    /// Opens the circuit, unless Redis has answered anybody meanwhile.
    fn gave_up(&self, permit: &Permit<'_>, fault: &Fault) {
        if let Some(outage) = self.outage(fault) {
            self.breaker.open(&outage, permit, || self.start_trial());
        }
    }

    /// What the fault that one operation has met until its deadline means for all others.
    fn outage(&self, fault: &Fault) -> Option<Fault> {
        let outage = fault.is_outage().then(|| fault.clone())?;
        #[cfg(feature = "cluster")]
        if let Some(lease) = self.slots.ready()
            && let Some(cluster) = lease.connection.cluster()
        {
            return cluster.outage(outage);
        }
        Some(outage)
    }

    /// `None` where there is no runtime to run it on.
    fn start_trial(&self) -> Option<JoinHandle<()>> {
        let runtime = Handle::try_current().ok()?;
        Some(runtime.spawn(make_trial_calls(Weak::clone(&self.this))))
    }

    /// Closes the circuit if Redis answers, whatever it says.
    async fn trial_call(&self) {
        let deadline = Deadline::new(self.deadline);
        let call = pin!(async {
            let lease = match self.slots.ready() {
                Some(lease) => lease,
                None => self.slots.lease(&deadline).await?,
            };
            let answer = lease.connection.ping().await;
            self.conclude(&lease, answer)
        });
        let limit = self.deadline / 2;
        let answer = Deadline::new(limit).wait(limit, call).await;
        if let Some(Ok(()) | Err(Failure::Permanent(_))) = answer {
            self.breaker.answered();
        }
    }
}

/// Looks whether Redis is back, so that no request has to pay for that.
async fn make_trial_calls(client: Weak<Client>) {
    let mut backoff = Backoff::default();
    loop {
        tokio::time::sleep(backoff.next()).await;
        let Some(client) = client.upgrade() else {
            return;
        };
        if !client.breaker.half_open() {
            return;
        }
        client.trial_call().await;
        client.breaker.reopen();
    }
}

/// The answer to an earlier try, or what comes of those that follow it.
async fn first_answer<T>(
    answer: Pin<&mut (impl Future<Output = Result<T, Failure>> + Send)>,
    more_tries: BoxFuture<'_, Result<T, Failure>>,
) -> Result<T, Failure> {
    match select(answer, more_tries).await {
        Either::Left((Err(Failure::Transient(_)), more_tries)) => more_tries.await,
        Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
    }
}

/// Whose client hangs up after half of the deadline may have found an outage as well.
struct GivingUp<'a> {
    client: &'a Client,
    permit: Permit<'a>,
}

impl GivingUp<'_> {
    fn settled<T>(self, outcome: &Result<T, Failure>) {
        match outcome {
            Ok(_) | Err(Failure::Permanent(_)) => self.client.breaker.answered(),
            Err(Failure::Transient(fault)) => self.client.gave_up(&self.permit, fault),
        }
        std::mem::forget(self);
    }
}

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        if self.permit.has_waited() {
            self.client.gave_up(&self.permit, &Fault::no_answer());
        }
    }
}

impl Operation<'_> {
    /// Whether a command that is sent now can wait for its answer for as long as any other.
    pub(crate) fn has_time_for_a_try(&self) -> bool {
        self.deadline.left() >= self.time_for_a_try()
    }

    /// A quarter: when no answer comes, there is time left to ask again elsewhere.
    fn time_for_a_try(&self) -> Duration {
        self.deadline.part(4)
    }

    fn unavailable(&self, fault: Fault) -> Error {
        Error::Unavailable {
            waited: self.observation.waited(),
            fault,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("slots", &self.slots)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
