//! The access log: one line of JSON per request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;

use crate::server::{Code, Observed};

/// How many characters of a path or method are logged. Those of an API are shorter, and longer ones may
/// contain tokens.
const MAX_LOGGED: usize = 64;

/// The characters of a user that are logged. A gate never names a longer user to a proxy.
const MAX_USER_LOGGED: usize = 255;

/// A response extension: what the access log says about a response besides its status.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// The stable `code` of an error.
    pub(crate) code: Option<&'static str>,
    /// The stable id of the rule that the request broke.
    pub(crate) rule: Option<&'static str>,
    /// The user of an authenticated request.
    pub(crate) user: Option<String>,
}

/// Returns the log line of one response: time, peer, method, path, status and duration; for an error its
/// code and the rule that the request broke; for an authenticated request the user. It contains no query
/// and no field of the request, so no token. Text that the client chose is cut short and escaped.
///
/// If hyper rejected the head, there is no request: method, path and duration are null.
#[must_use]
pub fn access_line(observed: &Observed<'_>) -> String {
    let mut line = beginning(observed.peer);
    let status = observed.status.as_u16();
    let Some((method, target)) = observed.request else {
        let rule = match observed.status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "head_too_large",
            _ => "invalid_head",
        };
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            r#","method":null,"path":null,"status":{status},"duration_us":null"#,
        );
        member("code", "bad_request", usize::MAX, &mut line);
        member("rule", rule, usize::MAX, &mut line);
        line.push('}');
        return line;
    };
    member("method", method.as_str(), MAX_LOGGED, &mut line);
    member("path", target.path(), MAX_LOGGED, &mut line);
    let took = observed.took.as_micros();
    let _ = write!(line, r#","status":{status},"duration_us":{took}"#);
    let note = observed.extensions.get::<Note>();
    let code = observed.extensions.get::<Code>().map(|Code(code)| *code);
    if let Some(code) = code.or(note.and_then(|note| note.code)) {
        member("code", code, usize::MAX, &mut line);
    }
    if let Some(rule) = note.and_then(|note| note.rule) {
        member("rule", rule, usize::MAX, &mut line);
    }
    if let Some(user) = note.and_then(|note| note.user.as_deref()) {
        member("user", user, MAX_USER_LOGGED, &mut line);
    }
    line.push('}');
    line
}

/// Returns the beginning of a line: time and peer.
fn beginning(peer: SocketAddr) -> String {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        r#"{{"time":{}.{:03},"peer":"{peer}""#,
        time.as_secs(),
        time.subsec_millis(),
    )
}

/// Appends a member: the first `most` characters of a text, as a JSON string in ASCII, so that no log
/// reader sees a line break in it.
fn member(name: &str, text: &str, most: usize, line: &mut String) {
    let _ = write!(line, r#","{name}":""#);
    for character in text.chars().take(most) {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_rejected_head_says_which_limit_or_grammar_it_broke() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        for (status, rule) in [
            (StatusCode::BAD_REQUEST, "invalid_head"),
            (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
            ),
        ] {
            let line = access_line(&Observed {
                peer,
                request: None,
                status,
                took: std::time::Duration::ZERO,
                extensions: &hyper::http::Extensions::new(),
            });
            let (time, rest) = line.split_once(',').unwrap_or_default();
            assert!(time.starts_with(r#"{"time":1"#), "{line}");
            assert_eq!(
                rest,
                format!(
                    r#""peer":"192.0.2.1:4711","method":null,"path":null,"status":{},"duration_us":null,"code":"bad_request","rule":"{rule}"}}"#,
                    status.as_u16(),
                )
            );
        }
    }
}
