//! The quick reader against the parser of the whole language.

use std::path::{Path, PathBuf};

use proptest::{prelude::*, sample::select};

use super::{
    super::{split, tree},
    *,
};

const LINE: usize = 41;

/// What the quick reader makes of it must be what the other one makes of it.
fn agree(text: &str) -> bool {
    let quick = read(text, LINE);
    let taken = quick.is_some();
    if let Some(quick) = quick {
        assert_eq!(tree::parse(text, LINE), Ok(Some(quick)), "{text}");
    }
    taken
}

/// Manifests as they are written: by hand, by tools, as JSON.
const TAKEN: &[&str] = &[
    "a: 1\nb: text\n",
    "# head\na:\n  b:\n    c: -17\n\n  d: 1.50   # why\ne: ~\n",
    "a:\n- x: 1\n  y: 2\n- x: 3\nb: [1, two, \"three\", {d: 4}]\n",
    "a:\n  - - 1\n    - 2\n  - []\n  - {}\n",
    "a:\nb:\n  c:\n",
    "a: # nothing here\n  b: 1 # one\n",
    "address: ir:0\nurl: tcp://127.0.0.1:5020\npath: /dev/ttyS0\nversion: 1.2.3\nhex: 0x1F\nfar: 1e3\n",
    "\"quoted key\": 'it''s'\n'k': \"a\\nb \\u00e9 \\\" c\"\n",
    "0: off\n1: on\ntrue: yes\nno way: N\n",
    "unit: °C\nname: größe # ünter\n",
    "a: b # c\nb: c#d\nc: d:e\n",
    "{\"a\":1,\"b\":[1.5,-2,true,null,\"x\\\\y\"],\"c\":{}}",
    "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    {\"c\": \"d\"}\n  ],\n  \"e\": []\n}\n",
    "{a: b, c: d e, 'f': 1}",
    "  a: 1\n  b: 2\n",
    "a: +5\nb: .5\nd: 007\ne: 1_000\nf: 12345678901234567890\ng: 2026-11-30\n",
    "a: (x)\nb: $y\nc: -z\nd: .hidden\ne: NaN\nf: null\ng: Null\n",
    "a: 1\na: 2\nb: {c: 1, c: 2}\n",
];

/// What is left to the other parser, right or wrong.
const LEFT: &[&str] = &[
    "",
    "# nothing\n",
    "text\n",
    "a: |\n  block\n",
    "a: >-\n  folded\n  text\n",
    "a: one\n  two\n",
    "a: \"one\n  two\"\n",
    "a: &x 1\nb: *x\n",
    "a: !!str 1\n",
    "? a\n: b\n",
    "a: b: c\n",
    "a: 1\n b: 2\n",
    "a:\n  b: 1\n c: 2\n",
    "a: 1\n- b\n",
    "a:\n\tb: 1\n",
    "a: [1, 2\n",
    "a: {b: 1,}\n",
    "a: [b: 1]\n",
    "a: {b, c}\n",
    "<<: {a: 1}\n",
    "a: 1 # x\n   more\n",
    "a: \"x\" y\n",
    "a: -.inf\n",
    "a: @b\nc: `d`\n",
    "a: - b\n",
    "%YAML 1.2\na: 1\n",
    "-\n  a: 1\n",
];

#[test]
fn what_is_written_mostly_is_read_quickly_and_alike() {
    for text in TAKEN {
        assert!(agree(text), "left to the other parser:\n{text}");
    }
}

#[test]
fn what_is_unusual_or_wrong_is_left_to_the_other_parser() {
    for text in LEFT {
        assert!(!agree(text), "read quickly:\n{text}");
    }
}

#[test]
fn depth_and_number_of_nodes_have_a_bound() {
    let deep = |levels: usize| format!("{{a: {}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(agree(&deep(DEPTH - 1)));
    assert!(!agree(&deep(DEPTH)));
    assert!(read(&deep(1_000_000), 1).is_none());
    let wide = |items: usize| format!("a: [{}0]", "0,".repeat(items - 1));
    assert!(read(&wide(NODES - 10), 1).is_some());
    assert!(read(&wide(NODES + 10), 1).is_none());
}

/// The documents of the tree's own devices.
fn documents() -> Vec<String> {
    let mut folders = vec![
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../devices"),
    ];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("yaml" | "yml" | "json") => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| split(&text))
        .map(|(_, document)| document)
        .collect()
}

#[test]
fn the_devices_of_the_tree_are_read_alike_and_mostly_quickly() {
    let documents = documents();
    let taken = documents.iter().filter(|text| agree(text)).count();
    assert!(
        taken * 2 > documents.len(),
        "{taken} of {} documents are read quickly",
        documents.len()
    );
}

/// What an edit puts in: whatever means something in YAML.
const PIECES: &[&str] = &[
    " ", "  ", "\n", "\n  ", "-", "- ", ": ", ":", "#", " #", "{", "}", "[", "]", ",", "\"", "'",
    "\\", "|", ">", "&a", "*a", "!", "%", "@", "?", "? ", "~", "null", "true", "0", "-1", ".5",
    "1e3", "0x1f", "é", "a: b", "- c", "\n---\n", "\n...\n", "<<: ", "=", "`", "\t", "\u{85}", "+",
    ".",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn edited_documents_are_read_alike(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, select(PIECES)), 1..6),
    ) {
        let all = TAKEN.iter().chain(LEFT).collect::<Vec<_>>();
        let mut text: Vec<char> = which.get(&all).chars().collect();
        for (place, gone, piece) in edits {
            let at = place.index(text.len() + 1);
            let end = (at + gone).min(text.len());
            text.splice(at..end, piece.chars());
        }
        agree(&text.into_iter().collect::<String>());
    }

    #[test]
    fn pieces_in_any_order_are_read_alike(pieces in prop::collection::vec(select(PIECES), 1..12)) {
        agree(&pieces.concat());
        agree(&format!("a: {}", pieces.concat()));
        agree(&format!("[{}]", pieces.concat()));
        agree(&format!("a:\n  - {{b: {}}}", pieces.concat()));
    }
}
