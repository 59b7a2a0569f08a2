use std::{collections::BTreeMap, mem};

use actix_session::storage::{SessionKey, SessionStore};
use actix_session_redis::{RedisSessionStore, deadpool_redis::redis::Value};

use super::{
    lane::{Kind, Lane, Step},
    plan::{End, Event, Plan, at_first},
    record::{Record, Times, Turn},
    run::Run,
};
use crate::support::{
    app::Setup,
    orders::Orders,
    proxy::script_called,
    sealing,
    servers::Servers,
    sessions::{HOUR, hash_of, last_state_of, tombstone_of},
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

impl Course<'_> {
    fn go_on(&mut self, number: usize, step: Step) {
        match step {
            Step::Ends(record) => self.records.push(Record {
                times: mem::take(&mut self.times[number]).done_at(self.now),
                ..*record
            }),
            waits => drop(self.waiting.insert(number, waits)),
        }
    }
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
        let first = self.store.save(at_first(), &HOUR).await.unwrap();
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
                events_so_far.push((course.now, event));
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
        let mut course = Course {
            plans,
            session: hash_of(session_key),
            waiting: BTreeMap::new(),
            now: 0,
            times: vec![Times::default(); plans.len()],
            records: Vec::new(),
            replies_were_lost: false,
        };
        for (number, plan) in plans.iter().enumerate() {
            let lane = &mut self.lanes[number];
            let step = lane.send(&self.setup, session_key.as_ref(), plan).await;
            course.go_on(number, step);
        }
        course
    }

    async fn take_turn(&mut self, course: &mut Course<'_>, number: usize, lose_reply: bool) {
        let (lane, plan) = (&mut self.lanes[number], &course.plans[number]);
        let Some(Step::Waits { kind, begins, turn }) = course.waiting.remove(&number) else {
            panic!("it waits for its turn");
        };
        // Without sealing, what requests write expects nothing, so that it is always carried out, unlike
        // what `modify` writes. Whatever expects something leaves no session as it was: not even a
        // value is sealed twice in the same way.
        let expects = kind == Kind::Writes && (plan.end == End::Modify || sealing::is_on());
        let dump = || {
            let dump = format!("DUMP {}", course.session);
            expects.then(|| self.redis.run::<Value>(&dump))
        };
        let (before, moved) = (dump(), lane.moved());
        let hangs_up = plan.end == End::HangUp && kind == Kind::Writes;
        let reply_is_lost = lose_reply && !hangs_up;
        let step = match hangs_up {
            true => lane.hang_up(plan, turn).await,
            false => lane.go_on(turn, reply_is_lost).await,
        };
        course.replies_were_lost |= reply_is_lost;
        // A node that does not have the slot carries out nothing. (Who reads, reads again.)
        if kind == Kind::Reads || lane.moved() == moved {
            let turn = Turn {
                at: course.now,
                kind,
                begins,
                changes_session: before.is_none() || before != dump(),
                reply_is_lost,
            };
            course.times[number].note(turn, plan.end);
        }
        course.go_on(number, step);
    }

    fn let_happen(&self, event: Event, first: &SessionKey) {
        let remove = |key: &str| self.redis.run::<()>(&format!("DEL {key}"));
        match event {
            Event::SessionRemoved => remove(&hash_of(first)),
            Event::TombstoneEvicted => remove(&tombstone_of(first)),
            Event::LastStateEvicted => remove(&last_state_of(first)),
            Event::OtherSessionsRemoved => {
                let is_other = |key: &String| !key.contains('{') && *key != hash_of(first);
                let keys = self.redis.keys().map(|(_, key)| key);
                keys.filter(is_other).for_each(|key| remove(&key));
            }
            Event::TimePasses(time) => self.redis.let_pass(time),
        }
    }

    /// In every order in which the requests' commands can be carried out, and the events happen; and with
    /// so many of the replies lost, or less.
    pub(super) async fn in_every_order(
        &mut self,
        plans: &[Plan],
        events: &[Event],
        lost_replies: usize,
    ) {
        let mut orders = Orders::default();
        loop {
            let mut may_be_lost = lost_replies;
            let choose = |waiting| {
                let choices = if may_be_lost > 0 { 2 } else { 1 };
                let turn = orders.choose(choices * waiting);
                let lose_reply = turn >= waiting;
                may_be_lost -= usize::from(lose_reply);
                (turn % waiting, lose_reply)
            };
            if let Err(why) = self.run(plans, events, choose).await.check() {
                panic!("{why}\nafter {plans:?} and {events:?} in the order {orders:?}");
            }
            if !orders.go_on() {
                break;
            }
        }
    }
}
