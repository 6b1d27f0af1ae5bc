//! The engine's tests: one file per subject, all of them through `Sim`.

mod browser;
mod calls;
mod device;
mod hooks;
mod messages;
mod persistence;
mod reloads;
mod renewal;
mod shows;
mod shutdown;
mod sim;
