//! What the demo and the tests start, on loopback: real Redis topologies (a [`Server`], a [`Cluster`]
//! with replicas, a master watched by [`Sentinels`], and [`Certificates`] for a server on TLS), an
//! [`Nginx`], any other [`Process`]; for the demo and its tests, the whole [`Stack`]; and a visitor's
//! [`Cookies`], with which, if the feature `browser` is on, `Browser` asks for pages. The feature
//! `chromium` brings `Chromium`, and each `Person` in front of it.
//!
//! Everything ends its processes when it is dropped. What is for tests alone blocks until it is done
//! and panics when it cannot be done; if the test has failed, the end of every log is on stderr then.
//!
//! ```
//! use testbed::{Cluster, Server};
//!
//! let redis = Server::start();
//! redis.run::<()>("SET name value");
//! redis.kill();
//! redis.start_again();
//! assert_eq!(redis.run::<String>("GET name"), "value");
//!
//! let cluster = Cluster::start();
//! let master = cluster.node_of_key("name");
//! master.kill();
//! let heir = cluster.wait_for_failover_of(master);
//! assert_eq!(cluster.node_of_key("name"), heir);
//! ```

#[cfg(feature = "browser")]
mod browser;
mod certificates;
#[cfg(feature = "chromium")]
mod chromium;
mod cluster;
mod control;
mod cookies;
#[cfg(feature = "browser")]
mod demo_page;
mod eventually;
mod installed;
mod log;
mod nginx;
mod port;
mod process;
mod sentinel;
mod server;
mod slot_move;
mod stack;
mod tied;
mod topology;

#[cfg(feature = "browser")]
pub use self::browser::{Browser, Page};
#[cfg(feature = "chromium")]
pub use self::chromium::{By, Chromium, Person, WindowHandle};
pub use self::{
    certificates::{Certificates, Identity, PemFile},
    cluster::Cluster,
    cookies::Cookies,
    eventually::{eventually, eventually_holds},
    log::Log,
    nginx::Nginx,
    port::ReservedPort,
    process::{Process, Program},
    sentinel::Sentinels,
    server::Server,
    slot_move::SlotMove,
    stack::{Application, Ended, Event, Interrupter, Stack, StackOptions},
    tied::tied,
};
