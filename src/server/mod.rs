//! (outline)

#[cfg(test)]
mod pki;
pub mod proxy;
pub mod roots;
pub mod wire;
