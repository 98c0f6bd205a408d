//! New secrets at SIGHUP, without a restart.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::{ConfigError, TokenConfig};
use crate::jwt::Verifier;
use crate::log::Lines;
use crate::shared::Shared;

/// Replaces the verifier at every SIGHUP from now on, if a secret comes from a file; otherwise the
/// signal keeps its default effect, so that a closed terminal ends the program. Call it inside a
/// [`runtime`](crate::server::runtime).
///
/// Each reload adds a line to `errors` that says what happened. If the new secrets are unusable, the old
/// ones stay.
///
/// # Errors
///
/// The OS error if the process cannot listen for the signal.
pub(super) fn reload_at_hangup(
    verifier: Arc<Shared<Verifier>>,
    errors: Arc<Lines>,
) -> io::Result<()> {
    if TokenConfig::has_files() {
        let hangups = signal(SignalKind::hangup())?;
        drop(tokio::task::spawn_local(reload(hangups, verifier, errors)));
    }
    Ok(())
}

/// Reloads once per signal. All signals during a reload cause one more reload.
async fn reload(mut hangups: Signal, verifier: Arc<Shared<Verifier>>, errors: Arc<Lines>) {
    while poll_fn(|cx| hangups.poll_recv(cx)).await.is_some() {
        match read().await {
            Ok(tokens) => {
                verifier.replace(tokens.verifier());
                for warning in &tokens.warnings {
                    errors.push(warning);
                }
                let previous = match tokens.previous {
                    Some(_) => "a previous one is accepted too",
                    None => "there is no previous one",
                };
                errors.push(&format!(
                    "reloaded the secrets from their files: {previous}"
                ));
            }
            Err(error) => errors.push(&format!("kept the old secrets: {error}")),
        }
        // Without a log thread this blocks until the output is written: the operator must learn whether a
        // leaked secret is revoked.
        errors.write_without_thread();
    }
}

/// Reads the files on a thread of its own: they may be on a slow disk, and are read at least twice, with
/// pauses. If the thread cannot be created, reads them on this one.
async fn read() -> Result<TokenConfig, ConfigError> {
    let (reply, tokens) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("reload".into())
        // The receiver is gone only if the program is already exiting.
        .spawn(|| drop(reply.send(TokenConfig::reload())));
    if thread.is_ok()
        && let Ok(tokens) = tokens.await
    {
        return tokens;
    }
    TokenConfig::reload()
}
