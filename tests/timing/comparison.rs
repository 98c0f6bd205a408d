//! No clock here can see a plain `==` on 32 bytes: it is one vector instruction. So the text of the
//! code is checked.

use std::fs;
use std::path::Path;

/// A file of `src`, without its comments.
struct Source {
    name: String,
    code: String,
}

#[test]
fn signatures_are_compared_in_one_place_and_through_subtle() {
    let mut sources = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );

    let comparisons = statements(&sources, ".ct_eq(");
    assert_eq!(comparisons.len(), 1, "one comparison: {comparisons:#?}");
    assert_eq!(comparisons[0].0, "key.rs");

    // A token's signature is private to its module, but for this way out.
    let uses = statements(&sources, ".signature()");
    assert_eq!(uses, comparisons, "a signature goes there and nowhere else");

    // One MAC to sign and one to verify: none to compare in another way.
    let macs = statements(&sources, ".finalize");
    let files: Vec<&str> = macs.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, ["key.rs", "key.rs"], "two MACs: {macs:#?}");
}

/// The statements with this text in them, each with its file's name.
fn statements<'s>(sources: &'s [Source], text: &str) -> Vec<(&'s str, &'s str)> {
    let statements = sources.iter().flat_map(|source| {
        let statements = source.code.split(';');
        statements.map(|statement| (source.name.as_str(), statement))
    });
    statements
        .filter(|(_, statement)| statement.contains(text))
        .collect()
}

fn collect(directory: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let lines = text.lines().map(|line| line.split("//").next());
        sources.push(Source {
            name: path.file_name().expect("a name").display().to_string(),
            code: lines.map(Option::unwrap_or_default).collect(),
        });
    }
}
