//! HS256 for `jsonwebtoken` from the crates that are here anyway: its own choice would bring fifty
//! more, for RSA and elliptic curves. The fuzzer runs it with that choice.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{Error, Verifier};
use sha2::Sha256;

struct Hs256(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// For the whole process.
pub fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        verifier_factory: |_, key| {
            let state = Hmac::new_from_slice(key.try_get_as_bytes()?);
            Ok(Box::new(Hs256(
                state.map_err(|_| ErrorKind::InvalidKeyFormat)?,
            )))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    PROVIDER.install_default().expect("it is installed once");
}
