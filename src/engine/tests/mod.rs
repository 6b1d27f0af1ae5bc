//! The engine's tests: one file per subject, all of them through `Sim`.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the one arm that it wants")]

mod browser;
mod calls;
mod device;
mod hooks;
mod invariants;
mod machines;
mod messages;
mod persistence;
mod reloads;
mod renewal;
mod shows;
mod shutdown;
pub mod sim;
mod walk;
