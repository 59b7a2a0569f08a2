//! Replies of servers that are not there when the tests run, byte by byte as they were seen.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix_session::storage::SessionStore;
use actix_session_redis::{Error, RedisSessionStore};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::support::{
    proxy::{Fate, Proxy},
    redis::{TestRedis, pool_at},
    sessions::{HOUR, Typed, long_key, state},
};

const PATIENT: Duration = Duration::from_secs(20);

/// Says this to each command of this name.
async fn proxy_saying(redis: &TestRedis, to: &'static str, reply: &'static str) -> Proxy {
    Proxy::before(redis, move |command| {
        if command.name() == to {
            Fate::Reply(format!("{reply}\r\n").into())
        } else {
            Fate::Forward
        }
    })
    .await
}

/// The same, so often; then Redis gets it.
async fn proxy_saying_thrice(redis: &TestRedis, to: &'static str, reply: &'static str) -> Proxy {
    let left = Rc::new(Cell::new(3));
    Proxy::before(redis, move |command| {
        if command.name() != to || left.get() == 0 {
            return Fate::Forward;
        }
        left.set(left.get() - 1);
        Fate::Reply(format!("{reply}\r\n").into())
    })
    .await
}

#[track_caller]
fn assert_refused(server: &str, error: &Error, as_code: &str, command: &str, remedy: &str) {
    let Error::Refused {
        code, command: c, ..
    } = error
    else {
        panic!("{server}: {error:?}");
    };
    assert_eq!((&**code, &**c), (as_code, command), "{server}");
    assert!(error.to_string().contains(remedy), "{server}: {error}");
}

/// Who has said it, and what.
type Said = (&'static str, &'static str);

/// Of a right that a script lacks: to a command, or to a key.
const SCRIPT_LACKS_A_RIGHT: [Said; 6] = [
    (
        "Redis 7.0.15",
        "-ERR The user executing the script can't run this command or subcommand script: \
         6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
    ),
    (
        "Redis 7.2 to 8.2.3",
        "-ERR ACL failure in script: User ev has no permissions to run the 'del' command script: \
         6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
    ),
    (
        "Redis 7.2 to 8.2.3, of a key",
        "-ERR ACL failure in script: No permissions to access a key script: \
         6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
    ),
    (
        "Valkey 8.0.1 and 8.1.8",
        "-ERR ACL failure in script: User ev has no permissions to run the 'del' command script: \
         6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
    ),
    (
        "Valkey 9.1.2",
        "-ERR ACL failure in script: User ev has no permissions to run the 'del' command script: \
         on @user_script:1.",
    ),
    (
        "Valkey 9.1.2, of a key",
        "-ERR ACL failure in script: No permissions to access a key script: on @user_script:1.",
    ),
];

#[actix_web::test]
async fn a_right_that_a_script_lacks_is_a_missing_permission() {
    for (server, reply) in SCRIPT_LACKS_A_RIGHT {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying(&redis, "EVALSHA", reply).await;
        let store = proxy.store();
        let error = store.delete(&long_key("any")).await.unwrap_err().typed();
        let remedy = "give the Redis user access";
        assert_refused(server, &error, "NOPERM", "EVALSHA", remedy);
        let error = store.check().await.unwrap_err();
        assert_refused(server, &error, "NOPERM", "EVALSHA", remedy);
        assert_eq!(proxy.seen("EVALSHA").len(), 2, "it is not repeated");
    }
}

/// Elsewhere, `ERR` says nothing of rights.
#[actix_web::test]
async fn what_else_a_script_runs_into_is_no_missing_permission() {
    let reply = "-ERR Error running script: ACL failure in script is what it says";
    let redis = TestRedis::start().await;
    let proxy = proxy_saying(&redis, "EVALSHA", reply).await;
    let ended = proxy.store().delete(&long_key("any")).await;
    let remedy = "that no command is renamed or disabled";
    assert_refused(
        "none",
        &ended.unwrap_err().typed(),
        "ERR",
        "EVALSHA",
        remedy,
    );
}

/// From Redis 7.0.15 to 8.2.3 and Valkey 8.0.1 to 9.1.2; the words of NOPERM differ a little.
#[actix_web::test]
async fn codes_are_the_same_everywhere() {
    for (reply, code, remedy) in [
        (
            "-NOPERM User ev has no permissions to run the 'hgetall' command",
            "NOPERM",
            "give the Redis user access",
        ),
        (
            "-NOPERM No permissions to access a key",
            "NOPERM",
            "give the Redis user access",
        ),
        (
            "-WRONGPASS invalid username-password pair or user is disabled.",
            "WRONGPASS",
            "check the user name and the password",
        ),
        (
            "-NOAUTH Authentication required.",
            "NOAUTH",
            "put it into the URL",
        ),
        (
            "-OOM command not allowed when used memory > 'maxmemory'.",
            "OOM",
            "raise its maxmemory",
        ),
        (
            "-OOM command not allowed when used memory > 'maxmemory'. script: \
             6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
            "OOM",
            "raise its maxmemory",
        ),
    ] {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying(&redis, "HGETALL", reply).await;
        let loaded = proxy.store().load(&long_key("any")).await;
        assert_refused(reply, &loaded.unwrap_err().typed(), code, "HGETALL", remedy);
        assert_eq!(proxy.seen("HGETALL").len(), 1, "it is not repeated");
    }
}

