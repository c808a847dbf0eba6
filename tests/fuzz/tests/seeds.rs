//! The seeds of all targets: nothing that once went wrong goes wrong again.

use std::{fs, path::Path};

use longshore_fuzz::TARGETS;

fn seeds() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/seeds"))
}

#[test]
fn all_seeds_pass() {
    for target in TARGETS {
        let folder = seeds().join(target.name);
        let files =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.expect("an entry").path();
            println!("{}", path.display());
            (target.run)(&fs::read(&path).expect("a seed"));
            count += 1;
        }
        assert!(count > 0, "{} has no seeds", target.name);
    }
}

#[test]
fn each_folder_of_seeds_has_a_target() {
    for folder in fs::read_dir(seeds()).expect("the seeds") {
        let name = folder.expect("an entry").file_name();
        let name = name.to_string_lossy();
        assert!(longshore_fuzz::target(&name).is_some(), "{name}");
    }
}

/// Each decoder gets every seed of every other one, whole and cut.
#[test]
fn no_target_minds_the_seeds_of_others() {
    let mut inputs = Vec::new();
    for folder in fs::read_dir(seeds()).expect("the seeds") {
        for file in fs::read_dir(folder.expect("an entry").path()).expect("a folder") {
            inputs.push(fs::read(file.expect("an entry").path()).expect("a seed"));
        }
    }
    for target in TARGETS {
        for input in &inputs {
            for end in [input.len(), input.len() / 2, input.len() / 3, 1, 0] {
                (target.run)(&input[..end.min(input.len())]);
            }
        }
    }
}
