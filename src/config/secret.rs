//! Where the secrets come from: each from a variable or from a file.

use std::ffi::OsStr;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{ConfigError, variable};

/// The longest secret file, in bytes, its line end included. HMAC hashes a key of over 64 bytes, so a
/// longer secret is not a stronger one.
const MAX_FILE_LEN: u32 = 64 * 1024;

/// The most times that the files are read until two readings agree.
const MAX_READINGS: usize = 10;

/// The time between two readings: longer than most programs take to write the rest of a file that
/// they have truncated.
const READING_INTERVAL: Duration = Duration::from_millis(10);

/// The flag that opens a FIFO without waiting for its other end. The standard library does not have this
/// OS constant. Where it is not known, it is 0, and only the check before opening rejects a FIFO.
const O_NONBLOCK: i32 = if cfg!(target_os = "macos") {
    0x4
} else if cfg!(all(
    target_os = "linux",
    not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "sparc",
        target_arch = "sparc64"
    ))
)) {
    0o4000
} else {
    0
};

/// The quotation marks of shells and `.env` files, and those that word processors make of them.
const QUOTES: [&str; 9] = ["\"", "'", "“", "”", "„", "‘", "’", "«", "»"];

/// Both secrets, read at the same time.
#[derive(PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) current: Secret,
    pub(super) previous: Option<Secret>,
}

/// A secret as it was read.
#[derive(PartialEq, Eq)]
pub(super) struct Secret {
    /// The variable with the secret or with its file's path.
    pub(super) variable: &'static str,
    pub(super) bytes: Vec<u8>,
    /// The name of the line end that was removed from its file.
    pub(super) line_end: Option<&'static str>,
}

impl Secrets {
    /// Reads each secret once.
    pub(super) fn read() -> Result<Self, ConfigError> {
        let current = secret("JWT_SECRET", "JWT_SECRET_FILE")?;
        let previous = secret("JWT_SECRET_PREVIOUS", "JWT_SECRET_PREVIOUS_FILE")?;
        let current = current.ok_or_else(|| {
            ConfigError::new(
                "JWT_SECRET",
                "a secret here or in JWT_SECRET_FILE, found neither",
            )
        })?;
        for secret in [Some(&current), previous.as_ref()].into_iter().flatten() {
            // An empty previous file means that there is no previous secret: a file can be emptied
            // while the program runs, but its variable cannot be unset.
            if secret.bytes.is_empty() && secret.variable != "JWT_SECRET_PREVIOUS_FILE" {
                return Err(ConfigError::empty(secret.variable));
            }
        }
        Ok(Self {
            current,
            previous: previous.filter(|secret| !secret.bytes.is_empty()),
        })
    }

    /// Reads both secrets until two readings in a row agree, so that it takes neither half a file nor an
    /// old file with a new one. Blocks the thread for at most 0.1 s plus the time to read the files.
    pub(super) fn read_settled() -> Result<Self, ConfigError> {
        if let Some(secrets) = settled(Self::read) {
            return secrets;
        }
        let variable = if variable("JWT_SECRET_FILE").is_some() {
            "JWT_SECRET_FILE"
        } else {
            "JWT_SECRET_PREVIOUS_FILE"
        };
        Err(ConfigError::new(
            variable,
            "secrets that do not change while they are read",
        ))
    }
}

/// Returns the first result that two readings in a row agree on, which may be an error.
fn settled<T: PartialEq>(mut read: impl FnMut() -> T) -> Option<T> {
    let mut last = read();
    for _ in 1..MAX_READINGS {
        thread::sleep(READING_INTERVAL);
        let next = read();
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

impl Secret {
    /// A warning for each thing that was probably not meant to be part of the secret.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let (mark, text) = without_byte_order_mark(&self.bytes);
        let is_quoted = QUOTES
            .iter()
            .find_map(|quote| text.strip_prefix(quote.as_bytes()))
            .is_some_and(|rest| QUOTES.iter().any(|quote| rest.ends_with(quote.as_bytes())));
        let has_outer_space = {
            let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
            let is_space_in_text = || {
                str::from_utf8(text).is_ok_and(|text| {
                    text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace)
                })
            };
            text.first().is_some_and(is_space)
                || text.last().is_some_and(is_space)
                || is_space_in_text()
        };
        [
            (mark, "begins with a byte-order mark"),
            (is_quoted, "begins and ends with a quotation mark"),
            (
                has_outer_space,
                "begins or ends with white space or a line end",
            ),
        ]
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, what)| {
            format!(
                "warning: {}: the secret {what}, which counts as part of it",
                self.variable
            )
        })
    }
}

