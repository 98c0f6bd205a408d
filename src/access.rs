//! One line of JSON per request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::request::Parts;

use crate::response::Answer;

/// The most characters of a path and of a method that are logged: the site's own are shorter, and
/// tokens end up in others.
const MAX_LOGGED: usize = 64;

/// One request as a line of JSON: who asked what, what was answered, how long that took, and for a
/// refusal the rule. No query and no field of the request is in it, so no token; whatever the
/// client chose is short and escaped.
pub(crate) fn access_line(
    head: &Parts,
    peer: SocketAddr,
    answer: &Answer,
    took: Duration,
) -> String {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut line = format!(
        r#"{{"time":{}.{:03},"peer":"{peer}","method":{},"path":{},"status":{},"duration_us":{}"#,
        time.as_secs(),
        time.subsec_millis(),
        quoted(head.method.as_str()),
        quoted(head.uri.path()),
        answer.status.as_u16(),
        took.as_micros(),
    );
    if let Some(rule) = answer.rule {
        let _ = write!(line, r#","rule":{}"#, quoted(rule));
    }
    line.push('}');
    line
}

/// The beginning of a text as a JSON string in ASCII, so that nothing in it is a line break to
/// anybody.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars().take(MAX_LOGGED) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}
