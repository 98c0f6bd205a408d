//! What a strict client makes of the server's bytes: RFC 9112 for the responses, RFC 9110 for a
//! challenge. It panics at the first byte that the grammar does not allow.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http10,
    Http11,
}

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub version: Version,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: String,
}

impl Response {
    /// The value of the only field of this name, in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(other, _)| other == name);
        let value = named.next().map(|(_, value)| &**value);
        assert!(named.next().is_none(), "{name} is there twice");
        value
    }

    /// Whether the connection ends after it (RFC 9112 §9.3: `close` wins over `keep-alive`, and
    /// hyper writes both to a client of HTTP/1.0 that asks for the second).
    pub fn closes(&self) -> bool {
        match self.field("connection") {
            Some(options) => options.split(", ").any(|option| option == "close"),
            None => self.version == Version::Http10,
        }
    }

    /// A string member of the JSON content.
    pub fn member(&self, name: &str) -> Option<String> {
        let content: serde_json::Value = serde_json::from_str(&self.content).ok()?;
        Some(content.get(name)?.as_str()?.into())
    }
}

/// All responses in these bytes, with nothing between, before or after them.
pub fn parse(mut bytes: &str) -> Vec<Response> {
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.split("\r\n");
        let (version, status) = status_line(lines.next().unwrap_or_default());
        let mut response = Response {
            version,
            status,
            fields: lines.map(field).collect(),
            content: String::new(),
        };
        assert_eq!(response.field("transfer-encoding"), None);
        let len = response
            .field("content-length")
            .map(|len| len.parse().expect("a length"));
        // A response to HEAD has a length and no content: the next response follows, or nothing. No
        // content looks like a response.
        let has_content = !rest.is_empty() && !rest.starts_with("HTTP/1.");
        let len = len.filter(|_| has_content).unwrap_or(0);
        let (content, rest) = rest.split_at(len);
        response.content = content.into();
        responses.push(response);
        bytes = rest;
    }
    responses
}

/// RFC 9112 §4
fn status_line(line: &str) -> (Version, u16) {
    let (version, line) = match line.split_at_checked(9) {
        Some(("HTTP/1.0 ", line)) => (Version::Http10, line),
        Some(("HTTP/1.1 ", line)) => (Version::Http11, line),
        _ => panic!("no version: {line:?}"),
    };
    let (code, reason) = line.split_once(' ').expect("a space after the status code");
    assert!(code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(reason.bytes().all(is_field_char));
    (version, code.parse().expect("three digits"))
}

/// RFC 9112 §5
fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .expect("a colon after the field's name");
    assert!(is_token(name), "{name:?}");
    let value = value.trim_matches([' ', '\t']);
    assert!(value.bytes().all(is_field_char), "{value:?}");
    (name.to_ascii_lowercase(), value.into())
}

fn is_field_char(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// RFC 9110 §5.6.2
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// A `WWW-Authenticate` of one challenge (RFC 9110 §11.6.1): the scheme, and the parameters, of
/// which none may come twice.
pub fn challenge(value: &str) -> (&str, Vec<(&str, String)>) {
    let (scheme, mut rest) = value.split_once(' ').expect("a space after the scheme");
    assert!(is_token(scheme));
    let mut parameters: Vec<(&str, String)> = Vec::new();
    loop {
        let (name, quoted) = rest.split_once('=').expect("an equals sign after the name");
        assert!(is_token(name) && parameters.iter().all(|(other, _)| *other != name));
        let (text, after) = quoted_string(quoted);
        parameters.push((name, text));
        if after.is_empty() {
            return (scheme, parameters);
        }
        rest = after
            .strip_prefix(',')
            .expect("a comma between parameters")
            .trim_start_matches(' ');
    }
}

/// RFC 9110 §5.6.4: what a quoted-string says, and what follows it.
fn quoted_string(text: &str) -> (String, &str) {
    let mut said = String::new();
    let mut characters = text.strip_prefix('"').expect("a quotation mark").chars();
    loop {
        match characters.next().expect("a quotation mark at the end") {
            '"' => return (said, characters.as_str()),
            '\\' => said.push(characters.next().expect("an escaped character")),
            character => {
                assert!(matches!(character, '\t' | ' '..='~'));
                said.push(character);
            }
        }
    }
}
