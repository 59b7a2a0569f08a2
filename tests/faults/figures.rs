use std::{
    fmt,
    ops::Range,
    time::{Duration, Instant},
};

use crate::{trial::VISITORS, visitor::Visitor};

/// How long it takes to serve all visitors when they come at once, as they do when something has
/// held them up.
const CROWD: Duration = Duration::from_millis(100);

pub(crate) struct Request {
    pub(crate) sent: Instant,
    pub(crate) took: Duration,
    /// With what was asked for, not with an error.
    pub(crate) answered: bool,
}

impl Request {
    pub(crate) fn done(&self) -> Instant {
        self.sent + self.took
    }

    /// From beginning to end.
    pub(crate) fn is_within(&self, time: &Range<Instant>) -> bool {
        time.contains(&self.sent) && time.contains(&self.done())
    }

    pub(crate) fn is_under_way(&self, moment: Instant) -> bool {
        (self.sent..self.done()).contains(&moment)
    }
}

/// What came of a load.
pub(crate) struct Figures {
    pub(crate) visits: Requests,
    /// Requests for a path without a session, at the same time: how late an answer is when Redis
    /// has no part in it, on this machine with what else it has to do.
    pub(crate) control: Requests,
    /// Failed visits that Redis has counted.
    pub(crate) counted_failures: u64,
    /// Answered visits that no replica had got when it took the place of their server.
    lost: u64,
    /// Of how many visitors each answered visit is counted, and nothing else.
    exact: usize,
    /// What visitors saw that they must not see.
    surprises: Vec<String>,
    visitors_held_up: Vec<String>,
}

impl Figures {
    pub(crate) fn new(visits: Requests, control: Requests, visitors: &[Visitor]) -> Self {
        Self {
            visits,
            control,
            counted_failures: visitors.iter().map(Visitor::counted_failures).sum(),
            visitors_held_up: visitors
                .iter()
                .filter(|it| it.was_held_up())
                .map(|it| it.name().to_owned())
                .collect(),
            lost: visitors.iter().map(Visitor::lost).sum(),
            exact: visitors
                .iter()
                .filter(|it| it.lost() == 0 && it.surprise().is_none())
                .count(),
            surprises: visitors
                .iter()
                .filter_map(Visitor::surprise)
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Every session holds what its visitor knows it must hold.
    pub(crate) fn assert_sessions_are_exact(&self) {
        assert!(self.surprises.is_empty(), "{:#?}", self.surprises);
    }

    /// Redis replicates what it has answered already, so no failover promises to lose nothing.
    pub(crate) fn assert_lost_at_most(&self, writes: usize) {
        assert!(self.lost <= writes as u64, "{} writes are lost", self.lost);
    }

    pub(crate) fn assert_none_failed(&self) {
        assert_eq!(self.visits.failed().count(), 0, "requests failed");
    }

    /// By their names.
    pub(crate) fn visitors_held_up(&self) -> &[String] {
        &self.visitors_held_up
    }

    /// Every visit was answered within this time, as far as this machine can tell.
    pub(crate) fn assert_answered_within(&self, limit: Duration) {
        let (longest, hold_up) = (self.visits.longest(), self.hold_up());
        assert!(
            longest <= limit + hold_up,
            "{longest:?} is longer than {limit:?}, and {hold_up:?} is no excuse"
        );
    }

    /// Who came before the trouble could be noticed, or long after it, was served.
    pub(crate) fn assert_failed_only_in(&self, trouble: &Range<Instant>) {
        let too_early = self.visits.failed().filter(|it| it.done() < trouble.start);
        assert_eq!(too_early.count(), 0, "requests failed before the trouble");
        self.assert_served_again(trouble.end);
    }

    /// How much longer than it should a visit may take, because of the machine: it is passed on
    /// twice as often as a request of the control.
    pub(crate) fn hold_up(&self) -> Duration {
        self.control.longest() * 2 + CROWD
    }

    /// The first visitor is served within a second of Redis coming back, and whoever comes after
    /// that second is.
    pub(crate) fn assert_served_again(&self, back: Instant) {
        let second = Duration::from_secs(1) + self.hold_up();
        let first = self.first_answer_after(back);
        assert!(first <= second, "the first answer took {first:?}");
        let late = self.visits.failed().filter(|it| it.sent > back + second);
        let late: Vec<_> = late.map(|it| (it.sent - back, it.took)).collect();
        assert!(
            late.is_empty(),
            "requests failed long after Redis was back (sent after, took): {late:?}"
        );
    }

    /// How long after `back` the first visitor is served.
    pub(crate) fn first_answer_after(&self, back: Instant) -> Duration {
        let answers = self.visits.answered().map(Request::done);
        answers.filter(|&done| done > back).min().unwrap() - back
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            visits, control, ..
        } = self;
        write!(
            f,
            "{} requests, {} failed{}, longest {} ms (without a session {} ms), \
             {} of {VISITORS} sessions exact{}",
            thousands(visits.0.len()),
            thousands(visits.failed().count()),
            match self.counted_failures {
                0 => String::new(),
                counted => format!(" ({counted} of them counted)"),
            },
            visits.longest().as_millis(),
            control.longest().as_millis(),
            self.exact,
            match self.lost {
                0 => String::new(),
                lost => format!(", {lost} answered writes lost"),
            },
        )
    }
}

pub(crate) fn thousands(number: usize) -> String {
    match (number / 1_000, number % 1_000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

pub(crate) struct Requests(Vec<Request>);

impl Requests {
    pub(crate) fn answered(&self) -> impl Iterator<Item = &Request> {
        self.0.iter().filter(|request| request.answered)
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Request> {
        self.0.iter().filter(|request| !request.answered)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.0.iter().map(|request| request.took).max().unwrap()
    }

    pub(crate) fn median(&self) -> Duration {
        self.median_of(|_| true)
    }

    pub(crate) fn median_of(&self, which: impl Fn(&Request) -> bool) -> Duration {
        let those = self.0.iter().filter(|request| which(request));
        let mut took: Vec<_> = those.map(|request| request.took).collect();
        took.sort();
        took[took.len() / 2]
    }

    /// How many requests were under way at once, for half of this time at least; those that took
    /// no longer than `short` do not count.
    pub(crate) fn at_once_in(&self, time: &Range<Instant>, short: Duration) -> usize {
        const MOMENTS: u32 = 1_000;
        let long: Vec<_> = self.0.iter().filter(|it| it.took > short).collect();
        let moments = (0..MOMENTS).map(|i| time.start + (time.end - time.start) * i / MOMENTS);
        let mut counts: Vec<_> = moments
            .map(|moment| long.iter().filter(|it| it.is_under_way(moment)).count())
            .collect();
        counts.sort();
        counts[counts.len() / 2]
    }
}

impl From<Vec<Request>> for Requests {
    fn from(requests: Vec<Request>) -> Self {
        Self(requests)
    }
}

impl FromIterator<Request> for Requests {
    fn from_iter<I: IntoIterator<Item = Request>>(requests: I) -> Self {
        Self(requests.into_iter().collect())
    }
}
