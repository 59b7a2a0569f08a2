use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::{AtLimit, Error, RedisSessionStore};
use futures_util::future::join_all;

use crate::support::{
    app::{Setup, TestApp},
    proxy::{Fate, Proxy},
    redis::{TestRedis, pool_at},
    report,
    scope::in_a_request,
    sealing,
    sessions::{HOUR, Typed, copy, hash_of, long_key, state},
};

/// Whatever goes wrong, these must never be told: a password, and a session key.
const PASSWORD: &str = "open-sesame";
const SESSION_KEY: &str = "NobodyMayEverSeeThisSessionKey";

#[track_caller]
fn assert_tells_no_secrets(value: &impl Debug, texts: impl IntoIterator<Item = String>) {
    let mut told = format!("{value:?} {value:#?}");
    told.extend(texts);
    for secret in [PASSWORD, SESSION_KEY] {
        assert!(!told.contains(secret), "{told}");
    }
}

/// Neither in its own text nor in that of its sources.
#[track_caller]
fn assert_is_discreet(error: Error) {
    let debug = format!("{error:?}");
    let chain = anyhow::Error::from(error);
    let texts = chain.chain().map(|cause| format!("{cause} {cause:?}"));
    assert_tells_no_secrets(&debug, texts);
}

/// What to do about it, in words that its sentence must have.
const REMEDIES: [(&str, &str); 5] = [
    ("NOAUTH", "put it into the URL"),
    ("WRONGPASS", "check the user name and the password"),
    ("NOPERM", "give the Redis user access"),
    ("OOM", "raise its maxmemory"),
    ("ERR", "that no command is renamed or disabled"),
];

/// It is a refusal, with this code, and says what to do.
#[track_caller]
fn assert_refused(error: Error, expected: &str) {
    assert_matches!(&error, Error::Refused { code, .. } if code == expected);
    let (_, remedy) = REMEDIES.iter().find(|(code, _)| *code == expected).unwrap();
    assert!(error.to_string().contains(remedy), "{error}");
    assert_is_discreet(error);
}

/// The errors of all operations.
async fn errors_of(store: &RedisSessionStore) -> Vec<Error> {
    let (key, n) = (long_key(SESSION_KEY), || state("n", "1"));
    let outcomes = [
        store.load(&key).await.map(drop).map_err(Typed::typed),
        store.save(n(), &HOUR).await.map(drop).map_err(Typed::typed),
        store.update_ttl(&key, &HOUR).await.map_err(Typed::typed),
        store.delete(&key).await.map_err(Typed::typed),
        // The last, for Redis closes the connection when somebody without a password sends so much.
        store
            .update(copy(&key), n(), &HOUR)
            .await
            .map(drop)
            .map_err(Typed::typed),
    ];
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// All operations are refused with this code, and Redis is asked once for each.
async fn assert_all_refused(redis: &TestRedis, credentials: &str, code: &str) {
    let proxy = Proxy::watching(redis).await;
    let errors = errors_of(&proxy.store_as(credentials)).await;
    assert_eq!(errors.len(), 5);
    for error in errors {
        assert_refused(error, code);
    }
    for (command, times) in [("HGETALL", 1), ("PEXPIRE", 1), ("EVALSHA", 3)] {
        assert_eq!(proxy.seen(command).len(), times, "{command}");
    }
}

#[actix_web::test]
async fn a_missing_password_is_named_at_once() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("CONFIG SET requirepass {PASSWORD}"));
    assert_all_refused(&redis, "", "NOAUTH").await;
}

/// As `main` prints an error that it returns.
#[actix_web::test]
async fn an_application_that_cannot_start_says_why_in_a_sentence() {
    let printed = |error: Error| format!("Error: {:?}", Box::<dyn std::error::Error>::from(error));
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("CONFIG SET requirepass {PASSWORD}"));
    let wrong = RedisSessionStore::from_url(redis.url_as(":wrong@")).unwrap();
    assert_eq!(
        printed(wrong.ping().await.unwrap_err()),
        "Error: Redis refused AUTH (WRONGPASS): check the user name and the password in the URL"
    );
    let absent = TestRedis::not_started();
    let absent = absent.store_with(|options| options.deadline(Duration::from_millis(100)));
    let away = printed(absent.ping().await.unwrap_err());
    assert!(
        away.starts_with("Error: Redis is unavailable (waited "),
        "{away}"
    );
    assert!(away.contains(" ms): Connection refused"), "{away}");
    let url = RedisSessionStore::from_url("localhost").unwrap_err();
    assert!(printed(url).starts_with("Error: invalid Redis URL: "));
}

