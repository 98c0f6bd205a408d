//! The HS256 key, and two of them during a rotation.

use resource_server::jwt::{EmptySecret, Error, Key, Policy, Verifier};

use crate::support::{
    NOW, SECRET, at, base64url, from_base64url, key, signed, step, verdict, with_payload,
};

fn other_key() -> Key {
    Key::new(b"the secret of the time before, 32 bytes too").unwrap()
}

#[test]
fn empty_secret_is_rejected() {
    assert_eq!(Key::new(b"").err(), Some(EmptySecret));
    assert_eq!(EmptySecret.to_string(), "the secret is empty");
}

/// `Key` accepts secrets shorter than RFC 7518 §3.2 requires. The configuration checks the length.
#[test]
fn secret_of_any_bytes_and_length_signs_and_verifies() {
    assert_eq!(Key::RECOMMENDED_LEN, 32);
    for len in [1, 31, 32, 63, 64, 65, 1000] {
        let secret: Vec<u8> = (0..len).map(|byte| (byte % 251) as u8 ^ 0xA5).collect();
        let key = Key::new(&secret).unwrap();
        let token = key.sign("{}");
        let verifier = Verifier::new(key, Policy::default());
        assert!(verifier.verify(&token, at(NOW, 0)).is_ok(), "{len}");
        assert_eq!(verdict(&token), Err(Error::WrongSignature), "{len}");
    }
}

#[test]
fn secret_that_differs_in_one_bit_is_another() {
    let token = with_payload("{}");
    for bit in (0..SECRET.len() * 8).step_by(step(41)) {
        let mut secret = SECRET.to_vec();
        secret[bit / 8] ^= 1 << (bit % 8);
        let verifier = Verifier::new(Key::new(&secret).unwrap(), Policy::default());
        assert_eq!(
            verifier.verify(&token, at(NOW, 0)).map(drop),
            Err(Error::WrongSignature),
            "{bit}"
        );
    }
}

/// RFC 2104 pads a secret with zeros to 64 bytes, and hashes a longer one, so each of these pairs
/// is one key.
#[test]
fn secret_padded_with_zeros_is_the_same_key_as_in_hmac() {
    let with_zero = Key::new(&[SECRET, &[0]].concat()).unwrap();
    let verifier = Verifier::new(with_zero, Policy::default());
    assert!(verifier.verify(&with_payload("{}"), at(NOW, 0)).is_ok());
}

#[test]
fn key_signs_as_an_independent_hmac_does() {
    for payload in ["{}", r#"{"sub":"alice"}"#, "no JSON", ""] {
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        let input = format!("{}.{}", base64url(header), base64url(payload));
        assert_eq!(key().sign(payload), signed(&input));
        assert_eq!(key().sign_parts(header, payload), signed(&input));
    }
}

#[test]
fn mac_with_any_one_bit_flipped_is_rejected() {
    let token = with_payload(r#"{"sub":"alice"}"#);
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let mac = from_base64url(signature);
    for bit in (0..256).step_by(step(31)) {
        let mut flipped = mac.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let forged = format!("{signing_input}.{}", base64url(flipped));
        assert_eq!(verdict(&forged), Err(Error::WrongSignature), "{bit}");
    }
}

/// A comparison by words must not let two differences cancel out.
#[test]
fn mac_with_its_words_exchanged_is_rejected() {
    let token = with_payload(r#"{"sub":"alice"}"#);
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let mac = from_base64url(signature);
    for rotation in 1..32 {
        let mut rotated = mac.clone();
        rotated.rotate_left(rotation);
        let forged = format!("{signing_input}.{}", base64url(rotated));
        assert_eq!(verdict(&forged), Err(Error::WrongSignature), "{rotation}");
    }
}

#[test]
fn rotation_accepts_tokens_of_both_keys_and_of_no_third() {
    let rotating = Verifier::new(key(), Policy::default()).with_previous(other_key());
    let third = Key::new(b"a third secret, which is not configured").unwrap();
    for (key, expected) in [
        (key(), Ok(())),
        (other_key(), Ok(())),
        (third, Err(Error::WrongSignature)),
    ] {
        let token = key.sign(r#"{"sub":"alice"}"#);
        assert_eq!(rotating.verify(&token, at(NOW, 0)).map(drop), expected);
    }
}

#[test]
fn rotation_that_is_over_rejects_tokens_of_the_previous_key() {
    let token = other_key().sign(r#"{"sub":"alice"}"#);
    assert_eq!(verdict(&token), Err(Error::WrongSignature));
}

#[test]
fn rotation_validates_tokens_of_the_previous_key_by_the_same_rules() {
    let policy = Policy {
        issuer: Some("us".into()),
        require_exp: true,
        ..Policy::default()
    };
    let rotating = Verifier::new(key(), policy).with_previous(other_key());
    for (claims, expected) in [
        (r#"{"exp":1700000001,"iss":"us"}"#, Ok(())),
        (r#"{"exp":1700000000,"iss":"us"}"#, Err(Error::Expired)),
        (r#"{"iss":"us"}"#, Err(Error::MissingExpiration)),
        (
            r#"{"exp":1700000001,"iss":"them"}"#,
            Err(Error::WrongIssuer),
        ),
        (r#"{"exp":1700000001}"#, Err(Error::MissingIssuer)),
    ] {
        for key in [key(), other_key()] {
            let token = key.sign(claims);
            assert_eq!(
                rotating.verify(&token, at(NOW, 0)).map(drop),
                expected,
                "{claims}"
            );
        }
    }
    let token = other_key().sign_parts(r#"{"alg":"none"}"#, r#"{"exp":1700000001,"iss":"us"}"#);
    assert_eq!(
        rotating.verify(&token, at(NOW, 0)).map(drop),
        Err(Error::WrongAlgorithm)
    );
}

#[test]
fn rotation_a_second_time_replaces_the_previous_key() {
    let oldest = Key::new(b"the secret of two rotations ago, long gone").unwrap();
    let verifier = Verifier::new(key(), Policy::default())
        .with_previous(oldest.clone())
        .with_previous(other_key());
    let verdict = |key: Key| verifier.verify(&key.sign("{}"), at(NOW, 0)).map(drop);
    assert_eq!(verdict(oldest), Err(Error::WrongSignature));
    assert_eq!(verdict(other_key()), Ok(()));
}
