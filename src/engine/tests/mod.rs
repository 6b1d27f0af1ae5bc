//! The engine's tests: one file per subject, all of them through `Sim`.

mod shutdown;
mod sim;