/// Redis closes the connection of whoever sends much without a password, and says something else.
#[actix_web::test]
async fn a_missing_password_is_named_however_large_the_session_is() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("CONFIG SET requirepass {PASSWORD}"));
    let store = sealing::options(pool_at(&redis.url())).build();
    let many = (0..20).map(|i| (format!("field{i}"), "1".to_owned()));
    for state in [many.collect(), state("n", &"1".repeat(20_000))] {
        let saved = store.save(state, &HOUR).await.unwrap_err();
        assert_refused(saved.typed(), "NOAUTH");
    }
}

#[actix_web::test]
async fn missing_permissions_are_named_at_once() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("ACL SETUSER shop on >{PASSWORD} ~other:* +@all"));
    assert_all_refused(&redis, &format!("shop:{PASSWORD}@"), "NOPERM").await;
}

/// As the remedy names them, but for those of Sentinel and Cluster.
pub(crate) const COMMANDS: &str = "+hgetall +hget +hmget +hexists +hlen +hkeys +hset +hdel +hincrby +get \
     +set +exists +unlink +rename +pttl +pexpire +multi +exec +evalsha +eval +ping";

/// And these for the sessions of users.
pub(crate) const USER_COMMANDS: &str = "+zadd +zrem +zscore +zcard +zrange +time";

/// All that requests do to a session, one after the other and while others do.
async fn do_everything(app: &TestApp) {
    let browser = app.browser();
    browser.get("/count").await.text();
    let long = format!("/set/long/{}", "x".repeat(5_000));
    for changed in ["/count", &long] {
        browser.get(changed).await.text();
        let quick = async {
            for path in ["/set/user/Ada", "/add/n/1", "/set/last/1", "/read"] {
                browser.get(path).await.text();
            }
        };
        browser.get_slowly("/add/n/1", quick).await.0.text();
    }
    for path in ["/set/last/1", "/remove/user", "/clear", "/count", "/renew"] {
        browser.get(path).await.text();
    }
    browser
        .get_slowly("/renew", browser.get("/count"))
        .await
        .0
        .text();
    browser.get("/purge").await.text();
}

#[actix_web::test]
async fn the_commands_that_the_remedy_names_are_enough() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >{PASSWORD} ~session:* {COMMANDS}"
    ));
    let url = redis.url_as(&format!("shop:{PASSWORD}@"));
    for setup in [
        Setup::default(),
        Setup::consistent(),
        Setup::consistent_and_sliding(),
    ] {
        let options = RedisSessionStore::builder(pool_at(&url)).counter("n");
        let store = options
            .merge_field("last", |_, _, ours| ours.clone())
            .build();
        store.check().await.unwrap();
        do_everything(&TestApp::with(store, &setup)).await;
    }
}

#[test]
fn the_manual_names_them_in_the_line_that_gives_the_rights() {
    let set = |words: &'static str| -> BTreeSet<_> {
        let words = words.split_whitespace();
        words.filter(|word| word.starts_with('+')).collect()
    };
    let line = |chapter: &'static str| {
        let (_, rest) = chapter.split_once("ACL SETUSER shop on").unwrap();
        set(rest.split_once("```").unwrap().0)
    };
    let (needed, operations) = (set(COMMANDS), include_str!("../../docs/operations.md"));
    assert_eq!(line(operations), needed);
    assert!(operations.contains(USER_COMMANDS));
    let of_those_who_move = line(include_str!("../../docs/migration.md"));
    assert!(of_those_who_move.is_superset(&needed));
}

#[actix_web::test]
async fn they_are_enough_for_sessions_of_the_built_in_store_too() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("ACL SETUSER shop on >{PASSWORD} ~* {COMMANDS}"));
    let options =
        || RedisSessionStore::builder(pool_at(&redis.url_as(&format!("shop:{PASSWORD}@"))));
    for store in [
        options().adopt_built_in_sessions("").build(),
        options().built_in_layout("").build(),
    ] {
        store.check().await.unwrap();
        for setup in [Setup::default(), Setup::consistent_and_sliding()] {
            do_everything(&TestApp::with(store.clone(), &setup)).await;
        }
    }
}

