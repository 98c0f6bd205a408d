//! The compact serialization of RFC 7515 §7.1: `header.payload.signature`, each part base64url.

use std::fmt;

use super::error::Error;
use super::{base64url, header};

/// The longest token that is parsed, in bytes: half of the 16 KiB that a whole request head may have.
pub const MAX_TOKEN_LEN: usize = 8192;

/// The length of an HMAC-SHA256, in bytes.
pub(super) const MAC_LEN: usize = 32;

/// The length of a signature in base64url, in characters.
const SIGNATURE_LEN: usize = 43;

/// A well-formed token whose content is not authenticated.
///
/// Invariant: three parts, a header and a payload that are not empty, and a signature of 32 bytes. If
/// [`parse`](Self::parse) made it, each part is canonical base64url without padding. There is no way to
/// read claims from it: only [`Verifier::verify`](super::Verifier::verify) does that, after the MAC.
#[derive(Clone, Copy)]
pub struct UnverifiedToken<'a> {
    signing_input: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: [u8; MAC_LEN],
    has_common_header: bool,
}

impl<'a> UnverifiedToken<'a> {
    /// Parses a compact serialization.
    ///
    /// Reads each byte of `token` at most five times and allocates nothing, whatever the input.
    ///
    /// # Errors
    ///
    /// In this order: [`Error::TooLong`] (8,192 bytes pass, 8,193 do not), [`Error::NotAJwt`],
    /// [`Error::NotThreeParts`] or [`Error::Encrypted`], [`Error::EmptyPart`], [`Error::Padding`],
    /// [`Error::NotHs256Signature`], [`Error::NotBase64url`].
    pub fn parse(token: &'a str) -> Result<Self, Error> {
        let parsed = Self::split(token)?;
        for part in [parsed.header, parsed.payload] {
            if base64url::decode(part, &mut [0; MAX_TOKEN_LEN]).is_none() {
                return Err(fault(token));
            }
        }
        Ok(parsed)
    }

    /// Parses a token without decoding header and payload. The verifier decodes both after the MAC, as
    /// strictly as [`Self::parse`] does.
    pub(super) fn split(token: &'a str) -> Result<Self, Error> {
        // Only a token that does not parse is searched for its fault.
        Self::split_well_formed(token).ok_or_else(|| fault(token))
    }

    fn split_well_formed(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN_LEN {
            return None;
        }
        let (signing_input, signature) = split_signature(token)?;
        let common = split_common_header(signing_input);
        let (header, payload) = common.or_else(|| signing_input.split_once('.'))?;
        if header.is_empty() || payload.is_empty() || contains(payload, b'.') {
            return None;
        }
        let mut mac = [0; MAC_LEN];
        base64url::decode(signature, &mut mac)?;
        Some(Self {
            signing_input,
            header,
            payload,
            signature: mac,
            has_common_header: common.is_some(),
        })
    }

    /// The first part, as it stands in the token.
    #[must_use]
    pub fn header(&self) -> &'a str {
        self.header
    }

    /// Returns whether the header is one of [`header::COMMON`].
    pub(super) fn has_common_header(&self) -> bool {
        self.has_common_header
    }

    /// The second part, as it stands in the token.
    #[must_use]
    pub fn payload(&self) -> &'a str {
        self.payload
    }

    /// The third part, decoded.
    #[must_use]
    pub fn signature(&self) -> &[u8; MAC_LEN] {
        &self.signature
    }

    /// The JWS signing input of RFC 7515 §5.1, over which the MAC is computed: header, dot, payload.
    #[must_use]
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }
}

/// Prints no part of the token: any reader of a log could use the token.
impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken(..)")
    }
}

/// Splits at the dot before a 32-byte signature.
fn split_signature(token: &str) -> Option<(&str, &str)> {
    let (signing_input, rest) =
        token.split_at_checked(token.len().checked_sub(1 + SIGNATURE_LEN)?)?;
    Some((signing_input, rest.strip_prefix('.')?))
}

/// Splits after one of the common headers. This takes 1 % fewer instructions per request than a search
/// for the end of the header.
fn split_common_header(signing_input: &str) -> Option<(&str, &str)> {
    header::COMMON.iter().find_map(|common| {
        let (header, rest) = signing_input.split_at_checked(common.len())?;
        let payload = rest.strip_prefix('.')?;
        (header == *common).then_some((header, payload))
    })
}

/// Returns whether a text contains an ASCII character. It has no branch, so that the compiler compares
/// sixteen bytes at a time. The standard library's search would cost 3 % of the instructions of a
/// request with a bad token.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "the lazy operator would be a branch"
)]
pub(super) fn contains(text: &str, character: u8) -> bool {
    text.bytes()
        .fold(false, |is_found, byte| is_found | (byte == character))
}

/// Returns what is wrong with a token that does not parse.
#[cold]
pub(super) fn fault(token: &str) -> Error {
    if token.len() > MAX_TOKEN_LEN {
        return Error::TooLong;
    }
    let mut parts = token.split('.');
    let (header, payload, third) = match (parts.next(), parts.next(), parts.next()) {
        (_, None, _) => return Error::NotAJwt,
        (Some(header), Some(payload), Some(third)) => (header, payload, third),
        _ => return Error::NotThreeParts,
    };
    match parts.count() {
        0 => {}
        2 => return Error::Encrypted,
        _ => return Error::NotThreeParts,
    }
    if header.is_empty() || payload.is_empty() {
        return Error::EmptyPart;
    }
    if contains(token, b'=') {
        return Error::Padding;
    }
    // An SD-JWT has more after its signature, and so has a token that was pasted with its quotation
    // mark. That says nothing about the algorithm.
    if third.len() != SIGNATURE_LEN && third.bytes().all(base64url::is_digit) {
        return Error::NotHs256Signature;
    }
    Error::NotBase64url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_is_found_wherever_it_stands() {
        for len in 0..40 {
            assert!(!contains(&"a".repeat(len), b'.'), "{len}");
            for before in 0..len {
                let text = format!("{}.{}", "a".repeat(before), "a".repeat(len - before - 1));
                assert!(contains(&text, b'.'), "{text}");
            }
        }
    }
}
