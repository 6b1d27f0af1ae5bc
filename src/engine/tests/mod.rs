//! The engine's tests: one file per subject, all of them through `Sim`.

mod browser;
mod device;
mod shows;
mod shutdown;
mod sim;
