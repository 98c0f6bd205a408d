//! base64url without padding, RFC 7515 §2: what is canonical, and the way there and back.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{Simd, general_purpose::NO_PAD};

/// The base64 crate's strict engine: no padding, no white space, unused bits zero. Made once, as it
/// fills tables and asks the processor what it can do.
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Decodes to the front of `buffer`; `None` if `text` is not canonical, which is to say not what an
/// encoder writes for some bytes, or if `buffer` is too small. Two texts that decode to the same
/// bytes are the same text, so that a token cannot be changed and stay valid.
pub(super) fn decode<'b>(text: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let len = ENGINE.decode_slice(text, buffer).ok()?;
    buffer.get(..len)
}

/// Decodes to the end of `buffer`; `None` as with [`decode`].
pub(super) fn decode_onto(text: &str, buffer: &mut Vec<u8>) -> Option<()> {
    ENGINE.decode_vec(text, buffer).ok()
}

/// Whether a character is of the alphabet.
pub(super) fn is_digit(character: u8) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, b'-' | b'_')
}

/// Appends `bytes`, encoded, to `text`.
pub(super) fn encode(bytes: &[u8], text: &mut String) {
    ENGINE.encode_string(bytes, text);
}
