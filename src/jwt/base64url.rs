//! base64url without padding, RFC 7515 §2: what is canonical, and the way there and back.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{Simd, general_purpose::NO_PAD};

/// The base64 crate's strict engine: no padding, no white space, unused bits zero. Made once, as it
/// fills tables and asks the processor what it can do.
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Whether `text` is what an encoder writes for some bytes: two texts that decode to the same bytes
/// are the same text, so that a token cannot be changed and stay valid. The empty text is
/// canonical.
///
/// Allocates nothing: it runs before the MAC, on everybody's bytes.
pub(super) fn is_canonical(text: &str) -> bool {
    let last = text.bytes().next_back();
    let unused_bits_are_zero = match text.len() % 4 {
        0 => true,
        2 => matches!(last, Some(b'A' | b'Q' | b'g' | b'w')),
        3 => last.is_some_and(|last| b"AEIMQUYcgkosw048".contains(&last)),
        _ => false,
    };
    unused_bits_are_zero && is_in_alphabet(text.as_bytes())
}

/// Whether each byte is one of the 64 characters. The loops have no early exit, so that the
/// compiler checks 16 bytes at a time; the last 16 overlap those before, which saves a slow
/// remainder.
fn is_in_alphabet(bytes: &[u8]) -> bool {
    const WIDTH: usize = 16;
    fn all(bytes: &[u8]) -> bool {
        bytes.iter().fold(true, |all, byte| {
            all & (byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        })
    }
    match bytes.last_chunk::<WIDTH>() {
        Some(last) => bytes
            .as_chunks::<WIDTH>()
            .0
            .iter()
            .chain([last])
            .fold(true, |so_far, chunk| so_far & all(chunk)),
        None => all(bytes),
    }
}

/// Decodes to the front of `buffer`; `None` if `text` is not canonical or `buffer` is too small.
pub(super) fn decode<'b>(text: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let len = ENGINE.decode_slice(text, buffer).ok()?;
    buffer.get(..len)
}

/// The number of bytes that canonical base64url of `len` characters decodes to.
pub(super) const fn decoded_len(len: usize) -> usize {
    len / 4 * 3 + len % 4 * 3 / 4
}

/// Appends `bytes`, encoded, to `text`.
pub(super) fn encode(bytes: &[u8], text: &mut String) {
    ENGINE.encode_string(bytes, text);
}
