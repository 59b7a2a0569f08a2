use std::collections::BTreeMap;

use actix_session::storage::{SessionKey, SessionStore};

use super::{
    lane::{Kind, Lane, Step},
    plan::{AT_FIRST, End, Event, Plan},
    run::{Record, Run},
};
use crate::support::{
    app::Setup,
    proxy::{Fate, script_called},
    redis::TestRedis,
    sessions::{HOUR, hash_of, tombstone_of},
};

/// One Redis, and as many requests at once as there are lanes.
pub(super) struct Lanes {
    redis: TestRedis,
    setup: Setup,
    lanes: Vec<Lane>,
}

impl Lanes {
    pub(super) async fn new(n: usize) -> Self {
        let (redis, setup) = (TestRedis::start().await, Setup::consistent());
        let mut lanes = Vec::new();
        for number in 0..n {
            lanes.push(Lane::beginning_at(&redis, &setup, number).await);
        }
        // From now on each run takes the same steps.
        for script in ["create", "write", "end", "replace", "sweep"] {
            redis.learn(&script_called(script));
        }
        Self {
            redis,
            setup,
            lanes,
        }
    }

    /// Sends a request for each plan. Then, as long as any of them has a command to send, `choose`
    /// says whose turn it is, out of so many, and whether the reply is lost if it can be.
    pub(super) async fn run(
        &mut self,
        plans: &[Plan],
        events: &[Event],
        mut choose: impl FnMut(usize) -> (usize, bool),
    ) -> Run<'_> {
        self.redis.run::<()>("FLUSHALL");
        let at_first = AT_FIRST.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let store = self.redis.store();
        let first = store.save(at_first.into(), &HOUR).await.unwrap();
        let mut events = events.iter().copied();
        let mut next_event = events.next();

        let mut records = Vec::new();
        let mut waiting = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let lane = &mut self.lanes[number];
            let step = lane.send(&self.setup, first.as_ref(), plan).await;
            waiting.insert(number, step);
        }
        let mut replies_were_lost = false;
        let (mut wrote_at, mut ended_at) = (BTreeMap::new(), BTreeMap::new());
        let mut read_at = BTreeMap::new();
        for time in 0.. {
            if waiting.is_empty() {
                break;
            }
            // An event waits for its turn like everybody else.
            let (index, lose_reply) = choose(waiting.len() + usize::from(next_event.is_some()));
            let Some(number) = waiting.keys().nth(index).copied() else {
                if let Some(event) = next_event {
                    self.let_happen(event, &first);
                }
                next_event = events.next();
                continue;
            };
            let step = waiting.remove(&number).unwrap();
            let Step::Waits { kind, turn } = step else {
                panic!("it ended without a command");
            };
            match kind {
                // What `modify` has written first may have met something else.
                Kind::Writes if plans[number].end == End::Modify => {
                    wrote_at.insert(number, time);
                }
                Kind::Writes => drop(wrote_at.entry(number).or_insert(time)),
                Kind::Ends => drop(ended_at.entry(number).or_insert(time)),
                Kind::Reads => drop(read_at.insert(number, time)),
                Kind::Other => {}
            }
            let lose_reply = lose_reply && matches!(kind, Kind::Writes | Kind::Ends);
            replies_were_lost |= lose_reply;
            let fate = if lose_reply {
                Fate::LoseReply
            } else {
                Fate::Forward
            };
            let plan = &plans[number];
            let step = if plan.end == End::HangUp && kind == Kind::Writes {
                self.lanes[number].hang_up(plan, turn).await
            } else {
                assert!(turn.send(fate).is_ok(), "it waits for its turn");
                self.lanes[number].next_step().await
            };
            match step {
                Step::Ends(record) => records.push(Record {
                    read_at: read_at.get(&number).copied(),
                    wrote_at: wrote_at.get(&number).copied(),
                    ended_at: ended_at.get(&number).copied(),
                    ..*record
                }),
                waits => drop(waiting.insert(number, waits)),
            }
        }
        Run {
            redis: &self.redis,
            first_session: first.as_ref().to_owned(),
            records,
            replies_were_lost,
        }
    }

    fn let_happen(&self, event: Event, first: &SessionKey) {
        let (session, tombstone) = (hash_of(first), tombstone_of(first));
        self.redis.run::<()>(&match event {
            Event::SessionRemoved => format!("DEL {session}"),
            Event::TombstoneEvicted => format!("DEL {tombstone}"),
            Event::TimePasses => format!("PEXPIRE {tombstone} 280000"),
        });
    }

    /// In every order in which the requests' commands can be carried out.
    pub(super) async fn in_every_order(&mut self, plans: &[Plan]) {
        // The turns taken so far, each one of how many.
        let mut turns: Vec<(usize, usize)> = Vec::new();
        loop {
            let mut number = 0;
            let choose = |waiting| {
                if number == turns.len() {
                    turns.push((0, waiting));
                }
                number += 1;
                (turns[number - 1].0, false)
            };
            if let Err(why) = self.run(plans, &[], choose).await.check() {
                panic!("{why}\nafter {plans:?} in the order {turns:?}");
            }
            while turns.pop_if(|(turn, of)| *turn + 1 == *of).is_some() {}
            match turns.last_mut() {
                Some((turn, _)) => *turn += 1,
                None => break,
            }
        }
    }
}