#[actix_web::test]
async fn with_those_for_users_they_are_enough_and_not_too_many_for_users_too() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >{PASSWORD} ~session:* {COMMANDS} {USER_COMMANDS}"
    ));
    let url = redis.url_as(&format!("shop:{PASSWORD}@"));
    let options = || RedisSessionStore::builder(pool_at(&url)).user_field("user");
    let store = options().session_limit(1, AtLimit::EndOldest).build();
    let requests = async {
        store.check().await.unwrap();
        let app = TestApp::with(store.clone(), &Setup::consistent_and_sliding());
        do_everything(&app).await;
        for _ in 0..2 {
            app.browser().get("/login/Ada").await.text();
        }
        assert_eq!(store.sessions_of("Ada").list().await.unwrap().len(), 1);
        assert_eq!(store.sessions_of("Ada").end_all().await.unwrap(), 1);
    };
    let asked = redis.commands_during(requests).await.1;
    for command in USER_COMMANDS.split_whitespace() {
        assert!(asked.contains_key(&command[1..]), "{command}");
        redis.run::<()>(&format!("ACL SETUSER shop -{}", &command[1..]));
        let checked = options().build().check().await;
        assert_matches!(checked, Err(Error::Refused { code, .. }) if code == "NOPERM");
        redis.run::<()>(&format!("ACL SETUSER shop {command}"));
    }
}

#[actix_web::test]
async fn none_of_the_commands_that_the_remedy_names_is_superfluous() {
    let redis = TestRedis::start().await;
    let mut loses_reply = true;
    // Whoever begins a session and does not hear of it looks whether it is there.
    let proxy = Proxy::before(&redis, move |command| {
        match command.name() == "EVAL" && command.is_create() && loses_reply {
            true => {
                loses_reply = false;
                Fate::LoseReply
            }
            false => Fate::Forward,
        }
    })
    .await;
    let store = proxy.store_with(|options| options.counter("n"));
    let app = TestApp::with(store.clone(), &Setup::consistent_and_sliding());
    let requests = async {
        store.ping().await.unwrap();
        do_everything(&app).await;
    };
    let mut asked = redis.commands_during(requests).await.1;
    // Those of a new connection, for which nobody needs a right.
    asked.retain(|name, _| !name.starts_with("client") && name != "select" && name != "auth");
    let named = COMMANDS.split_whitespace().map(|name| &name[1..]);
    let mut named: BTreeSet<_> = named.collect();
    if sealing::is_on() {
        // Nobody can add to a counter there.
        named.remove("hincrby");
    }
    assert_eq!(
        asked.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        named
    );
}

#[actix_web::test]
async fn a_command_that_a_script_may_not_use_is_a_missing_permission() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >{PASSWORD} ~session:* {COMMANDS} -unlink"
    ));
    let url = redis.url_as(&format!("shop:{PASSWORD}@"));
    let store = RedisSessionStore::from_url(url).unwrap();
    let key = store.save(state("n", "1"), &HOUR).await.unwrap();
    let error = store.delete(&key).await.unwrap_err().typed();
    for command in COMMANDS.split_whitespace() {
        let name = command.trim_start_matches('+').to_uppercase();
        assert!(error.to_string().contains(&name), "{name}");
    }
    assert_refused(error, "NOPERM");
}

#[actix_web::test]
async fn a_wrong_password_is_named_at_once() {
    let redis = TestRedis::start().await;
    redis.run::<()>("CONFIG SET requirepass another");
    redis.run::<()>("ACL SETUSER shop on >another ~* +@all");
    for credentials in [format!(":{PASSWORD}@"), format!("shop:{PASSWORD}@")] {
        let proxy = Proxy::watching(&redis).await;
        let errors = errors_of(&proxy.store_as(&credentials)).await;
        assert_eq!(errors.len(), 5);
        for error in errors {
            assert_refused(error, "WRONGPASS");
        }
        assert_eq!(proxy.seen("AUTH").len(), 1, "those who follow are told");
    }
}

