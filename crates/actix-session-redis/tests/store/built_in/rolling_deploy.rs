use std::cell::{Cell, RefCell};

use actix_session::storage::RedisSessionStore as BuiltInStore;
use actix_session_redis::RedisSessionStoreBuilder;
use futures_util::future::{join, join_all};
use rand::{RngExt as _, seq::IndexedRandom as _};

use crate::support::{
    app::{Setup, TestApp},
    browser::Browser,
    eventually,
    redis::TestRedis,
    report,
};

const INSTANCES: usize = 4;
const VISITORS: usize = 64;

/// So many requests are answered before the next instance is replaced.
const REQUESTS: usize = 400;

/// What the instances run, and what each step of the deploy is called.
struct Release {
    what: &'static str,
    instances: Vec<TestApp>,
}

/// What a load balancer knows, and what has come of it.
struct Fleet<'a> {
    instances: RefCell<Vec<&'a TestApp>>,
    answered: Cell<usize>,
    counted: Cell<usize>,
    /// Counts that a later page did not show: they were written on the other side.
    split: Cell<usize>,
    over: Cell<bool>,
}

impl<'a> Fleet<'a> {
    async fn get(&self, browser: &Browser<'_>, path: &str) -> String {
        let instance = *self.instances.borrow().choose(&mut rand::rng()).unwrap();
        let text = browser.at(instance).get(path).await.text();
        self.answered.set(self.answered.get() + 1);
        text
    }

    /// One instance after the other.
    async fn roll_out(&self, release: &'a Release) {
        for (i, instance) in release.instances.iter().enumerate() {
            self.instances.borrow_mut()[i] = instance;
            let so_far = self.answered.get();
            eventually("requests are answered", || {
                self.answered.get() >= so_far + REQUESTS
            })
            .await;
        }
    }
}

/// Somebody who knows whether they are logged in, and how often they have counted.
struct Visitor<'a> {
    fleet: &'a Fleet<'a>,
    browser: Browser<'a>,
    name: String,
    n: usize,
    is_logged_in: bool,
}

impl Visitor<'_> {
    async fn visit(&mut self) {
        while !self.fleet.over.get() {
            match rand::rng().random_range(0..20) {
                0..10 => self.count().await,
                10..16 => self.look("/read").await,
                16..19 => self.log_in().await,
                _ => self.log_out().await,
            }
        }
    }

    async fn look(&mut self, path: &str) {
        let seen = self.fleet.get(&self.browser, path).await;
        let user = format!("user=\"{}\"", self.name);
        assert_eq!(
            seen.contains(&user),
            self.is_logged_in,
            "{}: {seen}",
            self.name
        );
        assert!(self.is_logged_in || !seen.contains("user="), "{seen}");
        let n = seen.split(' ').find_map(|field| field.strip_prefix("n="));
        let n = n.map_or(0, |n| n.parse().unwrap());
        let lost = self.n.saturating_sub(n);
        self.fleet.split.set(self.fleet.split.get() + lost);
        // What was written before the session became ours, or after it was not, comes back.
        self.n = n;
    }

    async fn count(&mut self) {
        self.n += 1;
        self.fleet.counted.set(self.fleet.counted.get() + 1);
        self.look("/count").await;
    }

    async fn log_in(&mut self) {
        self.is_logged_in = true;
        self.look(&format!("/login/{}", self.name)).await;
    }

    /// On every instance, and for whoever has copied the cookie.
    async fn log_out(&mut self) {
        if !self.browser.has_cookie() {
            return;
        }
        let cookie = self.browser.cookie();
        self.fleet.get(&self.browser, "/purge").await;
        (self.is_logged_in, self.n) = (false, 0);
        let instances = self.fleet.instances.borrow().clone();
        for instance in instances {
            let thief = instance.browser_with_cookie(&cookie);
            assert_eq!(thief.get("/read").await.text(), "empty", "{}", self.name);
        }
    }
}

fn release(
    what: &'static str,
    redis: &TestRedis,
    setup: &Setup,
    option: impl Fn(RedisSessionStoreBuilder) -> RedisSessionStoreBuilder,
) -> Release {
    let instance = |_| TestApp::with(redis.unsealed_store_with(&option), setup);
    let instances = (0..INSTANCES).map(instance).collect();
    Release { what, instances }
}

async fn built_in(redis: &TestRedis, setup: &Setup) -> Release {
    let setup = Setup {
        consistent: false,
        ..setup.clone()
    };
    let store = BuiltInStore::new(redis.url()).await.unwrap();
    let instance = |_| TestApp::with(store.clone(), &setup);
    let instances = (0..INSTANCES).map(instance).collect();
    let what = "built-in";
    Release { what, instances }
}

#[actix_web::test]
async fn nobody_is_logged_out_and_who_has_logged_out_stays_so() {
    let (redis, setup) = (TestRedis::start().await, Setup::consistent());
    let built_in = built_in(&redis, &setup).await;
    let canary = release("canary", &redis, &setup, |it| it.built_in_layout(""));
    let adopting = release("adopting", &redis, &setup, |it| {
        it.adopt_built_in_sessions("")
    });
    let fleet = Fleet {
        instances: RefCell::new(built_in.instances.iter().collect()),
        answered: Cell::new(0),
        counted: Cell::new(0),
        split: Cell::new(0),
        over: Cell::new(false),
    };
    let mut visitors: Vec<_> = (0..VISITORS)
        .map(|i| Visitor {
            fleet: &fleet,
            browser: built_in.instances[0].browser(),
            name: format!("visitor{i}"),
            n: 0,
            is_logged_in: false,
        })
        .collect();
    let deploy = async {
        for release in [&canary, &adopting, &canary, &built_in] {
            let before = (fleet.counted.get(), fleet.split.get());
            fleet.roll_out(release).await;
            let (counted, split) = (fleet.counted.get() - before.0, fleet.split.get() - before.1);
            report(format!(
                "to {}: {split} of {counted} counts were split",
                release.what
            ));
            let shares_all = [&canary, &built_in].map(|it| std::ptr::eq(it, release));
            if before.1 == 0 && shares_all.contains(&true) {
                assert_eq!(split, 0, "one layout");
            }
        }
        fleet.over.set(true);
    };
    let visits = join_all(visitors.iter_mut().map(Visitor::visit));
    join(deploy, visits).await;
}
