//! Signs every case of cases.json with each Rust library; one JSON line a token on standard output.

use std::error::Error;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use jwt::SignWithKey as _;
use jwt_compact::{AlgorithmExt as _, alg};
use serde_json::{Map, Value, json};

type Claims = Map<String, Value>;
type Sign = fn(&Claims, &[u8]) -> Result<String, Box<dyn Error>>;

const LIBRARIES: [(&str, &str, Sign); 3] = [
    ("jsonwebtoken", "11.1.0", sign_with_jsonwebtoken),
    ("jwt", "0.16.0", sign_with_jwt),
    ("jwt-compact", "0.9.0-beta.1", sign_with_jwt_compact),
];

fn main() -> Result<(), Box<dyn Error>> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../cases.json"))?;
    for (library, version, sign) in LIBRARIES {
        for case in &cases {
            let claims = case["claims"].as_object().ok_or("claims")?;
            let secret = BASE64_URL_SAFE_NO_PAD.decode(case["secret"].as_str().ok_or("secret")?)?;
            match sign(claims, &secret) {
                Ok(token) => println!(
                    "{}",
                    json!({"library": library, "version": version, "language": "Rust", "case": case["case"], "token": token})
                ),
                Err(error) => eprintln!("{library} will not make {}: {error}", case["case"]),
            }
        }
    }
    Ok(())
}

fn sign_with_jsonwebtoken(claims: &Claims, secret: &[u8]) -> Result<String, Box<dyn Error>> {
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    Ok(jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        claims,
        &key,
    )?)
}

fn sign_with_jwt(claims: &Claims, secret: &[u8]) -> Result<String, Box<dyn Error>> {
    let key: Hmac<sha2::Sha256> = Hmac::new_from_slice(secret)?;
    Ok(claims.sign_with_key(&key)?)
}

fn sign_with_jwt_compact(claims: &Claims, secret: &[u8]) -> Result<String, Box<dyn Error>> {
    let claims = jwt_compact::Claims::new(claims.clone());
    let header = jwt_compact::Header::empty().with_token_type("JWT");
    Ok(alg::Hs256.token(&header, &claims, &alg::Hs256Key::new(secret))?)
}
