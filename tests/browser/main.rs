//! What a person sees: the demo behind nginx and the example with devices, in Chromium.
//!
//! What it looks like is in `target/browser/` afterwards. Without Chromium the tests fail, unless
//! `SKIP_BROWSER=yes` says that they may be left out.

/// What the blog post claims of its sessions, and what else people do with a browser.
mod counter;
/// The example in which users see where they are logged in.
mod devices;
/// Light and dark, wide and narrow.
mod looks;

/// What the pages look like, as files.
mod pictures;