/// To these, Redis replies with the arguments of the command, so with the session key.
#[actix_web::test]
async fn a_disabled_command_is_named_at_once() {
    for (command, sent, sent_by_scripts) in [
        ("HGETALL", 1, 0),
        ("HSET", 0, 1),
        ("HMGET", 0, 1),
        ("PEXPIRE", 1, 1),
        ("UNLINK", 0, 1),
        ("EXISTS", 0, 1),
        ("GET", 0, 1),
        ("SET", 0, 1),
        ("EVALSHA", 3, 0),
    ] {
        let redis = TestRedis::start_with(&["--rename-command", command, ""]).await;
        let proxy = Proxy::watching(&redis).await;
        let errors = errors_of(&proxy.store()).await;
        assert_eq!(errors.len(), sent + sent_by_scripts, "{command}");
        assert_eq!(proxy.seen(command).len(), sent, "{command} is not repeated");
        for error in errors {
            assert_refused(error, "ERR");
        }
    }
}

/// Fifty requests at once are refused, and Redis has been asked this often, on one connection.
async fn assert_no_storm(
    redis: &TestRedis,
    credentials: &str,
    request: impl AsyncFn(&RedisSessionStore) -> Error,
    code: &str,
    (command, times): (&str, usize),
) {
    let proxy = Proxy::watching(redis).await;
    let store = proxy.store_as(credentials);
    let before = redis.connections_made();
    for error in join_all((0..50).map(|_| request(&store))).await {
        assert_refused(error, code);
    }
    assert_eq!(proxy.seen(command).len(), times, "{code}");
    assert_eq!(redis.connections_made(), before + 1, "{code}");
    report(format!(
        "50 requests refused with {code}: {times} x {command} on one connection"
    ));
}

#[actix_web::test]
async fn fifty_refused_requests_are_no_storm() {
    let load = async |store: &RedisSessionStore| {
        let loaded = store.load(&long_key(SESSION_KEY)).await;
        loaded.unwrap_err().typed()
    };
    let save = async |store: &RedisSessionStore| {
        let saved = store.save(state("n", "1"), &HOUR).await;
        saved.unwrap_err().typed()
    };
    let redis = TestRedis::start_with(&["--rename-command", "HGETALL", ""]).await;
    assert_no_storm(&redis, "", load, "ERR", ("HGETALL", 50)).await;

    let redis = TestRedis::start().await;
    redis.run::<()>("CONFIG SET maxmemory 1");
    assert_no_storm(&redis, "", save, "OOM", ("EVALSHA", 50)).await;

    redis.run::<()>(&format!("ACL SETUSER shop on >{PASSWORD} ~other:* +@all"));
    let shop = format!("shop:{PASSWORD}@");
    assert_no_storm(&redis, &shop, load, "NOPERM", ("HGETALL", 50)).await;

    redis.run::<()>("CONFIG SET requirepass another");
    assert_no_storm(&redis, "", load, "NOAUTH", ("HGETALL", 50)).await;
    let wrong = format!(":{PASSWORD}@");
    assert_no_storm(&redis, &wrong, load, "WRONGPASS", ("AUTH", 1)).await;
}

/// What a request may write.
const WRITES: [&str; 4] = ["/set/name/Ada", "/count", "/renew", "/login/Ada"];

#[actix_web::test]
async fn when_redis_is_full_writes_are_refused_and_reads_and_logouts_go_on() {
    for setup in [Setup::default(), Setup::consistent()] {
        for counter in ["n", "none"] {
            let redis = TestRedis::start().await;
            let store = redis.store_with(|options| options.counter(counter));
            let app = TestApp::with(store.clone(), &setup);
            let browser = app.browser();
            browser.get("/count").await.text();
            let before = redis.dump(&redis.only_session());
            redis.run::<()>("CONFIG SET maxmemory 1");

            let saved = store.save(state("n", "1"), &HOUR).await;
            assert_refused(saved.unwrap_err().typed(), "OOM");
            for path in WRITES {
                // Without `ConsistentSessions`, the old session ends before the new one begins.
                if setup.consistent || !["/renew", "/login/Ada"].contains(&path) {
                    browser.get(path).await.assert_empty_500();
                    assert_eq!(browser.get("/read").await.text(), "n=1", "after {path}");
                    assert_eq!(redis.dump(&redis.only_session()), before, "after {path}");
                }
            }
            app.browser().get("/count").await.assert_empty_500();

            redis.run::<()>("CONFIG SET maxmemory 0");
            assert_eq!(browser.get("/count").await.text(), "n=2");
            redis.run::<()>("CONFIG SET maxmemory 1");
            let cookie = browser.cookie();
            browser.get("/purge").await.text();
            assert!(!browser.has_cookie());
            assert_eq!(redis.sessions(), [""; 0]);
            let thief = app.browser_with_cookie(cookie);
            assert_eq!(thief.get("/read").await.text(), "empty");
            assert_eq!(redis.keys().len(), 1, "the tombstone");
        }
    }
}

