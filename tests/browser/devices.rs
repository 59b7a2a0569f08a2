use std::process::Command;

use testbed::{Process, Program, ReservedPort, Server};
use thirtyfour::By;

use crate::chromium::{Chromium, Person};

/// The example, running.
struct Devices {
    _process: Process,
    port: ReservedPort,
}

impl Devices {
    fn start(redis: &Server) -> Self {
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

    fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

impl Person {
    fn logs_in(&self, url: &str, name: &str, device: &str) {
        self.opens(url);
        self.types(name, By::Name("name"));
        self.types(device, By::Name("device"));
        self.clicks(By::Css("form[action='/login'] button"));
    }

    fn sees_devices(&self) -> Vec<String> {
        self.reads_all(By::Css("[data-handle]"))
    }

    fn is_logged_in(&self) -> bool {
        self.refreshes();
        self.reads(By::Tag("h1")) == "Your devices"
    }
}

#[test]
fn a_user_sees_where_they_are_logged_in_and_ends_that_there() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let redis = Server::start();
    let site = Devices::start(&redis);
    let (laptop, phone, other) = (chromium.person(), chromium.person(), chromium.person());
    laptop.logs_in(&site.url(), "Ada", "Laptop at home");
    phone.logs_in(&site.url(), "Ada", "Phone");
    other.logs_in(&site.url(), "Bob", "Computer of Bob");

    assert!(laptop.is_logged_in());
    laptop.takes_a_picture("devices");
    let devices = laptop.sees_devices();
    assert_eq!(devices.len(), 2, "{devices:?}");
    let is_this = |it: &&String| it.contains("this one");
    let this: Vec<_> = devices.iter().filter(is_this).collect();
    assert!(
        matches!(this[..], [it] if it.contains("Laptop at home")),
        "{devices:?}"
    );

    let end = "//*[@data-handle][contains(., 'Phone')]//button";
    laptop.clicks(By::XPath(end));
    assert_eq!(laptop.sees_devices().len(), 1);
    assert!(!phone.is_logged_in());
    assert!(other.is_logged_in());

    phone.logs_in(&site.url(), "Ada", "Phone");
    phone.clicks(By::Css("form[action='/end-others'] button"));
    assert!(!laptop.is_logged_in());
    assert!(phone.is_logged_in());
    phone.clicks(By::Css("form[action='/logout'] button"));
    assert!(!phone.is_logged_in());
    phone.goes_back();
    assert!(!phone.is_logged_in());
    assert!(other.is_logged_in());
}
