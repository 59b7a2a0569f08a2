//! What the manual's chapter on migration promises, to applications that follow it.

/// Copies of applications, built and run as anybody does.
mod application;
/// The diffs of the chapter.
mod chapter;
/// Three applications move by the diffs, and go back.
mod moves;
/// Processes behind nginx are replaced one after the other while people count, log in and log out.
mod rolling_deploy;
/// Who visits them.
mod visitor;