#[actix_web::test]
async fn a_refusal_is_an_empty_500_to_the_visitor() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("CONFIG SET requirepass {PASSWORD}"));
    let store = sealing::options(pool_at(&redis.url())).build();
    let app = TestApp::on(store);
    app.browser().get("/count").await.assert_empty_500();
}

#[actix_web::test]
async fn what_else_goes_wrong_tells_no_secrets_either() {
    let redis = TestRedis::start().await;
    redis.put(&hash_of(&long_key(SESSION_KEY)), PASSWORD.as_bytes());
    let store = redis.store();
    let unreadable = store.modify(&long_key(SESSION_KEY), |_| ()).await;
    assert_is_discreet(unreadable.unwrap_err());
    let gone = store.modify(&long_key("gone"), |_| ()).await;
    assert_is_discreet(gone.unwrap_err());

    redis.kill();
    let pool = pool_at(&redis.url_as(&format!(":{PASSWORD}@")));
    let options = RedisSessionStore::builder(pool).deadline(Duration::from_millis(20));
    let errors = errors_of(&options.build()).await;
    assert_eq!(errors.len(), 5);
    errors.into_iter().for_each(assert_is_discreet);
}

#[actix_web::test]
async fn a_bad_url_is_an_error_that_does_not_quote_its_password() {
    for url in [
        "nonsense",
        "http://:open-sesame@localhost",
        "redis://:open-sesame@localhost:port",
        "redis://:open-sesame@localhost/database",
        "redis://:open-sesame@",
        "redis+unix:///tmp/x?db=open-sesame",
    ] {
        let Err(error) = RedisSessionStore::from_url(url) else {
            panic!("{url} was accepted");
        };
        assert_matches!(&error, Error::InvalidUrl { .. });
        assert_is_discreet(error);
    }
}

/// What comes after it would be a piece of the password that is looked up as a host name, or a
/// database.
#[actix_web::test]
async fn a_password_that_needs_percent_encoding_is_an_error_that_says_so() {
    for special in ["#", "@", "/", "?", "@ss#w", "#w@", "/@?", "@@"] {
        for password in [
            format!("{PASSWORD}{special}x"),
            format!("x{special}{PASSWORD}"),
            format!("{special}{PASSWORD}"),
        ] {
            for user in ["", "shop"] {
                for scheme in ["redis", "rediss", "valkey", "valkeys"] {
                    let url = format!("{scheme}://{user}:{password}@localhost:6379/2");
                    let error = RedisSessionStore::from_url(&url).expect_err(&url);
                    assert_matches!(&error, Error::InvalidUrl { .. });
                    assert!(
                        error.to_string().contains("percent-encoded"),
                        "{url}: {error}"
                    );
                    assert_is_discreet(error);
                }
            }
        }
    }
}

#[actix_web::test]
async fn a_user_name_that_needs_percent_encoding_is_an_error_that_says_so() {
    for user in ["sh#op", "sh@op", "sh/op", "sh?op"] {
        let url = format!("redis://{user}:{PASSWORD}@localhost");
        let error = RedisSessionStore::from_url(&url).expect_err(&url);
        assert!(
            error.to_string().contains("percent-encoded"),
            "{url}: {error}"
        );
        assert_is_discreet(error);
    }
}

#[actix_web::test]
async fn urls_that_need_no_percent_encoding_are_fine() {
    let with_tls = cfg!(any(feature = "native-tls", feature = "rustls"));
    for url in [
        "redis://localhost",
        "redis://localhost:6379/2?protocol=resp3",
        "redis://shop:a:b!$&'()*+,;=-._~@[::1]:6379/0",
        "redis+unix:///tmp/redis@home.sock?user=shop&pass=p@ss",
        "rediss://shop:ladder@localhost/#insecure",
        "rediss://shop:ladder@localhost/2#insecure",
    ] {
        if with_tls || !url.starts_with("rediss") {
            RedisSessionStore::from_url(url).expect(url);
        }
    }
}

