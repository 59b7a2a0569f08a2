use std::time::Duration;

use crate::{
    commands_seen::CommandsSeen,
    contender::Contender,
    figures::{Round, Spread},
    lane::Lane,
    setting::Setting,
};

/// Some lanes that take turns: first all of them once, then all of them again.
#[derive(Debug, Clone)]
pub(crate) struct Experiment {
    pub(crate) title: &'static str,
    /// What the settings differ in.
    pub(crate) axis: &'static str,
    pub(crate) settings: Vec<Setting>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: usize,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) warm_up: Duration,
    pub(crate) round: Duration,
}

/// What an experiment has found out about a lane.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) contender: Contender,
    pub(crate) setting: Setting,
    pub(crate) rounds: Vec<Round>,
    pub(crate) commands: CommandsSeen,
    pub(crate) connections: u64,
    /// To Redis and back, before each round; only where a delay makes it worth knowing.
    pub(crate) round_trips: Vec<Duration>,
}

impl Experiment {
    pub(crate) fn run(&self, pace: Pace) -> anyhow::Result<Findings> {
        eprintln!("{} …", self.title);
        let mut lanes = Vec::new();
        for setting in &self.settings {
            for &contender in &self.contenders {
                let lane = Lane::start(contender, setting)?;
                lane.round(pace.warm_up)?;
                lanes.push((lane, Vec::new(), Vec::new()));
            }
        }
        for _ in 0..self.rounds {
            for (lane, rounds, round_trips) in &mut lanes {
                if lane.setting.delay.is_some() {
                    round_trips.push(lane.round_trip()?);
                }
                rounds.push(lane.round(pace.round)?);
            }
        }
        let findings = lanes.into_iter().map(|(lane, rounds, round_trips)| {
            Ok(Finding {
                rounds,
                connections: lane.connections()?,
                commands: lane.commands()?,
                round_trips,
                contender: lane.contender,
                setting: lane.setting.clone(),
            })
        });
        Ok(Findings(findings.collect::<anyhow::Result<_>>()?))
    }
}

/// Of all lanes of an experiment; none if it was left out.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn of(&self, contender: Contender, label: &str) -> Option<&Finding> {
        let is_it =
            |finding: &&Finding| finding.contender == contender && finding.setting.label == label;
        self.0.iter().find(is_it)
    }
}

impl Finding {
    pub(crate) fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(value))
    }

    pub(crate) fn median(&self, value: impl Fn(&Round) -> f64) -> f64 {
        self.spread(value).median
    }

    /// Round by round, so that what else the machine did counts on both sides.
    pub(crate) fn ratio(&self, to: &Self, value: impl Fn(&Round) -> f64) -> Spread {
        let pairs = self.rounds.iter().zip(&to.rounds);
        Spread::of(pairs.map(|(this, that)| value(this) / value(that)))
    }

    /// The median latency, in round trips to Redis.
    pub(crate) fn p50_in_round_trips(&self) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&self.round_trips);
        let values = pairs.map(|(round, trip)| round.load.p50.as_secs_f64() / trip.as_secs_f64());
        (!self.round_trips.is_empty()).then(|| Spread::of(values))
    }

    /// How many round trips to Redis it has to wait for longer than one without a session.
    pub(crate) fn waits(&self, bare: &Self) -> Spread {
        let pairs = self.rounds.iter().zip(&bare.rounds).zip(&self.round_trips);
        let values = pairs.map(|((with, without), trip)| {
            let longer = with.load.p50.saturating_sub(without.load.p50);
            longer.as_secs_f64() / trip.as_secs_f64()
        });
        Spread::of(values)
    }
}
