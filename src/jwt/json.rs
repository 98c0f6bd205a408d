//! Reads the few JSON members that the rules need: no tree, no copy, and no allocation for plain
//! values.
//!
//! A member is returned as the text of its value, and each rule parses that text itself. So no error
//! can come from a value that no rule needs, as long as it is JSON. Numbers are parsed here and not by
//! `serde_json`: any crate in the build may turn on its features `arbitrary_precision` and
//! `float_roundtrip`, which change how it reads them.

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// Reads the members of an object. `wanted` maps a name to a bit mask. For each set bit `i`, the text
/// of the member's value is stored at index `i` of the result. Names are compared after unescaping; if
/// a name occurs twice, the last one counts (RFC 7519 §4). Other members are skipped, whatever their
/// values.
///
/// `None` if `text` is not one JSON object with nothing after it but white space.
pub(super) fn members<const N: usize>(
    text: &str,
    wanted: impl Fn(&str) -> u8,
) -> Option<[Option<&str>; N]> {
    // For any other type, `serde_json` would format an error, which may quote a whole string.
    text.trim_start_matches([' ', '\t', '\n', '\r'])
        .strip_prefix('{')?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members(wanted)).ok()?;
    deserializer.end().ok()?;
    Some(members)
}

/// Returns a number as the nearest `f64`, which is infinite if the number is out of range. `None` if
/// the value is not a number.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "rounds to the nearest `f64`, as parsing one does"
)]
pub(super) fn number(value: &str) -> Option<f64> {
    // Most numbers are integers, which parse faster.
    if let Ok(integer) = value.parse::<u64>() {
        return Some(integer as f64);
    }
    // In JSON only a number begins like this, and Rust parses every JSON number.
    value
        .starts_with(|first: char| first == '-' || first.is_ascii_digit())
        .then(|| value.parse().ok())?
}

/// Returns a string, unescaped. Allocates only if there is an escape. `None` if the value is not a
/// string, or has half a surrogate pair, which is not Unicode.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    if text.contains('\\') {
        let mut deserializer = serde_json::Deserializer::from_str(value);
        let text = deserializer.deserialize_str(Text(str::to_owned)).ok()?;
        return Some(Cow::Owned(text));
    }
    Some(Cow::Borrowed(text))
}

/// Returns whether the value is a string and equal to `expected` after unescaping, byte for byte.
pub(super) fn is_string(value: &str, expected: &str) -> bool {
    string(value).is_some_and(|text| text == expected)
}

/// What an array holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strings {
    /// Nothing.
    Empty,
    /// Only strings, and whether the expected one is among them.
    Found(bool),
    /// At least one element that is not a string.
    Mixed,
}

/// Looks for a string in an array. `None` if the value is not an array.
pub(super) fn find_string(value: &str, expected: &str) -> Option<Strings> {
    value.strip_prefix('[')?;
    let mut deserializer = serde_json::Deserializer::from_str(value);
    deserializer.deserialize_seq(Elements(expected)).ok()
}

struct Members<const N: usize, F>(F);

impl<'de, const N: usize, F: Fn(&str) -> u8> Visitor<'de> for Members<N, F> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [None; N];
        while let Some(places) = map.next_key_seed(Text(&self.0))? {
            if places == 0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&RawValue>()?.get();
            for (place, member) in members.iter_mut().enumerate() {
                if places & 1 << place != 0 {
                    *member = Some(value);
                }
            }
        }
        Ok(members)
    }
}

struct Elements<'e>(&'e str);

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Strings, A::Error> {
        let mut strings = Strings::Empty;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            let is_this = is_string(element.get(), self.0);
            strings = match strings {
                _ if !element.get().starts_with('"') => Strings::Mixed,
                Strings::Empty => Strings::Found(is_this),
                Strings::Found(is_found) => Strings::Found(is_found || is_this),
                Strings::Mixed => Strings::Mixed,
            };
        }
        Ok(strings)
    }
}

/// Reads a string, unescapes it and passes it to this function.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Text<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}