#[actix_web::test]
async fn a_percent_encoded_password_is_the_one_that_redis_is_told() {
    let redis = TestRedis::start().await;
    redis.run::<()>("CONFIG SET requirepass p@ss#w/?%41");
    let url = redis.url_as(":p%40ss%23w%2F%3F%2541@");
    RedisSessionStore::from_url(url)
        .unwrap()
        .ping()
        .await
        .unwrap();
}

#[actix_web::test]
async fn in_the_password_of_a_unix_socket_at_signs_and_pluses_need_no_encoding() {
    let redis = TestRedis::start_on_unix_socket().await;
    redis.run::<()>("CONFIG SET requirepass p@s+s");
    let url = format!("{}?pass=p@s+s", redis.url());
    RedisSessionStore::from_url(url)
        .unwrap()
        .ping()
        .await
        .unwrap();
}

#[track_caller]
fn assert_names(command: &str, error: Error) {
    assert!(
        error
            .to_string()
            .starts_with(&format!("Redis refused {command} (")),
        "{error}"
    );
    assert_matches!(error, Error::Refused { command: c, .. } if c == command);
}

/// Of each operation.
async fn assert_all_name(commands: [&str; 5], store: &RedisSessionStore) {
    let errors = errors_of(store).await;
    assert_eq!(errors.len(), 5);
    for (error, command) in errors.into_iter().zip(commands) {
        assert_names(command, error);
    }
}

#[actix_web::test]
async fn the_command_that_was_refused_is_named() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!("ACL SETUSER shop on >{PASSWORD} ~other:* +@all"));
    let url = redis.url_as(&format!("shop:{PASSWORD}@"));
    let commands = ["HGETALL", "EVALSHA", "PEXPIRE", "EVALSHA", "EVALSHA"];
    assert_all_name(commands, &RedisSessionStore::from_url(url).unwrap()).await;
}

#[actix_web::test]
async fn so_is_one_that_is_refused_while_connecting() {
    let redis = TestRedis::start().await;
    let url = redis.url_as("shop:wrong@");
    assert_all_name(["AUTH"; 5], &RedisSessionStore::from_url(url).unwrap()).await;
    let url = format!("{}/999", redis.url());
    assert_all_name(["SELECT"; 5], &RedisSessionStore::from_url(url).unwrap()).await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >{PASSWORD} ~session:* +@all -select"
    ));
    let url = format!("{}/2", redis.url_as(&format!("shop:{PASSWORD}@")));
    assert_all_name(["SELECT"; 5], &RedisSessionStore::from_url(url).unwrap()).await;
}

/// One that goes along with another in one round trip, and one that follows it.
#[actix_web::test]
async fn so_is_one_that_is_not_the_first() {
    let redis = TestRedis::start().await;
    redis.run::<()>(&format!(
        "ACL SETUSER shop on >{PASSWORD} ~session:* {COMMANDS} -pttl -hdel"
    ));
    let url = redis.url_as(&format!("shop:{PASSWORD}@"));
    let store = RedisSessionStore::from_url(url).unwrap();
    let mut fields = state("n", "1");
    fields.extend(state("stays", "1"));
    let key = store.save(fields, &HOUR).await.unwrap();
    let (in_scope, same) = (store.clone(), copy(&key));
    let removed = in_a_request(async move {
        let mut state = in_scope.load(&same).await.unwrap().unwrap();
        state.insert("other".to_owned(), "1".to_owned());
        in_scope.update(copy(&same), state, &HOUR).await.unwrap();
        let mut state = in_scope.load(&same).await.unwrap().unwrap();
        state.remove("n");
        in_scope.update(same, state, &HOUR).await
    });
    assert_names("HDEL", removed.await.unwrap_err().typed());
    // Whoever prolongs sessions asks for their TTL when they are read.
    store.update_ttl(&key, &HOUR).await.unwrap();
    let loaded = in_a_request(async move { store.load(&key).await }).await;
    assert_names("PTTL", loaded.unwrap_err().typed());
}

#[actix_web::test]
async fn the_debug_output_of_store_and_builder_tells_no_secrets() {
    let url = format!("redis://shop:{PASSWORD}@127.0.0.1/");
    assert_tells_no_secrets(&RedisSessionStore::from_url(&url).unwrap(), []);
    let pool = pool_at(&url);
    assert_tells_no_secrets(&RedisSessionStore::builder(pool), []);
}
