use std::collections::BTreeMap;

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{RedisSessionStore, deadpool_redis::redis::Value};

use super::{
    lane::{Kind, Lane, Step},
    plan::{AT_FIRST, End, Event, Plan},
    record::{Record, Times},
    run::Run,
};
use crate::support::{
    app::Setup,
    orders::Orders,
    proxy::{Fate, script_called},
    sealing,
    servers::Servers,
    sessions::{HOUR, hash_of, tombstone_of},
};

/// One Redis, alone or a cluster, and as many requests at once as there are lanes.
pub(super) struct Lanes {
    redis: Servers,
    /// Which begins the session that all requests are about.
    store: RedisSessionStore,
    setup: Setup,
    lanes: Vec<Lane>,
}

/// A run that is under way.
struct Course<'a> {
    plans: &'a [Plan],
    /// The Redis key of the session that all are about.
    session: String,
    waiting: BTreeMap<usize, Step>,
    /// Counts the turns.
    now: usize,
    times: Vec<Times>,
    records: Vec<Record>,
    replies_were_lost: bool,
}

impl Lanes {
    pub(super) async fn new(n: usize, redis: Servers) -> Self {
        let setup = Setup::consistent();
        let mut lanes = Vec::new();
        for number in 0..n {
            lanes.push(Lane::beginning_at(&redis, &setup, number).await);
        }
        // From now on each run takes the same steps.
        for script in ["create", "write", "end", "replace", "sweep"] {
            redis.learn(&script_called(script));
        }
        Self {
            store: redis.store(),
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
    ) -> Run {
        self.redis.forget_all_keys();
        let at_first = AT_FIRST.map(|(field, value)| (field.to_owned(), value.to_owned()));
        let first = self.store.save(at_first.into(), &HOUR).await.unwrap();
        let mut course = self.send(plans, &first).await;
        let mut events = events.iter().copied().peekable();
        let mut events_so_far = Vec::new();
        while !course.waiting.is_empty() {
            // An event waits for its turn like everybody else.
            let is_one_left = events.peek().is_some();
            let (index, lose_reply) = choose(course.waiting.len() + usize::from(is_one_left));
            if let Some(number) = course.waiting.keys().nth(index).copied() {
                self.take_turn(&mut course, number, lose_reply).await;
            } else if let Some(event) = events.next() {
                self.let_happen(event, &first);
                events_so_far.push(event);
            }
            course.now += 1;
        }
        Run {
            entries: self.redis.entries(),
            first_session: first.as_ref().to_owned(),
            records: course.records,
            events: events_so_far,
            replies_were_lost: course.replies_were_lost,
            writes_are_transactions: matches!(self.redis, Servers::One(_)),
        }
    }

    async fn send<'a>(&mut self, plans: &'a [Plan], session_key: &SessionKey) -> Course<'a> {
        let mut waiting = BTreeMap::new();
        for (number, plan) in plans.iter().enumerate() {
            let lane = &mut self.lanes[number];
            let step = lane.send(&self.setup, session_key.as_ref(), plan).await;
            waiting.insert(number, step);
        }
        Course {
            plans,
            session: hash_of(session_key),
            waiting,
            now: 0,
            times: vec![Times::default(); plans.len()],
            records: Vec::new(),
            replies_were_lost: false,
        }
    }

    async fn take_turn(&mut self, course: &mut Course<'_>, number: usize, lose_reply: bool) {
        let (lane, plan) = (&mut self.lanes[number], &course.plans[number]);
        let Some(Step::Waits { kind, turn }) = course.waiting.remove(&number) else {
            panic!("it ended without a command");
        };
        // Nothing is sealed twice in the same way: what is written makes a difference, whatever it is.
        // Without sealing, what requests write expects nothing, so that it is always carried out.
        let dump = || {
            let dump = format!("DUMP {}", course.session);
            (kind == Kind::Writes && sealing::is_on()).then(|| self.redis.run::<Value>(&dump))
        };
        let before = dump();
        let step = if plan.end == End::HangUp && kind == Kind::Writes {
            lane.hang_up(plan, turn).await
        } else {
            let lose_reply = lose_reply && matches!(kind, Kind::Writes | Kind::Ends);
            course.replies_were_lost |= lose_reply;
            let fate = if lose_reply {
                Fate::LoseReply
            } else {
                Fate::Forward
            };
            assert!(turn.send(fate).is_ok(), "it waits for its turn");
            lane.next_step().await
        };
        let is_carried_out = before.is_none() || before != dump();
        course.times[number].note(kind, plan.end, course.now, is_carried_out);
        match step {
            Step::Ends(record) => course.records.push(Record {
                times: course.times[number],
                ..*record
            }),
            waits => drop(course.waiting.insert(number, waits)),
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
        let mut orders = Orders::default();
        loop {
            let choose = |waiting| (orders.choose(waiting), false);
            if let Err(why) = self.run(plans, &[], choose).await.check() {
                panic!("{why}\nafter {plans:?} in the order {orders:?}");
            }
            if !orders.go_on() {
                break;
            }
        }
    }
}
