//! `rediss://`, with one of the two features and with both: by whom a server is trusted, and who shows a
//! certificate.

#![cfg(any(feature = "native-tls", feature = "rustls"))]

use std::{collections::HashMap, env, time::Duration};

use actix_session::storage::SessionStore as _;
use actix_session_redis::{
    Error, RedisSessionStore,
    deadpool_redis::{
        Manager, Pool, Runtime,
        redis::{AsyncConnectionConfig, Client, ClientTlsConfig, TlsCertificates},
    },
};
use actix_web::cookie::time;
use testbed::{Certificates, Server};

/// A store that trusts this authority alone, and shows its client's certificate if asked to.
fn store(url: &str, trusted: &Certificates, shows_certificate: bool) -> RedisSessionStore {
    let client = trusted.client();
    let client_tls = shows_certificate.then(|| ClientTlsConfig {
        client_cert: client.certificate().text().into(),
        client_key: client.key().text().into(),
    });
    let certificates = TlsCertificates {
        client_tls,
        root_cert: Some(trusted.authority().text().into()),
    };
    let client = Client::build_with_tls(url, certificates).unwrap();
    let server = client.get_connection_info().clone();
    let manager = Manager::new_with_config(server, AsyncConnectionConfig::new()).unwrap();
    let pool = Pool::builder(manager).runtime(Runtime::Tokio1).build();
    RedisSessionStore::builder(pool.unwrap())
        .deadline(Duration::from_secs(1))
        .build()
}

#[track_caller]
fn assert_unavailable(error: Error) -> String {
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    error.to_string()
}

/// Saves and reads one session.
async fn assert_works(store: &RedisSessionStore) {
    let state = || HashMap::from([("n".to_owned(), "1".to_owned())]);
    let key = store.save(state(), &time::Duration::HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state()));
}

#[actix_web::test]
async fn a_store_works_over_tls_with_a_private_authority() {
    let certificates = Certificates::new();
    let redis = Server::start_with_tls(&certificates);
    assert_works(&store(&redis.url(), &certificates, false)).await;
}

#[actix_web::test]
async fn a_store_shows_its_certificate_to_a_server_that_asks_for_one() {
    let certificates = Certificates::new();
    let redis = Server::start_with_mutual_tls(&certificates);
    assert_works(&store(&redis.url(), &certificates, true)).await;
    let refused = store(&redis.url(), &certificates, false).ping().await;
    assert_unavailable(refused.unwrap_err());
}

#[actix_web::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let redis = Server::start_with_tls(&Certificates::new());
    let suspicious = store(&redis.url(), &Certificates::new(), false);
    let told = assert_unavailable(suspicious.ping().await.unwrap_err());
    assert!(told.to_lowercase().contains("certificate"), "{told}");
    let of_the_system = RedisSessionStore::from_url(redis.url()).unwrap();
    let told = assert_unavailable(of_the_system.ping().await.unwrap_err());
    assert!(told.to_lowercase().contains("certificate"), "{told}");
}

#[actix_web::test]
async fn a_server_is_not_trusted_under_another_name() {
    let certificates = Certificates::new();
    let redis = Server::start_with_tls(&certificates);
    let other_name = redis.url().replace("127.0.0.1", "127.0.0.2");
    let suspicious = store(&other_name, &certificates, false);
    assert_unavailable(suspicious.ping().await.unwrap_err());
}

#[actix_web::test]
async fn plain_and_tls_do_not_mix_and_do_not_hang() {
    let with_tls = Server::start_with_tls(&Certificates::new());
    let plain_url = with_tls.url().replace("rediss:", "redis:");
    let plain = RedisSessionStore::from_url(plain_url).unwrap();
    assert_unavailable(plain.ping().await.unwrap_err());

    let without = Server::start();
    let tls_url = without.url().replace("redis:", "rediss:");
    let tls = RedisSessionStore::from_url(tls_url).unwrap();
    assert_unavailable(tls.ping().await.unwrap_err());
}

/// For the process that the next test starts.
const URL: &str = "URL_OF_A_TRUSTED_SERVER";

#[actix_web::test]
#[ignore = "run by the next test, in a process of its own"]
async fn works_at_the_url_of_the_environment() {
    let url = env::var(URL).unwrap();
    assert_works(&RedisSessionStore::from_url(url).unwrap()).await;
}

/// With both features, redis-rs trusts nobody by itself.
#[cfg(not(all(feature = "native-tls", feature = "rustls")))]
#[test]
fn a_server_of_an_authority_that_the_system_trusts_is_trusted() {
    let certificates = Certificates::new();
    let redis = Server::start_with_tls(&certificates);
    // What the system trusts is read once in a process.
    let mut process = std::process::Command::new(env::current_exe().unwrap());
    process
        .args([
            "--ignored",
            "--exact",
            "works_at_the_url_of_the_environment",
        ])
        .env(URL, redis.url());
    let works = |command: &mut std::process::Command| command.output().unwrap().status.success();
    assert!(!works(&mut process));
    process.env("SSL_CERT_FILE", certificates.authority().path());
    assert!(works(&mut process));
}