/// Of a cluster that serves only reads, to a script that writes.
const CLUSTER_DOWN_FOR_SCRIPTS: [Said; 2] = [
    (
        "Redis 7.0.15 to 8.2.3, Valkey 8.0.1 and 8.1.8",
        "-ERR Script attempted to execute a write command while the cluster is down and readonly \
         script: 6cd4be8f7e9cb2c1ef5a8e2e3dd6bd5a0ba7ae17, on @user_script:1.",
    ),
    (
        "Valkey 9.1.2",
        "-ERR Can not execute a write command 'set' while the cluster is down and readonly \
         script: on @user_script:1.",
    ),
];

#[actix_web::test]
async fn a_script_waits_while_its_cluster_is_down() {
    for (server, reply) in CLUSTER_DOWN_FOR_SCRIPTS {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying_thrice(&redis, "EVALSHA", reply).await;
        let store = proxy.store_with(|options| options.deadline(PATIENT));
        let key = redis.store().save(state("n", "1"), &HOUR).await.unwrap();
        store.delete(&key).await.expect(server);
        assert_eq!(proxy.seen("EVALSHA").len(), 4, "{server}");
        assert_eq!(redis.sessions(), [""; 0], "{server}");

        let proxy = proxy_saying(&redis, "EVALSHA", reply).await;
        let impatient = proxy.store_with(|options| options.deadline(Duration::from_millis(400)));
        let error = impatient.delete(&key).await.unwrap_err().typed();
        let known = ["CLUSTERDOWN", "no answer in time"];
        let text = error.to_string();
        assert!(
            known.iter().any(|it| text.ends_with(it)),
            "{server}: {text}"
        );
        assert_matches!(error, Error::Unavailable { .. });
    }
}

/// A store whose URL names a database, so that redis-rs selects it.
fn store_on_database_2(proxy: &Proxy) -> RedisSessionStore {
    let pool = pool_at(&format!("{}/2", proxy.url_as("")));
    RedisSessionStore::builder(pool).deadline(PATIENT).build()
}

/// The same on all of them, from Redis 7.0.15 to 8.2.3 and Valkey 8.0.1 to 9.1.2, but for the
/// commands that the advice names.
#[actix_web::test]
async fn whoever_connects_while_a_script_runs_waits() {
    for (server, reply) in [
        (
            "Redis 7.0.15",
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ),
        (
            "Valkey 8.0.1 and later",
            "-BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ),
    ] {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying_thrice(&redis, "SELECT", reply).await;
        store_on_database_2(&proxy).ping().await.expect(server);
    }
}

#[actix_web::test]
async fn whoever_may_not_select_the_database_is_told_why() {
    for (reply, code, remedy) in [
        (
            "-NOAUTH Authentication required.",
            "NOAUTH",
            "put it into the URL",
        ),
        (
            "-NOPERM User ev has no permissions to run the 'select' command",
            "NOPERM",
            "SELECT if the URL names a database",
        ),
        // Redis 7.0.15 names no user.
        (
            "-NOPERM this user has no permissions to run the 'select' command",
            "NOPERM",
            "SELECT if the URL names a database",
        ),
        (
            "-ERR DB index is out of range",
            "ERR",
            "check the database number",
        ),
    ] {
        let redis = TestRedis::start().await;
        let proxy = proxy_saying(&redis, "SELECT", reply).await;
        let error = store_on_database_2(&proxy).ping().await.unwrap_err();
        assert_refused(reply, &error, code, "SELECT", remedy);
    }
}

/// The two causes, whatever else it says.
#[track_caller]
fn assert_names_why_it_was_turned_away(server: &str, error: &Error) {
    let text = error.to_string();
    for cause in ["max number of clients", "maxclients", "protected mode"] {
        assert!(text.contains(cause), "{server}: {text}");
    }
    assert_matches!(error, Error::Unavailable { .. });
}

/// A server that says this to whoever connects, and closes.
async fn port_turning_away(with: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let turn_away = async move |mut client: TcpStream| client.write_all(with.as_bytes()).await;
    actix_web::rt::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let _ = turn_away(client).await;
        }
    });
    port
}

#[actix_web::test]
async fn whoever_is_turned_away_is_told_why() {
    for (server, reply) in [
        (
            "all, at maxclients",
            "-ERR max number of clients reached\r\n",
        ),
        (
            "Redis 7.0.15, in protected mode",
            "-DENIED Redis is running in protected mode because protected mode is enabled and no \
             password is set for the default user. In this mode connections are only accepted \
             from the loopback interface.\r\n",
        ),
        (
            "Valkey 8.0.1 and 9.1.2, in protected mode",
            "-DENIED Running in protected mode because protected mode is enabled and no password \
             is set for the default user. In this mode connections are only accepted from the \
             loopback interface.\r\n",
        ),
    ] {
        let port = port_turning_away(reply).await;
        for credentials in ["", ":ladder@", "shop:ladder@"] {
            for database in ["", "/2"] {
                let url = format!("redis://{credentials}127.0.0.1:{port}{database}");
                let options = RedisSessionStore::builder(pool_at(&url));
                let store = options.deadline(Duration::from_millis(400)).build();
                let error = store.ping().await.unwrap_err();
                assert_names_why_it_was_turned_away(&format!("{server}, {url}"), &error);
            }
        }
    }
}

#[actix_web::test]
async fn whoever_meets_a_redis_without_room_for_clients_is_told_why() {
    let redis = TestRedis::start().await;
    redis.run::<()>("ACL SETUSER shop on >ladder ~session:* +@all");
    // Ours for questions is the only one.
    redis.run::<()>("CONFIG SET maxclients 1");
    for credentials in ["", "shop:ladder@"] {
        let pool = pool_at(&redis.url_as(credentials));
        let options = RedisSessionStore::builder(pool);
        let store = options.deadline(Duration::from_millis(400)).build();
        let error = store.ping().await.unwrap_err();
        assert_names_why_it_was_turned_away("Redis 7.0.15", &error);
    }
}
