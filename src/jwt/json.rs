//! How `serde_json`'s tokens become what the rules ask about: no tree, no copy, no allocation for
//! plain values.

use std::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// Reads one JSON text, and nothing after it but white space; `None` if it is not what `seed`
/// reads.
pub(super) fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Option<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// A member's value, as far as any rule cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Claim {
    /// There is no such member.
    Absent,
    /// A finite number. Of integers beyond 2^53 the nearest that an `f64` holds.
    Number(f64),
    /// A string, and whether it is the expected one, byte for byte.
    Text { expected: bool },
    /// An array of nothing but strings, and whether the expected one is among them.
    Texts { expected: bool },
    /// Anything else: null, a boolean, an object, another array.
    Other,
}

/// Reads any value into a [`Claim`], comparing strings with the expected one.
#[derive(Clone, Copy)]
pub(super) struct Expecting<'e>(pub(super) Option<&'e str>);

impl<'de> DeserializeSeed<'de> for Expecting<'_> {
    type Value = Claim;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claim, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Expecting<'_> {
    type Value = Claim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Claim, E> {
        Ok(Claim::Text {
            expected: self.0 == Some(text),
        })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Claim, E> {
        Ok(Claim::Number(number))
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "an integer beyond 2^53 seconds is ages away, in either direction"
    )]
    fn visit_u64<E: Error>(self, number: u64) -> Result<Claim, E> {
        Ok(Claim::Number(number as f64))
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "as above"
    )]
    fn visit_i64<E: Error>(self, number: i64) -> Result<Claim, E> {
        Ok(Claim::Number(number as f64))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Claim, E> {
        Ok(Claim::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Claim, E> {
        Ok(Claim::Other)
    }

    // serde_json stops at a depth of 128, and so does this recursion.
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Claim, A::Error> {
        let mut claim = Claim::Texts { expected: false };
        while let Some(element) = elements.next_element_seed(self)? {
            claim = match (claim, element) {
                (Claim::Texts { expected }, Claim::Text { expected: this }) => Claim::Texts {
                    expected: expected | this,
                },
                _ => Claim::Other,
            };
        }
        Ok(claim)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claim, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Claim::Other)
    }
}

/// Reads a member's name, unescaped, into the one of these that it is, or `None`.
#[derive(Clone, Copy)]
pub(super) struct OneOf<'n, const N: usize>(pub(super) [&'n str; N]);

impl<'de, 'n, const N: usize> DeserializeSeed<'de> for OneOf<'n, N> {
    type Value = Option<&'n str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n, const N: usize> Visitor<'_> for OneOf<'n, N> {
    type Value = Option<&'n str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.into_iter().find(|&known| known == name))
    }
}
