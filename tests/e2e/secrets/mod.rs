//! A whole workflow with faults, in the demo and in an application with users, and then a search for
//! every secret in all that was logged, that Redis was told, and that it has on disk.

mod crowd;
mod members;
mod search;
mod spelling;
mod visitor;
mod wiretap;
mod workflow;

use std::{collections::BTreeSet, sync::Mutex, thread};

use actix_web::cookie::Key;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use testbed::Server;

use self::{
    crowd::Crowd,
    members::Members,
    search::Secrets,
    visitor::Visitor,
    wiretap::Wiretap,
    workflow::{
        DBNAME, DEVICE, NOTE, USER, log_in, log_in_on_two_devices, set_a_name, set_a_name_and_kill,
    },
};
use crate::lone_instance::LoneInstance;

const PASSWORD: &str = "open-sesame-42";

/// What sessions hold.
const CONTENT: [(&str, &str); 4] = [
    ("dbname", DBNAME),
    ("note", NOTE),
    ("user", USER),
    ("device", DEVICE),
];

/// Where that is to be found unless it is sealed.
const CONTENT_IS_IN: [&str; 4] = ["MONITOR", "SLOWLOG", "append-only files", "dump"];

#[test]
fn sealed_sessions_tell_nothing_to_who_hears_redis_and_reads_its_disk_and_all_logs() {
    let keys = [(); 2].map(|()| BASE64_STANDARD.encode(&Key::generate().master()[..32]));
    let [clear, sealed] = [String::new(), keys.join(",")]
        .map(|seal_keys| thread::spawn(move || Recorded::with(&seal_keys)))
        .map(|recorded| recorded.join().unwrap());

    let search = clear.secrets.search();
    for (place, bytes) in &clear.places {
        // Otherwise the search would prove nothing.
        if CONTENT_IS_IN.contains(place) {
            let all = CONTENT.map(|(what, _)| what);
            assert_eq!(search.kinds_in(bytes), all.into(), "{place}");
        } else {
            assert_eq!(search.found_in(bytes), [].into(), "{place}");
        }
    }
    let search = sealed.secrets.search();
    for (place, bytes) in &sealed.places {
        assert_eq!(search.found_in(bytes), [].into(), "{place}");
        // Who suspects a user could look for the plain hash of the name.
        let text = String::from_utf8_lossy(bytes);
        let known = |name: &&String| text.contains(*name);
        assert_eq!(clear.user_names.iter().find(known), None, "{place}");
    }
    assert_eq!((clear.user_names.len(), sealed.user_names.len()), (1, 1));
}

/// What is known, and what was heard and read, of a whole workflow.
struct Recorded {
    secrets: Secrets,
    /// Those of users in Redis.
    user_names: BTreeSet<String>,
    places: Vec<(&'static str, Vec<u8>)>,
}

impl Recorded {
    fn with(seal_keys: &str) -> Self {
        let cookie_key = Key::generate();
        let secrets = Mutex::new(known(&cookie_key, seal_keys));
        let password = format!(">{PASSWORD}");
        let user = ["--user", "demo", "on", &password, "~session:*", "+@all"];
        let redis = Server::start_with(&[&user[..], &Wiretap::ARGUMENTS].concat());
        let mut wiretap = Wiretap::on(&redis);

        let url = redis.url();
        let url = url.replace("redis://", &format!("redis://demo:{PASSWORD}@"));
        let variables = [
            ("REDIS_URL", &*url),
            ("SESSION_KEY", &BASE64_STANDARD.encode(cookie_key.master())),
            ("SEAL_KEYS", seal_keys),
            ("RUST_LOG", "trace"),
        ];
        let demo = LoneInstance::with(&url, &variables);
        let members = Members::with(&variables);
        let visitor = |url| Visitor::at(url, &cookie_key, &secrets);
        let in_demo = |crowd: &Crowd| set_a_name_and_kill(visitor(demo.url()), crowd);
        let in_members =
            |crowd: &Crowd| log_in_on_two_devices([(); 2].map(|()| visitor(members.url())), crowd);
        Crowd::meanwhile(&[&in_demo, &in_members], |crowd| {
            trouble(&redis, &mut wiretap, crowd);
        });
        let calm = Crowd::that_is_served();
        in_demo(&calm);
        in_members(&calm);
        // These stay, for the dump.
        set_a_name(&visitor(demo.url()));
        log_in(&visitor(members.url()), &calm);

        let user_names = user_names(&redis);
        let mut places = wiretap.evidence();
        for (place, log) in [("log", demo.log()), ("log of members", members.log())] {
            assert!(log.contains("TRACE") && log.contains("Redis is unavailable"));
            places.push((place, log.into()));
        }
        places.push(("metrics", demo.metrics().into()));
        let secrets = secrets.into_inner().unwrap();
        assert!(secrets.count("session key") > 10);
        Self {
            secrets,
            user_names,
            places,
        }
    }
}

/// What is secret before there are sessions.
fn known(cookie_key: &Key, seal_keys: &str) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add("password", PASSWORD);
    for half in [cookie_key.signing(), cookie_key.encryption()] {
        secrets.add("cookie key", half);
    }
    for key in seal_keys.split_terminator(',') {
        secrets.add("seal key", BASE64_STANDARD.decode(key).unwrap());
    }
    for (what, text) in CONTENT {
        secrets.add(what, text);
        let json = text.replace('\\', r"\\").replace('"', r#"\""#);
        secrets.add(what, json);
    }
    secrets
}

fn trouble(redis: &Server, wiretap: &mut Wiretap<'_>, crowd: &Crowd) {
    crowd.is_served();
    for _ in 0..10 {
        redis.run::<()>("CLIENT KILL USER demo");
        crowd.is_served();
    }
    redis.pause();
    crowd.is_refused();
    redis.resume();
    for end in [Server::kill, Server::stop] {
        crowd.is_served();
        wiretap.catch_up();
        end(redis);
        crowd.is_refused();
        redis.start_again();
        wiretap.listen();
    }
    crowd.is_served();
}

fn user_names(redis: &Server) -> BTreeSet<String> {
    const BEFORE: &str = "session:user:{";
    let keys: Vec<String> = redis.run(&format!("KEYS {BEFORE}*"));
    let name = |key: String| key[BEFORE.len()..key.len() - 1].to_owned();
    keys.into_iter().map(name).collect()
}
