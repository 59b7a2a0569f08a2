//! What there is to reach.

use crate::{
    contender::Contender::{
        self, Consistent, Counter, Floor, Metrics, Ours, Pooled, Sealed, SealedCounter, Single,
    },
    figures::{Round, Spread},
    memory::Growth,
    results::{Of, Results},
    setting::Route,
    table::Table,
    target::{self, Target},
};

pub(crate) fn table(results: &Results) -> Table {
    let groups = [
        of_floor(results),
        one_session(results),
        large_session(results),
        writes(results),
        round_trips(results),
        latency(results),
        metrics(results),
        sealed(results),
        commands(results),
        many_sessions(results),
        growth(results),
    ];
    target::table(groups.into_iter().flatten())
}

fn of_floor(results: &Results) -> Vec<Target> {
    let counter = Of(&results.counter, Route::Counter);
    let read = Of(&results.read, Route::Read);
    let sliding = Of(&results.sliding, Route::SlidingRead);
    let target = |(limit, contender, findings): (f64, Contender, Of<'_>)| {
        let what = format!("{}, {contender}: requests/s, of the floor", findings.1);
        Target::at_least(limit, what, findings.ratio(contender, Floor, rate))
    };
    let targets = [
        (0.9, Counter, counter),
        (0.9, Ours, counter),
        (0.95, Consistent, read),
        (0.95, Ours, read),
        (0.95, Consistent, sliding),
        (0.95, Ours, sliding),
    ];
    targets.map(target).into()
}

fn one_session(results: &Results) -> Vec<Target> {
    let of = |sessions| results.one_session.of(Counter, sessions);
    let ratio = of("1")
        .zip(of("64"))
        .map(|(one, many)| one.ratio(many, rate));
    let what = "counter, 64 connections on one session: requests/s, of those with one session each";
    let mut targets = vec![Target::at_least(0.8, what, ratio)];
    let contention = results.contention.iter();
    for exact in contention.filter(|it| [Counter, SealedCounter].contains(&it.contender)) {
        let what = format!("{}: increments lost or counted twice", exact.name());
        let miscounted = exactly(exact.miscounted() as f64);
        targets.push(Target::at_most(0.0, what, Some(miscounted)));
    }
    targets
}

fn large_session(results: &Results) -> Vec<Target> {
    let of = |contender| results.state_sizes.of(contender, "100 KB");
    let ratio = of(Consistent).zip(of(Single));
    vec![Target::at_least(
        3.0,
        format!("100 KB, {Consistent}: requests/s, of {Single}"),
        ratio.map(|(ours, single)| ours.ratio(single, rate)),
    )]
}

/// Of a field that goes to the later writer.
fn writes(results: &Results) -> Vec<Target> {
    let costs = results.writes.iter();
    let costs: Vec<_> = costs.filter(|cost| cost.contender == Consistent).collect();
    let mut targets = Vec::new();
    for cost in &costs {
        let what = |what| format!("small field in {}, {Consistent}: {what}", cost.size);
        let bytes = Some(exactly(cost.bytes_written));
        targets.extend([
            Target::at_most(1000.0, what("bytes of a write"), bytes),
            Target::at_most(1.5, what("µs of Redis per write"), Some(cost.write())),
        ]);
        if cost.size != costs[0].size {
            let what = what("time of Redis per write, of that at 100 B");
            targets.push(Target::at_most(2.0, what, Some(cost.ratio(costs[0]))));
        }
    }
    targets
}

fn round_trips(results: &Results) -> Vec<Target> {
    let target = |(limit, contender, route): (f64, Contender, Route)| {
        let what =
            format!("1 ms, {route}, {contender}: p50, less that without a session, in round trips");
        Target::at_most(limit, what, Of(&results.delayed, route).waits(contender))
    };
    let targets = [
        (2.1, Ours, Route::Counter),
        (2.1, Consistent, Route::Counter),
        (1.05, Consistent, Route::Read),
        (1.05, Consistent, Route::SlidingRead),
    ];
    targets.map(target).into()
}

fn latency(results: &Results) -> Vec<Target> {
    let counter = Of(&results.counter, Route::Counter);
    let p99 = |round: &Round| round.load.p99.as_secs_f64();
    let target = |other: Contender| {
        let what = format!("counter, {Ours}: p99, of {other}");
        Target::at_most(1.0, what, counter.ratio(Ours, other, p99))
    };
    [Pooled, Single].map(target).into()
}

fn metrics(results: &Results) -> Vec<Target> {
    let counter = Of(&results.counter, Route::Counter);
    let cpu = |round: &Round| round.server_cpu_per_request();
    vec![
        Target::at_least(
            0.97,
            format!("counter, {Metrics}: requests/s, of the same store without"),
            counter.ratio(Metrics, Ours, rate),
        ),
        Target::at_most(
            1.03,
            format!("counter, {Metrics}: CPU per request, of the same store without"),
            counter.ratio(Metrics, Ours, cpu),
        ),
    ]
}

fn sealed(results: &Results) -> Vec<Target> {
    let target = |route: Route| {
        let what = format!("{route}, {Sealed}: requests/s, of the same clear");
        let ratio = Of(&results.sealed, route).ratio(Sealed, Consistent, rate);
        Target::at_least(0.95, what, ratio)
    };
    [Route::Counter, Route::Read].map(target).into()
}

fn commands(results: &Results) -> Vec<Target> {
    let counter = Of(&results.counter, Route::Counter);
    let target = |(limit, contender, command): (f64, Contender, Option<&str>)| {
        let seen = counter.find(contender).map(|finding| &finding.commands);
        let per_request = seen.map(|seen| match command {
            Some(command) => seen.of(command),
            None => seen.per_request(),
        });
        let what = format!("counter, {contender}: {}", command.unwrap_or("commands"));
        Target::at_most(limit, what, per_request.map(exactly))
    };
    let targets = [
        (2.0, Ours, None),
        (2.0, Counter, None),
        (0.0, Ours, Some("PING")),
        (0.0, Consistent, Some("PING")),
        (0.0, Counter, Some("PING")),
    ];
    targets.map(target).into()
}

fn many_sessions(results: &Results) -> Vec<Target> {
    let target = |contender| {
        let findings = results.sessions.0.iter();
        let of_contender: Vec<_> = findings
            .filter(|finding| finding.contender == contender)
            .collect();
        let ratio = match of_contender[..] {
            [few, many] => Some(many.ratio(few, rate)),
            _ => None,
        };
        let what = format!("{contender}: requests/s with the most sessions, of that with 1,000");
        Target::at_least(0.95, what, ratio)
    };
    [Ours, Consistent].map(target).into()
}

fn growth(results: &Results) -> Vec<Target> {
    let target = |growth: &Growth| {
        let what = format!("{}: resident late, of that early", growth.contender);
        Target::at_most(1.1, what, Some(exactly(growth.ratio())))
    };
    results.memory.iter().map(target).collect()
}

fn rate(round: &Round) -> f64 {
    round.rate()
}

fn exactly(value: f64) -> Spread {
    Spread::of([value])
}
