//! What was to be reached, and what has been.

use crate::{
    contender::Contender::{self, Consistent, Floor, Metrics, Nothing, Ours, Pooled, Single},
    experiment::{Finding, Findings},
    figures::{Round, Spread},
    memory::Growth,
    setting::Route,
    table::Table,
};

/// Everything that a full run has found out.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) counter: &'a Findings,
    pub(crate) sliding: &'a Findings,
    pub(crate) state_sizes: &'a Findings,
    pub(crate) sessions: &'a Findings,
    pub(crate) delayed: &'a Findings,
    pub(crate) memory: &'a [Growth],
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

pub(crate) fn table(results: &Results<'_>) -> Table {
    use Bound::{AtLeast, AtMost};

    let mut table = Table::new(["to reach", "bound", "measured", "reached"]);
    let mut check = |what: &str, bound: Bound, measured: Option<Spread>| {
        let Some(measured) = measured else { return };
        let (sign, limit, reached) = match bound {
            AtLeast(limit) => ("≥", limit, measured.median >= limit),
            AtMost(limit) => ("≤", limit, measured.median <= limit),
        };
        table.row([
            what.to_owned(),
            format!("{sign} {limit}"),
            measured.to_string(),
            if reached { "yes" } else { "no" }.to_owned(),
        ]);
    };

    let counter = Of(results.counter, Route::Counter.to_string());
    let rate = |round: &Round| round.rate();
    let p99 = |round: &Round| round.load.p99.as_secs_f64();
    let cpu = |round: &Round| round.server_cpu_per_request();
    check(
        "counter: requests/s, of the pooled",
        AtLeast(4.5),
        counter.ratio(Ours, Pooled, rate),
    );
    check(
        "counter: requests/s, of the single connection",
        AtLeast(1.2),
        counter.ratio(Ours, Single, rate),
    );
    check(
        "counter: requests/s, of the floor",
        AtLeast(0.97),
        counter.ratio(Ours, Floor, rate),
    );
    check(
        "counter: CPU per request, of the single connection",
        AtMost(0.85),
        counter.ratio(Ours, Single, cpu),
    );
    check(
        "counter: p99, of the pooled",
        AtMost(1.0),
        counter.ratio(Ours, Pooled, p99),
    );
    check(
        "counter: p99, of the single connection",
        AtMost(1.0),
        counter.ratio(Ours, Single, p99),
    );
    check(
        "counter, with metrics: requests/s, of the same store without",
        AtLeast(0.97),
        counter.ratio(Metrics, Ours, rate),
    );
    check(
        "counter, with metrics: CPU per request, of the same store without",
        AtMost(1.03),
        counter.ratio(Metrics, Ours, cpu),
    );
    check(
        "counter, ConsistentSessions: requests/s, of the same store without",
        AtLeast(0.9),
        counter.ratio(Consistent, Ours, rate),
    );
    check("counter: commands", AtMost(2.0), counter.commands(Ours));
    check(
        "counter, ConsistentSessions: commands",
        AtMost(2.0),
        counter.commands(Consistent),
    );

    let sliding = Of(results.sliding, Route::SlidingRead.to_string());
    check(
        "sliding, ConsistentSessions: requests/s, of the pooled",
        AtLeast(4.2),
        sliding.ratio(Consistent, Pooled, rate),
    );
    check(
        "sliding, ConsistentSessions: requests/s, of the single",
        AtLeast(1.1),
        sliding.ratio(Consistent, Single, rate),
    );

    let delayed_counter = Of(results.delayed, Route::Counter.to_string());
    let delayed_sliding = Of(results.delayed, Route::SlidingRead.to_string());
    check(
        "1 ms, counter: p50, less that without a session, in round trips",
        AtMost(2.1),
        delayed_counter.waits(Ours),
    );
    check(
        "1 ms, sliding, ConsistentSessions: the same",
        AtMost(1.05),
        delayed_sliding.waits(Consistent),
    );

    for contender in [Ours, Consistent] {
        let many = results
            .sessions
            .0
            .iter()
            .filter(|finding| finding.contender == contender);
        if let [few, many] = &many.collect::<Vec<_>>()[..] {
            let what =
                format!("{contender}: requests/s with the most sessions, of that with 1,000");
            check(&what, AtLeast(0.95), Some(many.ratio(few, rate)));
        }
        let cost = |contender| cost_per_byte(results.state_sizes, contender);
        let of_floor = cost(contender)
            .zip(cost(Floor))
            .map(|(ours, floor)| exactly(ours / floor));
        check(
            &format!("{contender}: CPU per byte of state, of the floor"),
            AtMost(1.1),
            of_floor,
        );
    }
    for growth in results.memory {
        let what = format!("{}: resident late, of that early", growth.contender);
        check(&what, AtMost(1.1), Some(exactly(growth.ratio())));
    }
    let pings = |contender| Some(exactly(counter.find(contender)?.commands.of("PING")));
    check("counter: PING", AtMost(0.0), pings(Ours));
    check(
        "counter, ConsistentSessions: PING",
        AtMost(0.0),
        pings(Consistent),
    );
    table
}

/// Server and Redis together, between the smallest state and the largest.
fn cost_per_byte(sizes: &Findings, contender: Contender) -> Option<f64> {
    let mut of_contender = sizes
        .0
        .iter()
        .filter(|finding| finding.contender == contender);
    let (small, large) = (of_contender.next()?, of_contender.next_back()?);
    let cpu = |finding: &Finding| {
        finding.median(|round| round.server_cpu_per_request() + round.redis_cpu_per_request())
    };
    let bytes = large.setting.state_bytes - small.setting.state_bytes;
    Some((cpu(large) - cpu(small)) / bytes as f64)
}

fn exactly(value: f64) -> Spread {
    Spread::of([value])
}

/// The findings for one setting.
struct Of<'a>(&'a Findings, String);

impl Of<'_> {
    fn find(&self, contender: Contender) -> Option<&Finding> {
        self.0.of(contender, &self.1)
    }

    fn ratio(
        &self,
        this: Contender,
        that: Contender,
        value: impl Fn(&Round) -> f64,
    ) -> Option<Spread> {
        Some(self.find(this)?.ratio(self.find(that)?, value))
    }

    /// How many round trips to Redis the session takes.
    fn waits(&self, contender: Contender) -> Option<Spread> {
        let (finding, bare) = (self.find(contender)?, self.find(Nothing)?);
        let rounds = finding.rounds.iter().zip(&bare.rounds);
        let values = rounds
            .zip(&finding.round_trips)
            .map(|((with, without), trip)| {
                with.load.p50.saturating_sub(without.load.p50).as_secs_f64() / trip.as_secs_f64()
            });
        Some(Spread::of(values))
    }

    fn commands(&self, contender: Contender) -> Option<Spread> {
        Some(exactly(self.find(contender)?.commands.per_request()))
    }
}
