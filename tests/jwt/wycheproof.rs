//! Wycheproof's JSON Web Signature vectors, read as `tests/vectors/wycheproof/SOURCE.md` says. The
//! file is not in this repository.

use std::collections::BTreeMap;
use std::{env, fs};

use resource_server::jwt::{Error, Key, Policy, Verifier};
use serde_json::Value;

use crate::support::{NOW, at, from_base64url};

const EXCEPTIONS: &str = include_str!("../vectors/wycheproof/exceptions.json");

/// Groups 0, 12, 16 and 21 of the file.
const HS256_VECTORS: usize = 40;

/// No payload of these vectors is a claims set. A token that passes the first four rules is always
/// rejected by the fifth.
fn passes_signature_and_header(token: &str, key: &Key) -> bool {
    let verifier = Verifier::new(key.clone(), Policy::default());
    let error = verifier
        .verify(token, at(NOW, 0))
        .expect_err("no payload is a claims set");
    error == Error::MalformedClaims
}

/// By `tcId`, whether the vector must pass. This is the opposite of what the file says.
fn exceptions() -> BTreeMap<u64, bool> {
    let rows: Vec<Value> = serde_json::from_str(EXCEPTIONS).unwrap();
    let exceptions: BTreeMap<u64, bool> = rows
        .iter()
        .map(|row| {
            assert!(!row["reason"].as_str().unwrap().is_empty(), "{row}");
            let passes = match row["expected"].as_str() {
                Some("accept") => true,
                Some("refuse") => false,
                _ => panic!("neither accept nor refuse: {row}"),
            };
            (row["tcId"].as_u64().unwrap(), passes)
        })
        .collect();
    assert_eq!(exceptions.len(), rows.len(), "a tcId stands there twice");
    exceptions
}

#[test]
#[ignore = "needs Wycheproof's testvectors_v1/json_web_signature_test.json: \
            WYCHEPROOF_JSON=that-file cargo test --test jwt -- --ignored wycheproof"]
fn wycheproof_hs256_vectors_get_the_files_result_save_listed_exceptions() {
    let path = env::var_os("WYCHEPROOF_JSON").expect("WYCHEPROOF_JSON names the file");
    let file = fs::read_to_string(path).expect("the file can be read");
    let document: Value = serde_json::from_str(&file).unwrap();
    let mut exceptions = exceptions();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for group in document["testGroups"].as_array().unwrap() {
        let jwk = &group["private"];
        if jwk["kty"] != "oct" || jwk["alg"] != "HS256" {
            continue;
        }
        let key = Key::new(&from_base64url(jwk["k"].as_str().unwrap())).unwrap();
        for vector in group["tests"].as_array().unwrap() {
            seen += 1;
            let id = vector["tcId"].as_u64().unwrap();
            let comment = &vector["comment"];
            let file_says = match vector["result"].as_str() {
                Some("valid") => true,
                Some("invalid") => false,
                _ => panic!("neither valid nor invalid: {vector}"),
            };
            let passes = passes_signature_and_header(vector["jws"].as_str().unwrap(), &key);
            match exceptions.remove(&id) {
                None if passes != file_says => {
                    wrong.push(format!("{id} {comment}: {file_says} there, {passes} here"));
                }
                Some(_) if passes == file_says => {
                    wrong.push(format!("{id} {comment}: no exception any more"));
                }
                Some(expected) if expected != passes => {
                    wrong.push(format!("{id} {comment}: not what the exception says"));
                }
                _ => {}
            }
        }
    }
    wrong.extend(exceptions.keys().map(|id| format!("{id}: no such vector")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, HS256_VECTORS);
}
