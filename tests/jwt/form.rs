//! The compact serialization: three parts of canonical base64url, and no second way to write one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resource_server::jwt::{Error, UnverifiedToken};

use crate::support::{base64url, from_base64url, rank, signed, step, verdict, with_payload};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn good() -> String {
    with_payload(r#"{"sub":"alice"}"#)
}

#[test]
fn token_that_parses_gives_back_its_parts() {
    let good = good();
    let token = UnverifiedToken::parse(&good).unwrap();
    assert_eq!(token.header(), "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
    assert_eq!(token.payload(), "eyJzdWIiOiJhbGljZSJ9");
    assert_eq!(
        token.signing_input(),
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSJ9"
    );
    let (_, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(token.signature()[..], from_base64url(signature));
}

/// Attack: malleable base64. A token that was logged, cached or revoked by its text must have no
/// other spelling.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn token_with_any_one_character_changed_is_rejected() {
    let good = good();
    for place in 0..good.len() {
        for letter in ALPHABET.chars().chain(".=+/ \n\0~".chars()) {
            if good[place..].starts_with(letter) {
                continue;
            }
            let changed = format!("{}{letter}{}", &good[..place], &good[place + 1..]);
            let error = verdict(&changed).expect_err(&changed);
            assert!(
                rank(error) <= rank(Error::WrongSignature),
                "{changed}: {error:?}"
            );
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn token_with_any_one_character_more_or_less_is_rejected() {
    let good = good();
    for place in 0..=good.len() {
        for letter in ALPHABET.chars().chain(".=+/ \n\0~é".chars()) {
            let longer = format!("{}{letter}{}", &good[..place], &good[place..]);
            assert!(verdict(&longer).is_err(), "{longer}");
        }
    }
    for place in 0..good.len() {
        let shorter = format!("{}{}", &good[..place], &good[place + 1..]);
        assert!(verdict(&shorter).is_err(), "{shorter}");
        assert!(verdict(&good[..place]).is_err(), "{}", &good[..place]);
        assert!(
            verdict(&good[place + 1..]).is_err(),
            "{}",
            &good[place + 1..]
        );
    }
}

#[test]
fn token_with_white_space_or_a_scheme_around_it_is_rejected() {
    let good = good();
    for token in [
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("\u{feff}{good}"),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        format!("{good},"),
        format!("{good}\0"),
    ] {
        let error = verdict(&token).expect_err(&token);
        assert!(
            rank(error) <= rank(Error::WrongSignature),
            "{token}: {error:?}"
        );
    }
}

/// Each ASCII character and some others, at each place, in the header and in the payload. The parts
/// are short, or have 64 or more characters, which are decoded with vector instructions. Only that
/// character decides the result.
#[test]
fn part_with_one_foreign_character_is_rejected_wherever_it_stands() {
    let signature = base64url([0; 32]);
    let lens = (2..=40).filter(|len| len % 4 != 1).chain([64, 95, 98, 132]);
    for len in lens.step_by(step(11)) {
        for place in (0..len).step_by(step(13)) {
            let letters = ('\0'..='\u{7f}').chain(['é', '\u{ff21}', '\u{1f600}']);
            for letter in letters.step_by(step(32)) {
                let mut part: String = "A".repeat(len);
                part.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
                let is_base64url = URL_SAFE_NO_PAD.decode(&part).is_ok();
                // A dot changes the number of parts.
                let expected = match letter {
                    '.' => continue,
                    '=' => Some(Error::Padding),
                    _ if is_base64url => None,
                    _ => Some(Error::NotBase64url),
                };
                for token in [
                    format!("{part}.AA.{signature}"),
                    format!("AA.{part}.{signature}"),
                ] {
                    assert_eq!(UnverifiedToken::parse(&token).err(), expected, "{token}");
                }
            }
        }
    }
}

/// Every text of two and of three characters, compared with another engine: the last character may
/// leave unused bits set.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn part_with_unused_bits_set_is_rejected() {
    let signature = base64url([0; 32]);
    let mut accepted = 0;
    for first in ALPHABET.chars() {
        for second in ALPHABET.chars() {
            for part in [
                format!("{first}{second}"),
                format!("{first}A{second}"),
                format!("AAAA{first}{second}"),
                format!("AAAAA{first}{second}"),
            ] {
                let is_canonical = URL_SAFE_NO_PAD.decode(&part).is_ok();
                accepted += u32::from(is_canonical);
                for token in [
                    format!("{part}.AA.{signature}"),
                    format!("AA.{part}.{signature}"),
                ] {
                    let expected = (!is_canonical).then_some(Error::NotBase64url);
                    assert_eq!(UnverifiedToken::parse(&token).err(), expected, "{token}");
                }
            }
        }
    }
    // The last of two characters has 4 valid values, the last of three has 16.
    assert_eq!(accepted, 64 * 2 * (4 + 16));
}

#[test]
fn part_of_a_length_that_no_bytes_have_is_rejected() {
    let signature = base64url([0; 32]);
    for len in 1..100 {
        let part = "A".repeat(len);
        let expected = (len % 4 == 1).then_some(Error::NotBase64url);
        for token in [
            format!("{part}.AA.{signature}"),
            format!("AA.{part}.{signature}"),
        ] {
            assert_eq!(UnverifiedToken::parse(&token).err(), expected, "{len}");
        }
    }
}

#[test]
fn part_in_standard_base64_or_with_padding_is_rejected() {
    let header = base64url(r#"{"alg":"HS256"}"#);
    for payload in [
        "e30=",
        "e30==",
        "e30%3D",
        "eyI_Ijp-fQ",
        "eyI/Ijp+fQ",
        "e 30",
        "e30\n",
        "e30\r\n",
    ] {
        let token = signed(&format!("{header}.{payload}"));
        let expected = match payload {
            // "{\"?\":~}", the same bytes as its neighbour in the other alphabet.
            "eyI_Ijp-fQ" => Error::MalformedClaims,
            "e30=" | "e30==" => Error::Padding,
            _ => Error::NotBase64url,
        };
        assert_eq!(verdict(&token), Err(expected), "{payload:?}");
    }
}

#[test]
fn signature_of_any_other_length_is_rejected() {
    let good = good();
    let (signing_input, signature) = good.rsplit_once('.').unwrap();
    for len in (0..43).chain(44..100).step_by(step(9)) {
        let signature = signature.repeat(3);
        let token = format!("{signing_input}.{}", &signature[..len]);
        assert_eq!(verdict(&token), Err(Error::NotHs256Signature), "{token}");
    }
}

/// The four texts that a lenient decoder accepts for one signature.
#[test]
fn signature_with_unused_bits_set_is_rejected() {
    let good = good();
    let (rest, last) = good.split_at(good.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    assert_eq!(value % 4, 0);
    for bits in 1..4 {
        let twin = format!("{rest}{}", &ALPHABET[value + bits..=value + bits]);
        assert_eq!(verdict(&twin), Err(Error::NotBase64url), "{twin}");
    }
}

/// The dot between header and payload is signed too.
#[test]
fn token_with_a_character_moved_across_a_dot_is_rejected() {
    let good = good();
    let first_dot = good.find('.').unwrap();
    let places = (1..first_dot).chain(first_dot + 2..good.rfind('.').unwrap());
    for place in places.step_by(step(9)) {
        let mut moved: String = good.clone();
        moved.remove(first_dot);
        moved.insert(place, '.');
        if moved != good {
            let error = verdict(&moved).expect_err(&moved);
            assert!(
                rank(error) <= rank(Error::WrongSignature),
                "{moved}: {error:?}"
            );
        }
    }
}
