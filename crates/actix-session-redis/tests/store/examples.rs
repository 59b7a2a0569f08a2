/// People who are logged in on several devices, see and end them.
mod devices;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use actix_web::http::header;
#[cfg(feature = "cluster")]
use testbed::Cluster;
#[cfg(feature = "rustls")]
use testbed::PemFile;
#[cfg(feature = "sentinel")]
use testbed::Sentinels;
#[cfg(feature = "rustls")]
use testbed::{Certificates, Server};

use crate::support::redis::TestRedis;

/// A running example, killed when dropped.
struct Example {
    process: Child,
    url: String,
}

impl Example {
    /// On any free port. Reads where that is.
    fn start<'a>(name: &str, variables: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        // Cargo builds a package's examples along with its tests, into the folder next to theirs;
        // but not when it is told which test to run (`cargo test counter`; after `--` is fine).
        let tests = env::current_exe().unwrap();
        let program = tests
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples")
            .join(name);
        let mut process = Command::new(&program)
            .envs(variables)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut url = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        Self { process, url }
    }

    /// Two visits with one cookie are counted.
    async fn assert_counts(&self) {
        let client = actix_test::Client::default();
        let mut first = client.get(&self.url).send().await.unwrap();
        let cookie = first.headers().get(header::SET_COOKIE).cloned();
        let cookie = cookie.unwrap_or_else(|| panic!("no cookie in {first:?}"));
        assert_eq!(first.body().await.unwrap(), "You have been here 1 times\n");

        let second = client
            .get(&self.url)
            .insert_header((header::COOKIE, cookie));
        let mut second = second.send().await.unwrap();
        assert_eq!(second.body().await.unwrap(), "You have been here 2 times\n");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// By the package that has no tests: `cargo run -p examples --bin counter`.
#[test]
fn each_can_be_run_without_what_the_tests_need() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let manifest = fs::read_to_string(folder.join("../../examples/Cargo.toml")).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("/examples/{name}\"");
        assert!(!name.ends_with(".rs") || manifest.contains(&path), "{name}");
    }
}

#[actix_web::test]
async fn the_counter_works_on_one_server() {
    let redis = TestRedis::start().await;
    let example = Example::start("counter", [("REDIS_URL", redis.url())]);
    example.assert_counts().await;
}

#[actix_web::test]
async fn the_unix_socket_works_as_another_user_in_another_database() {
    let redis = TestRedis::start_on_unix_socket().await;
    redis.run::<()>(
        "ACL SETUSER shop on >secret ~session:* +@read +@write +@transaction +@scripting +@connection",
    );
    redis.run::<()>("ACL SETUSER default off");
    let url = format!("{}?db=1&user=shop&pass=secret", redis.url());
    let example = Example::start("unix_socket", [("REDIS_URL", url)]);
    example.assert_counts().await;
}

#[cfg(feature = "sentinel")]
#[actix_web::test]
async fn sentinel_works() {
    let redis = Sentinels::start();
    let variables = [
        ("SENTINEL_URLS", redis.urls().join(",")),
        ("MASTER", redis.master_name().to_owned()),
    ];
    Example::start("sentinel", variables).assert_counts().await;
}

#[cfg(feature = "cluster")]
#[actix_web::test]
async fn a_cluster_works() {
    let redis = Cluster::start();
    let example = Example::start("cluster", [("REDIS_URLS", redis.urls().join(","))]);
    example.assert_counts().await;
}

#[cfg(feature = "rustls")]
#[actix_web::test]
async fn tls_works_with_certificates_on_both_sides() {
    let certificates = Certificates::new();
    let redis = Server::start_with_mutual_tls(&certificates);
    let path = |file: &PemFile| file.path().display().to_string();
    let client = certificates.client();
    let variables = [
        ("REDIS_URL", redis.url()),
        ("CA", path(certificates.authority())),
        ("CERTIFICATE", path(client.certificate())),
        ("CERTIFICATE_KEY", path(client.key())),
    ];
    Example::start("tls", variables).assert_counts().await;
}

#[actix_web::test]
async fn who_is_logged_in_by_actix_identity_is_logged_out_everywhere() {
    let redis = TestRedis::start().await;
    let example = Example::start("identity", [("REDIS_URL", redis.url())]);
    let client = actix_test::Client::default();
    let ask = async |path: &str, cookie: Option<&header::HeaderValue>| {
        let mut request = client.get(format!("{}{path}", example.url));
        if let Some(cookie) = cookie {
            request = request.insert_header((header::COOKIE, cookie.clone()));
        }
        let mut answer = request.send().await.unwrap();
        let cookie = answer.headers().get(header::SET_COOKIE).cloned();
        let body = answer.body().await.unwrap();
        (String::from_utf8(body.to_vec()).unwrap(), cookie)
    };
    let [phone, laptop] = [
        ask("/log-in/Ada", None).await.1,
        ask("/log-in/Ada", None).await.1,
    ];
    assert_eq!(ask("/", phone.as_ref()).await.0, "You are Ada\n");
    let ended = ask("/log-out-everywhere", laptop.as_ref()).await.0;
    assert_eq!(ended, "Logged out on 2 devices\n");
    for cookie in [phone, laptop] {
        assert_eq!(ask("/", cookie.as_ref()).await.0, "You are not logged in\n");
    }
}
