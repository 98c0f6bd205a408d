//! How `serde_json`'s tokens become what the rules ask about: no tree, no copy, no allocation for
//! plain values.

use std::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

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

/// Reads members of an object by their names, each with the text that it is expected to be or to
/// contain, if any. Names are compared after unescaping; of a name given twice the last counts
/// (RFC 7519 §4). Other members are skipped, whatever they are.
///
/// `None` if `text` is not one JSON object with nothing after it but white space.
pub(super) fn members<const N: usize>(
    text: &str,
    wanted: [(&str, Option<&str>); N],
) -> Option<[Claim; N]> {
    read(text, Members(wanted))
}

/// Reads one member of an object, as [`members`] does, into what `seed` makes of its value. `None` if
/// there is none, or no object.
pub(super) fn member<'de, S>(text: &'de str, name: &str, seed: S) -> Option<S::Value>
where
    S: DeserializeSeed<'de> + Copy,
{
    read(text, Member(name, seed))?
}

fn read<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> Option<V::Value> {
    // Of anything else serde_json would compose an error, with a whole string escaped in it.
    text.trim_start_matches([' ', '\t', '\n', '\r'])
        .strip_prefix('{')?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserializer.deserialize_map(visitor).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

struct Members<'w, const N: usize>([(&'w str, Option<&'w str>); N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Claim; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<[Claim; N], A::Error> {
        let mut claims = [Claim::Absent; N];
        let position = |name: &str| self.0.iter().position(|(wanted, _)| *wanted == name);
        while let Some(at) = map.next_key_seed(Name(position))? {
            match at.and_then(|at| claims.get_mut(at).zip(self.0.get(at))) {
                Some((claim, (_, expected))) => {
                    *claim = map.next_value_seed(Expecting(*expected))?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(claims)
    }
}

struct Member<'n, S>(&'n str, S);

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for Member<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(is_wanted) = map.next_key_seed(Name(|name: &str| name == self.0))? {
            if is_wanted {
                value = Some(map.next_value_seed(self.1)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}

/// Reads a member's name, unescaped, into what this function makes of it.
struct Name<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Name<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Name<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Reads any value into a [`Claim`], comparing strings with the expected one.
#[derive(Clone, Copy)]
struct Expecting<'e>(Option<&'e str>);

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

/// Reads a string as it is and an integer of 64 bits in decimal; `None` is any other value.
#[derive(Clone, Copy)]
pub(super) struct StringOrInteger;

impl<'de> DeserializeSeed<'de> for StringOrInteger {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StringOrInteger {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
