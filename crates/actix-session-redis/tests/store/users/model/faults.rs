//! A cluster whose slots move, and one that loses the master of an index.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::Arc,
};

use actix_session::storage::{SessionKey, SessionStore as _};
use actix_session_redis::{Error, RedisSessionStore, RedisSessionStoreBuilder};
use futures_util::future::{join, join_all};
use testbed::Cluster;

use super::{
    lane::id_of,
    plan::{USERS, User},
    world::{World, index_of},
};
use crate::{
    cluster,
    support::{
        on_a_worker, report, rights, sealing,
        sessions::{HOUR, State, Typed as _, copy, state},
    },
};

/// Two users log in, change hands and are logged out everywhere, for as long as `goes_on`.
struct Traffic {
    store: RedisSessionStore,
    /// Of whom which sessions were stored, and not handed over.
    stored: RefCell<Vec<(User, SessionKey)>>,
    /// Logged out everywhere.
    times: Cell<usize>,
}

impl Traffic {
    fn on(redis: &Cluster) -> Self {
        let options = |it: RedisSessionStoreBuilder| it.user_field("user");
        Self {
            store: options(cluster::options(redis)).build(),
            stored: RefCell::default(),
            times: Cell::default(),
        }
    }

    async fn log_in(&self, user: User) -> Option<SessionKey> {
        match self.store.save(of(user), &HOUR).await {
            Ok(key) => {
                sealing::learn(key.as_ref());
                Some(key)
            }
            Err(error) => {
                assert_matches!(error.typed(), Error::Gone);
                None
            }
        }
    }

    async fn log_in_and_stay(&self, user: User) {
        if let Some(key) = self.log_in(user).await {
            self.stored.borrow_mut().push((user, key));
        }
    }

    /// A session changes hands and back again, and loses its user.
    async fn change_hands(&self) {
        if let Some(key) = self.log_in(User::Ada).await {
            for state in [of(User::Bob), of(User::Ada), State::new(), of(User::Bob)] {
                self.store.update(copy(&key), state, &HOUR).await.unwrap();
            }
        }
    }

    /// None of those that were stored before is there afterwards.
    async fn end_all(&self, user: User) {
        let mut before = Vec::new();
        self.stored.borrow_mut().retain(|(whose, key)| {
            if *whose == user {
                before.push(copy(key));
            }
            *whose != user
        });
        self.store.sessions_of(user).end_all().await.unwrap();
        for key in before {
            assert_eq!(self.store.load(&key).await.unwrap(), None);
        }
        self.times.set(self.times.get() + 1);
    }

    async fn go_on(&self, is_over: &Cell<bool>) {
        let log_in = async {
            while !is_over.get() {
                for user in USERS {
                    self.log_in_and_stay(user).await;
                }
            }
        };
        let change_hands = async {
            while !is_over.get() {
                self.change_hands().await;
            }
        };
        let end_all = async {
            while !is_over.get() {
                for user in USERS {
                    self.end_all(user).await;
                    self.log_in_and_stay(user).await;
                    self.store.sessions_of(user).list().await.unwrap();
                }
            }
        };
        join(join(log_in, change_hands), end_all).await;
    }

    async fn listed(&self, user: User) -> BTreeSet<String> {
        let listed = self.store.sessions_of(user).list().await.unwrap();
        listed.iter().map(|it| it.handle().to_string()).collect()
    }
}

fn of(user: User) -> State {
    state("user", &serde_json::to_string(&user).unwrap())
}

