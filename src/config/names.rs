//! Variables that the program does not read, but was probably meant to read.

use std::ffi::OsString;

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
    // The OS allows names of megabytes, and a character has up to four bytes.
    if left.len() > right.len() * 4 + MAX_DISTANCE {
        return None;
    }
    let right: Vec<char> = right.chars().collect();
    // The distance from what has been read of `left` to each prefix of `right`.
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (read, character) in left.chars().enumerate() {
        let mut diagonal = read;
        let mut before = read + 1;
        let mut next = vec![before];
        for (&other, &above) in right.iter().zip(row.iter().skip(1)) {
            before = (above + 1)
                .min(before + 1)
                .min(diagonal + usize::from(character != other));
            next.push(before);
            diagonal = above;
        }
        row = next;
    }
    row.last()
        .copied()
        .filter(|&distance| distance <= MAX_DISTANCE)
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
