//! Text and bytes that must not be shown: redacted wherever they are formatted.
//!
//! Wiping them is not this type's business: copies of them are in the buffers of libraries too, so the program's
//! allocator wipes all that is freed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A token, code, client secret or anything else that no log, error text or `Debug` output may show.
///
/// `Display` and `Debug` print `***`. Copies are made only where `clone` is written.
#[derive(Clone, Default)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Takes ownership of `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value itself: the one way to it, so that a search for `expose` finds every use.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<[u8]>> Secret<T> {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_empty()
    }

    /// Compares in a time that depends on the lengths alone.
    pub fn eq_constant_time(&self, other: &[u8]) -> bool {
        let own = self.0.as_ref();
        let difference = own.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
        own.len() == other.len() && std::hint::black_box(difference) == 0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T: AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.eq_constant_time(other.0.as_ref())
    }
}

impl<T: AsRef<[u8]>> Eq for Secret<T> {}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_formatted() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    #[test]
    fn comparison_sees_value_and_length() {
        let secret = Secret::from("abc");
        for (other, want) in [("abc", true), ("abd", false), ("ab", false), ("abcd", false), ("", false)] {
            assert_eq!(secret.eq_constant_time(other.as_bytes()), want, "{other}");
        }
    }
}
