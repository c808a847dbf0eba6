//! Files that mean different things do not need each other.
//!
//! Two modules beside each other that use each other, over however many others,
//! are one thing in two files: neither can be read, tested or changed alone. A
//! module and what lies inside it are one thing, and may. Unit tests do not
//! count.

use std::collections::{BTreeMap, BTreeSet};

use crate::house::{Source, assert_none, sources, within};

/// Packages that have no circles.
const WITHOUT_CIRCLES: &[&str] = &[
    "cli",
    "cloudhub/hub",
    "core/apiserver",
    "core/broker",
    "core/edge",
    "core/host",
    "core/link",
    "core/objects",
    "core/process",
    "core/sqlite",
    "core/twin",
    "core/types",
];

/// Circles that stay: the modules, as they are told, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

type Path = Vec<String>;

/// A module and what it names.
struct Module {
    file: String,
    /// What `use` brings into it, by name.
    names: BTreeMap<String, Path>,
    /// Everything in the package that it names.
    uses: BTreeSet<Path>,
}

fn faults(package: &str, sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let modules = modules(package, sources);
    // For each folder of modules: who uses whom in it, and where that stands.
    let mut folders = BTreeMap::<Path, BTreeMap<(String, String), String>>::new();
    for (path, module) in &modules {
        for used in &module.uses {
            let used = resolve(&modules, used, 0);
            let common = path.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (path.get(common), used.get(common)) {
                let pair = (from.clone(), to.clone());
                let place = format!("{} uses {}", module.file, used.join("::"));
                let folder = folders.entry(path[..common].to_vec()).or_default();
                folder.entry(pair).or_insert(place);
            }
        }
    }
    let mut faults = Vec::new();
    let mut found = BTreeSet::new();
    for (folder, pairs) in &folders {
        for circle in circles(pairs.keys()) {
            let names: Vec<_> = circle.iter().map(String::as_str).collect();
            let folder: String = folder.iter().map(|name| format!("{name}/")).collect();
            let told = format!("{package}/src/{folder}{}", names.join("+"));
            if !exceptions.iter().any(|(excepted, _)| *excepted == told) {
                let places = pairs.iter().filter(|((from, to), _)| {
                    circle.contains(from.as_str()) && circle.contains(to.as_str())
                });
                let places: Vec<_> = places.map(|(_, place)| place.as_str()).collect();
                faults.push(format!("{told} need each other: {}", places.join("; ")));
            }
            found.insert(told);
        }
    }
    let excepted = exceptions.iter().filter(|(told, _)| within(told, package));
    faults.extend(
        excepted
            .filter(|(told, _)| !found.contains(*told))
            .map(|(told, _)| format!("{told}: is no circle any more, and no exception")),
    );
    faults
}

/// The modules of a package by their path in it. What is only for tests is left out.
fn modules(package: &str, sources: &[Source]) -> BTreeMap<Path, Module> {
    let mut files = BTreeMap::new();
    for source in sources {
        let inner = source.path.strip_prefix(package);
        let inner = inner.and_then(|path| path.strip_prefix("/src/")?.strip_suffix(".rs"));
        let Some(inner) = inner else { continue };
        let mut path: Path = inner.split('/').map(str::to_owned).collect();
        if path.iter().any(|part| part == "tests") {
            continue;
        }
        if path.last().is_some_and(|last| last == "mod") || inner == "lib" || inner == "main" {
            path.pop();
        }
        let code = source.without_tests();
        files
            .entry(path)
            .or_insert((source.path.clone(), code.to_owned()));
    }
    let known: BTreeSet<Path> = files.keys().cloned().collect();
    let modules = files.into_iter().map(|(path, (file, code))| {
        let mut module = Module {
            file,
            names: BTreeMap::new(),
            uses: BTreeSet::new(),
        };
        for statement in starts(&code, "use ") {
            for (tree, name) in trees(statement) {
                if let Some(tree) = absolute(&known, &path, &tree) {
                    module.names.insert(name, tree);
                }
            }
        }
        for head in ["crate::", "super::", "self::"] {
            for rest in starts(&code, head) {
                let named = trees(&format!("{head}{rest}"));
                let named = named.iter();
                let inner = named.filter_map(|(tree, _)| absolute(&known, &path, tree));
                module.uses.extend(inner);
            }
        }
        (path, module)
    });
    modules.collect()
}

/// What follows each `word` that begins where no name or path goes on.
fn starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let places = code.match_indices(word);
    places.filter_map(|(at, _)| {
        let before = code[..at].chars().next_back();
        let inside = before.is_some_and(|c| c == '_' || c == ':' || c.is_alphanumeric());
        (!inside).then_some(&code[at + word.len()..])
    })
}

/// The paths that a tree such as `a::{b, c::d as e}` stands for, each with the
/// name that it brings.
fn trees(text: &str) -> Vec<(Path, String)> {
    let mut found = Vec::new();
    tree(text.trim_start(), &mut Vec::new(), &mut found);
    found
}

