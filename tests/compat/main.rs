//! What the manual's chapter on migration promises, to applications that follow it.

mod application;
mod chapter;
mod visitor;

use redis_fixtures::Server;

use self::{
    application::{Application, Build, Instance},
    visitor::Visitor,
};

#[test]
fn an_application_on_one_connection_moves_and_goes_back() {
    let redis = Server::start();
    let application = Application::new("one-connection");
    let built_in = application.build("built-in", &redis);
    application.patch("one connection");
    let ours = application.build("ours", &redis);
    everybody_stays_logged_in(&redis, &built_in, &ours);

    application.patch("canary");
    let canary = application.build("canary", &redis);
    both_serve_every_session(&redis, &built_in, &canary);
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
    let ada = Visitor::logged_in("ada", &instance);
    let bob = Visitor::logged_in("bob", &instance);
    assert_page(&ada, &instance, "ada 1");
    assert_page(&bob, &instance, "bob 1");
    drop(instance);

    let instance = ours.start(redis);
    assert_page(&ada, &instance, "ada 2");
    assert_page(&ada, &instance, "ada 3");
    let eve = Visitor::logged_in("eve", &instance);
    assert_page(&eve, &instance, "eve 1");
    bob.log_out(&instance);
    assert_nobody(&bob, &instance);
    drop(instance);

    let instance = built_in.start(redis);
    // What is written on one side is not seen on the other.
    assert_page(&ada, &instance, "ada 2");
    assert_page(&eve, &instance, "eve 1");
    assert_nobody(&bob, &instance);
    eve.log_out(&instance);
    drop(instance);

    let instance = ours.start(redis);
    assert_page(&ada, &instance, "ada 4");
    assert_nobody(&eve, &instance);
}

fn both_serve_every_session(redis: &Server, built_in: &Build, canary: &Build) {
    let (built_in, canary) = (built_in.start(redis), canary.start(redis));
    let ada = Visitor::logged_in("ada", &built_in);
    let eve = Visitor::logged_in("eve", &canary);
    for (ada_sees, eve_sees, instance) in [
        ("ada 1", "eve 1", &canary),
        ("ada 2", "eve 2", &built_in),
        ("ada 3", "eve 3", &canary),
    ] {
        assert_page(&ada, instance, ada_sees);
        assert_page(&eve, instance, eve_sees);
    }
    ada.log_out(&canary);
    eve.log_out(&built_in);
    for instance in [&built_in, &canary] {
        assert_nobody(&ada, instance);
        assert_nobody(&eve, instance);
    }
}

#[track_caller]
fn assert_page(visitor: &Visitor, instance: &Instance, expected: &str) {
    let page = visitor.refresh(instance);
    // Another count may follow.
    let start = page.strip_prefix(expected);
    assert!(
        start.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
        "{page:?}, not {expected:?}"
    );
}

#[track_caller]
fn assert_nobody(visitor: &Visitor, instance: &Instance) {
    assert_eq!(visitor.refresh(instance), "nobody");
}
