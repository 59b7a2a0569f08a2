#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// An application with sessions.
mod application;
/// Its visitors, without a server between them.
mod browser;
/// The checks, a file for each group.
mod checks;
/// What the suite needs to be told of a store.
mod harness;
/// What a run has found.
mod report;
/// Which check asks for what, and by which right.
mod rule;
/// Runs the checks.
mod run;
/// What checks have in common.
mod support;

pub use self::{
    application::Application,
    harness::{Garbage, Harness},
    report::{Report, Verdict, markdown},
    rule::{Group, Level, Rule},
    run::run,
};