#[actix_web::test]
async fn the_index_is_right_while_slots_move() {
    let arguments = ["--cluster-node-timeout", "60000"];
    let redis = Arc::new(rights::start_cluster(
        Cluster::start_masters_with,
        &arguments,
    ));
    let traffic = Traffic::on(&redis);
    let is_over = Cell::new(false);
    let moving = Arc::clone(&redis);
    let moves = async {
        let moves = on_a_worker(move || async move {
            for round in 0..9 {
                for user in USERS {
                    let slot = moving.slot_of_key(&index_of(user));
                    let source = moving.node_of_slot(slot);
                    let masters = moving.masters();
                    let target = masters.iter().find(|&&it| it != source).unwrap();
                    let slot = moving.begin_move(slot, target);
                    // Whoever comes meanwhile finds some of the keys here, and some there.
                    if round % 3 > 0 {
                        slot.move_some_keys(round % 3);
                    }
                    slot.move_keys();
                    slot.finish();
                }
            }
        });
        moves.await;
        is_over.set(true);
    };
    join(traffic.go_on(&is_over), moves).await;

    let world = World::of(redis.nodes());
    world.check_index(|_| false).unwrap();
    world.check_keys().unwrap();
    for user in USERS {
        assert_eq!(traffic.listed(user).await, world.sessions_of(user));
        traffic.end_all(user).await;
    }
    let left = World::of(redis.nodes());
    for user in USERS {
        assert_eq!(left.sessions_of(user), BTreeSet::new());
    }
    report(format_args!(
        "while slots moved: all sessions of a user ended {} times",
        traffic.times.get()
    ));
}

#[actix_web::test]
async fn the_index_is_right_again_when_a_replica_has_taken_over_from_its_master() {
    let redis = Arc::new(cluster::start());
    let traffic = Traffic::on(&redis);
    let log_in = async |n: usize| {
        for _ in 0..n {
            for user in USERS {
                traffic.log_in_and_stay(user).await;
            }
        }
    };
    log_in(50).await;
    // What is stored from now on, the replica does not get.
    let master = redis.node_of_key(&index_of(User::Ada));
    let replica = redis.replica_of(master);
    replica.pause();
    master.run::<u64>("CLIENT KILL TYPE replica");
    log_in(20).await;
    master.kill();
    replica.resume();
    let is_over = Cell::new(false);
    let watching = Arc::clone(&redis);
    let port = master.address().port();
    let failover = async {
        let failover = on_a_worker(move || async move {
            let mut nodes = watching.nodes().iter();
            let master = nodes.find(|node| node.address().port() == port);
            watching.wait_for_failover_of(master.unwrap());
        });
        failover.await;
        is_over.set(true);
    };
    let logged_out = RefCell::new(Vec::new());
    let come_and_go = async |user| {
        while !is_over.get() {
            traffic.log_in_and_stay(user).await;
            if let Some(key) = traffic.log_in(user).await {
                traffic.store.delete(&key).await.unwrap();
                logged_out.borrow_mut().push(id_of(key.as_ref()));
            }
        }
    };
    let all = USERS.into_iter().cycle().take(8).map(come_and_go);
    let comings_and_goings = join_all(all);
    join(comings_and_goings, failover).await;
    let before: BTreeSet<_> = {
        let stored = traffic.stored.take();
        stored
            .into_iter()
            .map(|(_, key)| id_of(key.as_ref()))
            .collect()
    };

    log_in(50).await;
    traffic.change_hands().await;
    let world = World::of(redis.masters());
    // What was answered since then is there; of what was before, some may be lost.
    for (user, key) in &*traffic.stored.borrow() {
        assert!(world.sessions_of(*user).contains(&id_of(key.as_ref())));
    }
    world.check_index(|id| before.contains(id)).unwrap();
    let logged_out = logged_out.take();
    for id in &logged_out {
        assert!(!world.sessions.contains_key(id), "{id} is back");
    }
    let gone = before.iter().filter(|id| !world.sessions.contains_key(*id));
    let gone = gone.count();
    let mut without_entry = 0;
    for user in USERS {
        let live = world.sessions_of(user);
        let listed = traffic.listed(user).await;
        assert!(listed.is_subset(&live));
        let (entered, has_none): (BTreeSet<_>, BTreeSet<_>) =
            live.into_iter().partition(|id| world.is_entered(id, user));
        assert_eq!(listed, entered);
        without_entry += has_none.len();
        traffic.end_all(user).await;
        let left = World::of(redis.masters()).sessions_of(user);
        assert_eq!(left, has_none, "all that is in the index is ended");
    }
    report(format_args!(
        "of {} sessions stored before the failover, {gone} were lost, and the entries of {without_entry}; \
         {} were logged out meanwhile",
        before.len(),
        logged_out.len()
    ));
}
