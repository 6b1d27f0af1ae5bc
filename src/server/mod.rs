//! (outline)

pub mod endpoint;
#[cfg(test)]
mod pki;
pub mod proxy;
pub mod roots;
pub mod tls;
pub mod wire;
