//! The files in `demo/deploy`, which people copy: each is read by the program that it is for, and the
//! proxies stand in front of real instances.

/// What the manual's chapter quotes stands in the files.
mod chapter;
/// `compose.yaml` and the `Dockerfile`.
mod containers;
/// The manifests for Kubernetes.
mod kubernetes;
/// Alert rules, and the dashboard: whether they ask for what an instance serves.
mod prometheus;
/// nginx, HAProxy and Caddy in front of instances that die, and of servers that do not answer.
mod proxies;
/// Redis with `redis.conf` and `users.acl`.
mod redis;
/// The units for systemd.
mod systemd;

/// The files.
mod files;
/// `demo serve`, some times, on one Redis.
mod instances;
/// A proxy that runs with one of the files.
mod proxy;
/// A Prometheus that runs.
mod scraper;
/// Programs that are installed, or that somebody chose to go without.
mod tools;
/// A server that records what it is sent.
mod witness;