/// Returns whether the bytes begin with a byte-order mark (UTF-8 or UTF-16), and the bytes after it.
fn without_byte_order_mark(bytes: &[u8]) -> (bool, &[u8]) {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    marks
        .into_iter()
        .find_map(|mark| bytes.strip_prefix(mark))
        .map_or((false, bytes), |text| (true, text))
}

fn secret(in_variable: &'static str, in_file: &'static str) -> Result<Option<Secret>, ConfigError> {
    let (name, bytes, line_end) = match (variable(in_variable), variable(in_file)) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(ConfigError::new(
                in_variable,
                format!("this or {in_file}, found both"),
            ));
        }
        (Some(value), None) => (in_variable, value.into_vec(), None),
        (None, Some(path)) => {
            let mut bytes =
                read(Path::new(&path)).map_err(|error| unreadable(in_file, &path, &error))?;
            let line_end = remove_line_end(&mut bytes);
            (in_file, bytes, line_end)
        }
    };
    Ok(Some(Secret {
        variable: name,
        bytes,
        line_end,
    }))
}

/// Does not show the path: it may be the secret itself, put into the wrong variable.
fn unreadable(variable: &'static str, path: &OsStr, error: &io::Error) -> ConfigError {
    let expected = format!("the path of a regular file of at most {MAX_FILE_LEN} bytes");
    let len = path.len();
    ConfigError::new(variable, expected).found_unshown(format!("a value of {len} bytes: {error}"))
}

/// Reads a regular file.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Checked before opening, because opening some devices has a side effect.
    check_type(path.metadata()?.file_type())?;
    read_opened(open(path)?)
}

/// Opens a file. Never waits, whatever is at the path.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
}

fn read_opened(file: File) -> io::Result<Vec<u8>> {
    // Checked again: the path may lead to another file by now.
    check_type(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    file.take(u64::from(MAX_FILE_LEN) + 1)
        .read_to_end(&mut bytes)?;
    if u32::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_LEN) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn check_type(file: FileType) -> io::Result<()> {
    let what = if file.is_file() {
        return Ok(());
    } else if file.is_dir() {
        "a directory, not a regular file"
    } else if file.is_fifo() {
        "a FIFO, not a regular file"
    } else if file.is_socket() {
        "a socket, not a regular file"
    } else {
        "a device, not a regular file"
    };
    Err(io::Error::other(what))
}

/// Removes the one line end that editors and `echo` put last, and returns its name.
fn remove_line_end(bytes: &mut Vec<u8>) -> Option<&'static str> {
    let (end, name) = if bytes.ends_with(b"\r\n") {
        (2, "CRLF")
    } else if bytes.ends_with(b"\n") {
        (1, "LF")
    } else {
        return None;
    };
    bytes.truncate(bytes.len() - end);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    fn temporary(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("resource-server-{}-{name}", std::process::id()))
    }

    /// A FIFO that replaced the file after the first check.
    #[test]
    fn fifo_that_is_opened_after_all_is_rejected_without_waiting() {
        let path = temporary("fifo");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()));
        let result = open(&path).and_then(read_opened);
        let _ = fs::remove_file(&path);
        assert!(result.is_err_and(|error| error.to_string().contains("FIFO")));
    }

    #[test]
    fn device_that_is_opened_after_all_is_not_read() {
        let result = open(Path::new("/dev/zero")).and_then(read_opened);
        assert!(result.is_err_and(|error| error.to_string().contains("device")));
    }

    #[test]
    fn readings_are_taken_until_two_in_a_row_agree() {
        for (readings, expected) in [
            ("aa", Some('a')),
            ("abb", Some('b')),
            ("abaa", Some('a')),
            ("abcdefghii", Some('i')),
            ("abababababaa", None),
        ] {
            let mut characters = readings.chars();
            assert_eq!(
                settled(|| characters.next()).flatten(),
                expected,
                "{readings}"
            );
            let read = readings.len() - characters.as_str().len();
            assert_eq!(read, readings.len().min(MAX_READINGS), "{readings}");
        }
    }

    #[test]
    fn one_line_end_is_removed_and_named() {
        for (content, rest, name) in [
            ("", "", None),
            ("\n", "", Some("LF")),
            ("\r\n", "", Some("CRLF")),
            ("\r", "\r", None),
            ("a", "a", None),
            ("a\n\n", "a\n", Some("LF")),
            ("a\n\r\n", "a\n", Some("CRLF")),
            ("a\r\r\n", "a\r", Some("CRLF")),
        ] {
            let mut bytes = content.as_bytes().to_vec();
            assert_eq!(remove_line_end(&mut bytes), name, "{content:?}");
            assert_eq!(bytes, rest.as_bytes(), "{content:?}");
        }
    }
}
