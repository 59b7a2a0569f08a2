//! How soon to look for a connection again.

use std::{future::pending, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    client::deadline::Deadline,
    client::lease::Leases,
    error::{Error, Failure, Fault},
};

/// What came of the thread's latest search for a connection. The requests that follow at its
/// heels neither repeat what has just failed nor connect as fast as connections break.
#[derive(Default)]
pub(crate) struct LastConnect {
    ended: Option<Instant>,
    fault: Option<Fault>,
    refusal: Option<Error>,
    connecting: Option<(Instant, JoinHandle<Result<(), Failure>>)>,
}

impl LastConnect {
    pub(crate) const RECENT: Duration = Duration::from_millis(100);

    /// With a connection, or with this failure.
    pub(crate) fn ended(&mut self, failure: Option<&Failure>) {
        let (fault, refusal) = match failure {
            None => (None, None),
            Some(Failure::Transient(fault)) => (Some(fault.clone()), None),
            Some(Failure::Permanent(refusal)) => (None, Some(refusal.clone())),
        };
        *self = Self {
            ended: Some(Instant::now()),
            fault,
            refusal,
            connecting: self.connecting.take(),
        };
    }

    /// The connect that is under way, or else a new one.
    pub(crate) fn connecting(
        &mut self,
        leases: &Leases,
        connect: impl FnOnce() -> JoinHandle<Result<(), Failure>>,
    ) -> &mut JoinHandle<Result<(), Failure>> {
        // One whose runtime nobody drives any more does not even notice that its time is up.
        let too_long = leases.pool.time_to_connect(leases.deadline) * 2;
        if let Some((since, connecting)) = &self.connecting
            && (connecting.is_finished() || since.elapsed() > too_long)
        {
            connecting.abort();
            self.connecting = None;
        }
        let (_, connecting) = self
            .connecting
            .get_or_insert_with(|| (Instant::now(), connect()));
        connecting
    }

    fn is_recent(&self) -> bool {
        self.ended
            .is_some_and(|ended| ended.elapsed() < Self::RECENT)
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault.clone()
    }

    /// Redis would refuse the next one as well.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.refusal.clone().filter(|_| self.is_recent())
    }

    /// How long the next search has to wait.
    pub(crate) fn pause(&self) -> Duration {
        if self.is_recent() {
            Backoff::SHORTEST
        } else {
            Duration::ZERO
        }
    }
}

/// Pauses between tries: none before the second, then from 10 ms doubling up to 100 ms. Each is
/// cut by a random part of up to a half, so that workers that broke together return one by one.
#[derive(Default)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(100);

    pub(crate) fn starting_at(pause: Duration) -> Self {
        Self(pause)
    }

    /// Returns `false`, at once, when the pause would use up all deadline.
    pub(crate) async fn pause(&mut self, deadline: &Deadline) -> bool {
        let pause = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).clamp(Self::SHORTEST, Self::LONGEST);
        let in_time = pause < deadline.left();
        if in_time {
            deadline.wait(pause, pending::<()>()).await;
        }
        in_time
    }
}
