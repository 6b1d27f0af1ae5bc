//! The engine's tests: one file per subject, all of them through `Sim`.

mod browser;
mod calls;
mod device;
mod renewal;
mod shows;
mod shutdown;
mod sim;
