use std::{collections::HashMap, thread};

use deadpool_redis::redis::{Commands as _, Connection, cmd};
use demo::SealKeys;
use testbed::{Browser, Server, eventually_holds};

use crate::{
    instances::{VISITORS, counts, while_people_refresh},
    lone_instance::LoneInstance,
    running::{SEAL_KEY_A as A, SEAL_KEY_B as B},
    stack::{Stack, browser, sessions, start_with},
};

/// With a Korean word in it.
const NAME: &str = "/dbset/%EB%A0%88%EB%94%94%EC%8A%A4-at-rest";
const SHOWN: &str = "레디스-at-rest";

fn start_sealed() -> Stack {
    start_with(|options| options.application.seal_keys = ring(&[A]))
}

fn ring(keys: &[&str]) -> Option<SealKeys> {
    Some(SealKeys::from_base64(keys.join(",")).unwrap())
}

/// The fields of the states of all sessions, without what the store notes for itself.
fn values(redis: &mut Connection) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for session in sessions(redis) {
        let fields: HashMap<Vec<u8>, Vec<u8>> = redis.hgetall(session).unwrap();
        let of_the_state = fields.into_iter().filter(|(name, _)| name[0] != 255);
        values.extend(of_the_state.map(|(_, value)| value));
    }
    values
}

/// The ids of the keys with which values are sealed: none may be in clear.
fn key_ids(redis: &mut Connection) -> Vec<[u8; 4]> {
    let id = |value: &Vec<u8>| {
        assert_eq!(value[0], 0xF9, "in clear: {value:?}");
        value[1..5].try_into().unwrap()
    };
    let mut ids: Vec<_> = values(redis).iter().map(id).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn sealed_sessions_count_have_a_name_and_end_whichever_instance_answers() {
    let stack = start_sealed();
    let browser = browser(&stack);
    browser.open(NAME);
    let mut served = HashMap::<_, u64>::new();
    for count in 1..=30 {
        let page = browser.open("/");
        assert_eq!((page.refreshed(), page.dbname()), (count, SHOWN));
        *served.entry(page.instance().to_owned()).or_default() += 1;
    }
    assert_eq!(served.len(), 3, "{served:?}");

    let mut redis = stack.redis();
    let ended = sessions(&mut redis);
    let page = browser.open("/kill");
    assert_eq!((page.refreshed(), page.dbname()), (0, "NULL"));
    assert!(!sessions(&mut redis).contains(&ended[0]));
}

#[test]
fn the_tabs_of_a_sealed_session_lose_no_refresh() {
    let stack = start_sealed();
    let browser = browser(&stack);
    assert_eq!(browser.refresh(), 0);
    let cookie = browser.cookie().unwrap();
    thread::scope(|scope| {
        for _ in 0..6 {
            let tab = Browser::with_cookie(&stack.url(), &cookie);
            scope.spawn(move || {
                for _ in 0..10 {
                    tab.refresh();
                }
            });
        }
    });
    assert_eq!(browser.refresh(), 1 + 6 * 10);
}

#[test]
fn no_value_of_a_sealed_session_can_be_read_in_redis() {
    let stack = start_sealed();
    let browser = browser(&stack);
    browser.open(NAME);
    browser.refresh();
    let mut redis = stack.redis();
    assert_eq!(values(&mut redis).len(), 2);
    assert_eq!(key_ids(&mut redis).len(), 1);
    for value in values(&mut redis) {
        let text = String::from_utf8_lossy(&value);
        assert!(!text.contains("레디스") && !text.contains("rest"), "{text}");
    }
}

#[test]
fn an_instance_with_other_keys_or_none_answers_500_and_leaves_the_session_as_it_is() {
    let mut stack = start_sealed();
    let browser = Browser::new(&stack.instance_url(0));
    assert_eq!(browser.refresh(), 0);
    let mut redis = stack.redis();
    let session = sessions(&mut redis).remove(0);
    let mut dump = || -> Vec<u8> { cmd("DUMP").arg(&session).query(&mut redis).unwrap() };
    let before = dump();

    for keys in [ring(&[B]), None] {
        stack.application_mut().seal_keys = keys;
        stack.restart_instance(1).unwrap();
        for path in ["/", "/dbset/mine"] {
            let refused = browser.at(&stack.instance_url(1)).get(path);
            assert_eq!(refused.status, 500, "{path}");
            assert_eq!(refused.header("set-cookie"), None, "{path}");
        }
        let log = stack.instance_log(1);
        assert!(log.contains("is not in the key ring"), "{log}");
        assert!(dump() == before);
        let healthy = Browser::new(&stack.instance_url(1)).get("/healthz");
        assert_eq!(healthy.status, 200);
    }
    stack.application_mut().seal_keys = ring(&[A]);
    stack.restart_instance(1).unwrap();
    for (count, i) in [(1, 0), (2, 1), (3, 2)] {
        assert_eq!(browser.at(&stack.instance_url(i)).refresh(), count);
    }
}

#[test]
fn keys_are_changed_one_instance_after_the_other_and_nobody_is_logged_out() {
    let mut stack = start_sealed();
    let mut redis = stack.redis();
    while_people_refresh(
        &mut stack,
        |stack| {
            let old = key_ids(&mut redis);
            for keys in [&[A, B][..], &[B, A]] {
                roll_out(stack, keys);
            }
            // Whoever is seen is sealed anew; whoever is not would have as long as a session lives.
            eventually_holds("all sessions are sealed with the new key", || {
                let ids = key_ids(&mut redis);
                ids.len() == 1 && ids != old
            });
            roll_out(stack, &[B]);
        },
        |browser, over| {
            browser.open(NAME);
            let counts = counts(browser, over);
            // Two refreshes before, and the one that `open` is redirected to.
            let expected = 2..2 + counts.len() as u64;
            assert!(counts.iter().copied().eq(expected), "{counts:?}");
            assert_eq!(browser.open("/").dbname(), SHOWN);
        },
    );
    assert_eq!(sessions(&mut redis).len(), VISITORS);
}

fn roll_out(stack: &mut Stack, keys: &[&str]) {
    stack.application_mut().seal_keys = ring(keys);
    (0..3).for_each(|i| stack.restart_instance(i).unwrap());
}

#[test]
fn sessions_from_before_they_were_sealed_are_refused_unless_they_are_accepted() {
    let redis = Server::start();
    let url = redis.url();
    let instance = |variables: &[(&str, &str)]| LoneInstance::with(&url, variables);
    let first = instance(&[]);
    let browser = first.browser();
    assert_eq!([browser.refresh(), browser.refresh()], [0, 1]);
    let open = |instance: LoneInstance| browser.at(instance.url()).open("/");

    let keys = ("SEAL_KEYS", A);
    assert_eq!(open(instance(&[keys])).status, 500);
    let accepting = instance(&[keys, ("SEAL_ACCEPT_UNSEALED", "yes")]);
    assert_eq!(open(accepting).refreshed(), 2);
    // Now it is sealed.
    let refusing = instance(&[keys, ("SEAL_ACCEPT_UNSEALED", "no")]);
    assert_eq!(open(refusing).refreshed(), 3);
}
