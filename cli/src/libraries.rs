//! Mapper libraries and programs on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_host::{Descriptor, inspect};
use longshore_types::near::nearest;

use crate::output::advised;

/// A mapper library and what it says of itself.
pub(crate) struct Library {
    pub(crate) file: PathBuf,
    pub(crate) descriptor: Descriptor,
}

/// The program that simulates devices, a sister of this one.
pub(crate) const SIMULATOR: &str = "longshore-sim";

/// The folder of this program, where its sisters lie too.
pub(crate) fn program_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this program's own folder")?;
    Ok(own.parent().map(Path::to_owned).unwrap_or_default())
}

/// Where libraries lie: beside an installed program, or in the build folder.
pub(crate) fn folders(named: Option<&Path>, programs: &Path) -> Vec<PathBuf> {
    match named {
        Some(folder) => vec![folder.to_owned()],
        None => {
            // Without `..`, so that what is printed reads well.
            let installed = programs.parent().map(|top| top.join("lib/mappers"));
            installed.into_iter().chain([programs.to_owned()]).collect()
        }
    }
}

/// The folders where libraries lie; one that somebody named has to be there.
pub(crate) fn existing(named: Option<&Path>) -> Result<Vec<PathBuf>> {
    if let Some(folder) = named.filter(|folder| !folder.is_dir()) {
        return Err(advised(
            format!("--mapper-dir {}: there is no such folder", folder.display()),
            "without it, the libraries near this program are taken",
        ));
    }
    Ok(folders(named, &program_folder()?))
}

/// All mapper libraries in the folders, by the name of their protocol; what is
/// no mapper is left out.
pub(crate) fn all(folders: &[PathBuf]) -> Vec<Library> {
    let mut found: Vec<Library> = Vec::new();
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "so"))
        .collect();
    files.sort();
    for file in files {
        let Ok(descriptor) = inspect(&file) else {
            continue;
        };
        if !found
            .iter()
            .any(|known| known.descriptor.name == descriptor.name)
        {
            found.push(Library { file, descriptor });
        }
    }
    found.sort_by(|one, other| one.descriptor.protocol.cmp(&other.descriptor.protocol));
    found
}

/// The library of a protocol.
pub(crate) fn of_protocol(
    protocol: &str,
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<Library> {
    if let Some(file) = file {
        let descriptor = inspect(file)?;
        return Ok(Library {
            file: file.to_owned(),
            descriptor,
        });
    }
    let mut libraries = all(&existing(folder)?);
    let wanted = protocol.to_ascii_lowercase();
    let place = libraries.iter().position(|library| {
        library.descriptor.protocol == wanted || library.descriptor.name == wanted
    });
    if let Some(place) = place {
        return Ok(libraries.swap_remove(place));
    }
    let known: Vec<String> = libraries
        .iter()
        .map(|library| library.descriptor.protocol.clone())
        .collect();
    let meant = nearest(&wanted, known.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(advised(
        format!("no mapper for protocol `{protocol}` near this program{meant}"),
        if known.is_empty() {
            "`make build` brings the mappers, or name a library with --mapper FILE.so".to_owned()
        } else {
            format!(
                "there are {}; another library can be named with --mapper FILE.so",
                known.join(", ")
            )
        },
    ))
}
