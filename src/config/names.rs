//! Variables that the program does not read, but was probably meant to read.

use std::ffi::OsString;
use std::str::Chars;

/// The most characters by which a misspelled name may differ from the right one.
const MAX_DISTANCE: usize = 2;

/// How many characters of an unknown name are shown.
const MAX_SHOWN: usize = 64;

/// A warning for each name that is not in `known`, but begins with `JWT_` or is close to one of
/// `known`; in the order of the names.
pub(super) fn warnings(names: impl Iterator<Item = OsString>, known: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
        .iter()
        .filter_map(|name| warning(&name.to_string_lossy(), known))
        .collect()
}

fn warning(name: &str, known: &[&str]) -> Option<String> {
    if known.contains(&name) {
        return None;
    }
    let nearest = known
        .iter()
        .filter_map(|known| Some((distance(name, known)?, known)))
        .min();
    let advice = match nearest {
        Some((_, known)) => format!("did you mean {known}?"),
        None if name.starts_with("JWT_") => "see --help".into(),
        None => return None,
    };
    let shown: String = name.chars().take(MAX_SHOWN).collect();
    Some(format!(
        "warning: {}: unknown variable, ignored: {advice}",
        shown.escape_debug()
    ))
}

/// The fewest characters to insert, remove or replace (Levenshtein distance); `None` if over
/// [`MAX_DISTANCE`].
fn distance(left: &str, right: &str) -> Option<usize> {
    (0..=MAX_DISTANCE).find(|&edits| is_within(edits, left.chars(), right.chars()))
}

/// Returns whether `edits` characters are enough. It allocates nothing, and gives up at the first difference
/// beyond them: the environment may have hundreds of names, and each is compared with every known one before
/// the program listens.
fn is_within(edits: usize, mut left: Chars<'_>, mut right: Chars<'_>) -> bool {
    loop {
        let (left_before, right_before) = (left.clone(), right.clone());
        match (left.next(), right.next()) {
            (None, None) => return true,
            (one, other) if one == other => {}
            _ => {
                return edits > 0
                    && (is_within(edits - 1, left.clone(), right.clone())
                        || is_within(edits - 1, left_before, right)
                        || is_within(edits - 1, left, right_before));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_inserted_removed_and_replaced_characters() {
        for (left, right, expected) in [
            ("", "", Some(0)),
            ("API_PORT", "API_PORT", Some(0)),
            ("API_PORTS", "API_PORT", Some(1)),
            ("API_PRT", "API_PORT", Some(1)),
            ("PI_PORT", "API_PORT", Some(1)),
            ("API-PORT", "API_PORT", Some(1)),
            ("API_PROT", "API_PORT", Some(2)),
            ("XAPI_PORTX", "API_PORT", Some(2)),
            ("APIPRT", "API_PORT", Some(2)),
            ("ÄPI_PÖRT", "API_PORT", Some(2)),
            ("PORT", "API_PORT", None),
            ("XXXI_PORT", "API_PORT", None),
            ("API_PORTXXX", "API_PORT", None),
            ("", "API", None),
            ("ab", "", Some(2)),
            ("abc", "", None),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
        assert_eq!(distance(&"A".repeat(1 << 20), "API_PORT"), None);
    }
}
