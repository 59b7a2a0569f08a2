use std::process::Command;

use testbed::{By, Chromium, Person, Process, Program, ReservedPort, Server};

use crate::pictures::picture;

/// The example, running.
pub(crate) struct Devices {
    _process: Process,
    port: ReservedPort,
}

impl Devices {
    pub(crate) fn start(redis: &Server) -> Self {
        let port = ReservedPort::any().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_devices-under-test"));
        command
            .env("PORT", port.address().port().to_string())
            .env("REDIS_URL", redis.url());
        let program = Program::new("devices", command).ready_when_it_says("http://");
        let mut process = Process::spawn(program).unwrap();
        process.wait_ready().unwrap();
        Self {
            _process: process,
            port,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

pub(crate) fn log_in(person: &Person, url: &str, name: &str, device: &str) {
    person.opens(url);
    person.types(name, By::Name("name"));
    person.types(device, By::Name("device"));
    person.clicks(By::Css("form[action='/login'] button"));
}

/// What stands on the page for each.
fn devices_seen_by(person: &Person) -> Vec<String> {
    person.reads_all(By::Css("[data-handle]"))
}

fn is_logged_in(person: &Person) -> bool {
    person.refreshes();
    person.reads(By::Tag("h1")) == "Your devices"
}

#[test]
fn a_user_sees_where_they_are_logged_in_and_ends_that_there() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let redis = Server::start();
    let site = Devices::start(&redis);
    let (laptop, phone, other) = (chromium.person(), chromium.person(), chromium.person());
    log_in(&laptop, &site.url(), "Ada", "Laptop at home");
    log_in(&phone, &site.url(), "Ada", "Phone");
    log_in(&other, &site.url(), "Bob", "Computer of Bob");

    assert!(is_logged_in(&laptop));
    laptop.takes_a_picture(&picture("devices"));
    let devices = devices_seen_by(&laptop);
    assert_eq!(devices.len(), 2, "{devices:?}");
    let is_this = |it: &&String| it.contains("this one");
    let this: Vec<_> = devices.iter().filter(is_this).collect();
    assert!(
        matches!(this[..], [it] if it.contains("Laptop at home")),
        "{devices:?}"
    );

    let end = "//*[@data-handle][contains(., 'Phone')]//button";
    laptop.clicks(By::XPath(end));
    assert_eq!(devices_seen_by(&laptop).len(), 1);
    assert!(!is_logged_in(&phone));
    assert!(is_logged_in(&other));

    log_in(&phone, &site.url(), "Ada", "Phone");
    phone.clicks(By::Css("form[action='/end-others'] button"));
    assert!(!is_logged_in(&laptop));
    assert!(is_logged_in(&phone));
    phone.clicks(By::Css("form[action='/logout'] button"));
    assert!(!is_logged_in(&phone));
    phone.goes_back();
    assert!(!is_logged_in(&phone));
    assert!(is_logged_in(&other));
}
