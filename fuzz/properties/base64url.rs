//! base64url without padding, RFC 4648 §5, a character and a bit at a time.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes that a text stands for; bits left over at its end are dropped, whatever they are.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|&other| other == character)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8);
    Some(bits.chunks_exact(8).map(byte).collect())
}

/// The text that stands for these bytes; bits missing at its end are zero.
pub fn encode(bytes: &[u8]) -> String {
    let bits: Vec<usize> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)))
        .collect();
    let character = |bits: &[usize]| {
        let value = bits.iter().fold(0, |value, bit| value << 1 | bit) << (6 - bits.len());
        char::from(ALPHABET[value])
    };
    bits.chunks(6).map(character).collect()
}

/// Whether an encoder writes this text for some bytes.
pub fn is_canonical(text: &str) -> bool {
    decode(text).is_some_and(|bytes| encode(&bytes) == text)
}
