use std::sync::LazyLock;

use testbed::Server;

use crate::{
    application::{Application, Build, Instance},
    visitor::Visitor,
};

/// The only one that is built as a canary as well.
pub(crate) static ONE_CONNECTION: LazyLock<OneConnection> = LazyLock::new(OneConnection::build);

pub(crate) struct OneConnection {
    /// On the built-in store, as a canary, and adopting.
    pub(crate) builds: [Build; 3],
}

impl OneConnection {
    fn build() -> Self {
        let redis = Server::start();
        let application = Application::new("one-connection");
        let built_in = application.build("built-in", &redis);
        application.patch("one connection");
        let adopting = application.build("adopting", &redis);
        application.patch("canary");
        let canary = application.build("canary", &redis);
        Self {
            builds: [built_in, canary, adopting],
        }
    }
}

#[test]
fn an_application_on_one_connection_moves_and_goes_back() {
    let [built_in, canary, adopting] = &ONE_CONNECTION.builds;
    let redis = Server::start();
    everybody_stays_logged_in(&redis, built_in, adopting);
    both_serve_every_session(&redis, built_in, canary);
}

#[test]
fn an_application_on_a_pool_moves_and_goes_back() {
    let redis = Server::start();
    let application = Application::new("pooled");
    let built_in = application.build("built-in", &redis);
    application.patch("pool");
    let ours = application.build("ours", &redis);
    everybody_stays_logged_in(&redis, &built_in, &ours);
}

#[test]
fn an_application_with_a_prefix_and_actix_identity_moves_and_goes_back() {
    let redis = Server::start();
    let application = Application::new("prefixed");
    let built_in = application.build("built-in", &redis);
    application.patch("prefix");
    let ours = application.build("ours", &redis);
    everybody_stays_logged_in(&redis, &built_in, &ours);
}

fn everybody_stays_logged_in(redis: &Server, built_in: &Build, ours: &Build) {
    let instance = built_in.start(redis);
    let ada = Visitor::logged_in("ada", &instance.url());
    let bob = Visitor::logged_in("bob", &instance.url());
    assert_page(&ada, &instance, "ada 1");
    assert_page(&bob, &instance, "bob 1");
    drop(instance);

    let instance = ours.start(redis);
    assert_page(&ada, &instance, "ada 2");
    assert_page(&ada, &instance, "ada 3");
    let eve = Visitor::logged_in("eve", &instance.url());
    assert_page(&eve, &instance, "eve 1");
    log_out(&bob, &instance);
    assert_nobody(&bob, &instance);
    drop(instance);

    let instance = built_in.start(redis);
    // What is written on one side is not seen on the other.
    assert_page(&ada, &instance, "ada 2");
    assert_page(&eve, &instance, "eve 1");
    assert_nobody(&bob, &instance);
    log_out(&eve, &instance);
    drop(instance);

    let instance = ours.start(redis);
    assert_page(&ada, &instance, "ada 4");
    assert_nobody(&eve, &instance);
}

fn both_serve_every_session(redis: &Server, built_in: &Build, canary: &Build) {
    let (built_in, canary) = (built_in.start(redis), canary.start(redis));
    let ada = Visitor::logged_in("ada", &built_in.url());
    let eve = Visitor::logged_in("eve", &canary.url());
    for (ada_sees, eve_sees, instance) in [
        ("ada 1", "eve 1", &canary),
        ("ada 2", "eve 2", &built_in),
        ("ada 3", "eve 3", &canary),
    ] {
        assert_page(&ada, instance, ada_sees);
        assert_page(&eve, instance, eve_sees);
    }
    log_out(&ada, &canary);
    log_out(&eve, &built_in);
    for instance in [&built_in, &canary] {
        assert_nobody(&ada, instance);
        assert_nobody(&eve, instance);
    }
}

#[track_caller]
fn log_out(visitor: &Visitor, instance: &Instance) {
    assert_eq!(visitor.at(&instance.url()).log_out(), 204);
}

#[track_caller]
fn assert_page(visitor: &Visitor, instance: &Instance, expected: &str) {
    let page = visitor.at(&instance.url()).refresh();
    // Another count may follow.
    let start = page.strip_prefix(expected);
    assert!(
        start.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
        "{page:?}, not {expected:?}"
    );
}

#[track_caller]
fn assert_nobody(visitor: &Visitor, instance: &Instance) {
    assert_eq!(visitor.at(&instance.url()).refresh(), "nobody");
}