/// Reads one tree, and gives what follows it.
fn tree<'a>(text: &'a str, path: &mut Path, found: &mut Vec<(Path, String)>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n', '\t']);
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            let before = rest.len();
            let depth = path.len();
            rest = tree(rest, path, found).trim_start();
            path.truncate(depth);
            if rest.len() == before {
                // Not a tree of paths.
                return "";
            }
        }
    }
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    if word.is_empty() {
        // A star, or the end of a path in an expression.
        found.push((path.clone(), String::new()));
        return rest.strip_prefix('*').unwrap_or(rest);
    }
    path.push(word.to_owned());
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(rest, path, found);
    }
    let renamed = rest.trim_start().strip_prefix("as ");
    let name = match renamed {
        Some(name) => name
            .split(|c: char| c != '_' && !c.is_alphanumeric())
            .next(),
        None => Some(word),
    };
    let name = name.unwrap_or_default().to_owned();
    let skipped = renamed.map_or(rest, |renamed| &renamed[name.len()..]);
    match path.last().is_some_and(|last| last == "self") {
        true => {
            path.pop();
            let name = renamed.map_or(path.last().cloned().unwrap_or_default(), |_| name);
            found.push((path.clone(), name));
        }
        false => found.push((path.clone(), name)),
    }
    skipped
}

/// From the root of the package; none for what lies in another one.
fn absolute(known: &BTreeSet<Path>, module: &Path, tree: &Path) -> Option<Path> {
    let (head, rest) = tree.split_first()?;
    let mut path = match head.as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module.split_last()?.1.to_vec(),
        // What lies inside this module.
        child => {
            let inner = [module.as_slice(), &[child.to_owned()]].concat();
            known.contains(&inner).then_some(inner)?
        }
    };
    for part in rest {
        if part == "super" {
            path.pop();
        } else {
            path.push(part.clone());
        }
    }
    Some(path)
}

/// The module that a path leads into, also where another one hands it on.
fn resolve(modules: &BTreeMap<Path, Module>, path: &Path, depth: usize) -> Path {
    let mut at = Path::new();
    for (index, part) in path.iter().enumerate() {
        let inner = [at.as_slice(), std::slice::from_ref(part)].concat();
        if modules.contains_key(&inner) {
            at = inner;
            continue;
        }
        let handed = modules.get(&at).and_then(|module| module.names.get(part));
        return match handed {
            Some(handed) if depth < 8 => {
                let whole = [handed.as_slice(), &path[index + 1..]].concat();
                resolve(modules, &whole, depth + 1)
            }
            _ => at,
        };
    }
    at
}

/// Sets of names that all reach each other.
fn circles<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> BTreeSet<BTreeSet<String>> {
    let mut reach = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (from, to) in pairs {
        reach.entry(from).or_default().insert(to);
    }
    loop {
        let longer: Vec<(&str, &str)> = reach
            .iter()
            .flat_map(|(from, to)| to.iter().map(move |to| (*from, *to)))
            .flat_map(|(from, to)| {
                reach
                    .get(to)
                    .into_iter()
                    .flatten()
                    .map(move |to| (from, *to))
            })
            .filter(|(from, to)| !reach[from].contains(to))
            .collect();
        if longer.is_empty() {
            break;
        }
        for (from, to) in longer {
            reach.entry(from).or_default().insert(to);
        }
    }
    let reaches = |from: &str, to: &str| reach.get(from).is_some_and(|all| all.contains(to));
    let in_circle = reach.keys().filter(|name| reaches(name, name));
    in_circle
        .map(|name| {
            let all = reach
                .keys()
                .filter(|other| reaches(name, other) && reaches(other, name));
            all.map(|other| (*other).to_owned()).collect()
        })
        .collect()
}

#[test]
fn circles_are_found_at_every_level() {
    let sources = [
        Source::new(
            "p/src/lib.rs",
            "mod a; mod b; mod c; pub use a::Thing; use c::x;",
        ),
        Source::new(
            "p/src/a/mod.rs",
            "mod inner; mod other; pub use inner::Thing;",
        ),
        // A child may use what is its parent's own, but not the one beside it
        // that uses it, and be it by a name that the parent hands on.
        Source::new("p/src/a/inner.rs", "use super::{Own, other::X as Y};"),
        Source::new("p/src/a/other.rs", "fn f() -> super::Thing { todo() }"),
        Source::new("p/src/b.rs", "use crate::{c::{self, y}, a::Thing};"),
        // Only a test, a comment and a text.
        Source::new(
            "p/src/c.rs",
            "// crate::b\nconst X: &str = \"crate::b\";\n#[cfg(test)]\nmod tests { use crate::b; }",
        ),
        Source::new("q/src/c.rs", "use crate::b;"),
    ];
    let found = faults("p", &sources, &[]);
    assert_eq!(
        found,
        [
            "p/src/a/inner+other need each other: p/src/a/inner.rs uses a::other; \
             p/src/a/other.rs uses a::inner"
        ]
    );
    let excepted = [("p/src/a/inner+other", "one thing"), ("p/src/a+b", "gone")];
    assert_eq!(
        faults("p", &sources, &excepted),
        ["p/src/a+b: is no circle any more, and no exception"]
    );
    let mut longer = sources.to_vec();
    longer.push(Source::new("p/src/d.rs", "use crate::b;"));
    longer[5] = Source::new("p/src/c.rs", "fn f() { crate::d::g(); }");
    let found = faults("p", &longer, &excepted[..1]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("p/src/b+c+d need each other"));
}

#[test]
fn no_modules_need_each_other() {
    let sources = sources();
    let mut found = Vec::new();
    for package in WITHOUT_CIRCLES {
        found.extend(faults(package, &sources, EXCEPTIONS));
    }
    assert_none(&found);
}
