//! `causerie models`: what is in the cache.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use causerie_inference::Gguf;

use super::failure::Failure;
use super::output::{parameters, size};
use crate::config;
use crate::fetch::{self, DEFAULT_MODEL, KnownModel, ModelSource};

/// A table on stdout.
pub(crate) fn models() -> Result<(), Failure> {
    let cache = config::cache_directory().map_err(Failure::of)?;
    let directory = fetch::models_directory(&cache);
    let files = cached().map_err(Failure::Failed)?;
    if files.is_empty() {
        let _ = writeln!(
            io::stderr().lock(),
            "No models in {} yet; `causerie pull` fetches {} ({}).",
            directory.display(),
            DEFAULT_MODEL.file,
            size(DEFAULT_MODEL.bytes)
        );
        return Ok(());
    }
    let default = fetch::find(&ModelSource::Known(DEFAULT_MODEL), &cache);
    let rows: Vec<[String; 5]> = files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&directory).unwrap_or(path).display().to_string();
            let bytes = fs::metadata(path).map_or(0, |file| file.len());
            let [quantization, parameters] = describe(path);
            let mark = if default.as_deref() == Some(path) { "default" } else { "" };
            [name, size(bytes), quantization, parameters, mark.to_owned()]
        })
        .collect();
    write_table(&["MODEL", "SIZE", "TYPE", "PARAMETERS", ""], &rows)?;
    Ok(())
}

/// The models in the cache, by their paths in order.
///
/// # Errors
/// When there is no cache directory, or it cannot be read.
pub(super) fn cached() -> Result<Vec<PathBuf>, String> {
    let cache = config::cache_directory().map_err(|error| error.to_string())?;
    fetch::cached(&cache).map_err(|error| format!("cannot read {}: {error}", fetch::models_directory(&cache).display()))
}

/// What people call a model: the name of a known one, or its file's without the ending.
pub(super) fn short_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let known = KnownModel::ALL.into_iter().find(|model| model.file == file);
    known.map_or_else(|| file.trim_end_matches(".gguf").to_owned(), |model| model.name.to_owned())
}

/// The one of the models in the cache that is meant by a name, by the beginning of one, or a file by its path.
///
/// # Errors
/// When none is meant, or several are; for people.
pub(super) fn chosen(name: &str, cached: &[PathBuf]) -> Result<PathBuf, String> {
    if name.contains('/') && Path::new(name).is_file() {
        return Ok(PathBuf::from(name));
    }
    let wanted = name.to_lowercase();
    let names = |path: &Path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        [short_name(path).to_lowercase(), file]
    };
    let exact = cached.iter().find(|path| names(path).contains(&wanted));
    if let Some(path) = exact {
        return Ok(path.clone());
    }
    let begun: Vec<&PathBuf> =
        cached.iter().filter(|path| names(path).iter().any(|name| name.starts_with(&wanted))).collect();
    match begun.as_slice() {
        [path] => Ok((*path).clone()),
        [] => {
            let there: Vec<String> = cached.iter().map(|path| short_name(path)).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            let can_be_fetched = KnownModel::from_name(name).is_some() || name.contains('/');
            let pull = if can_be_fetched { format!("{name}` fetches it") } else { "OWNER/REPO` fetches others".into() };
            Err(format!("{name} is not on this machine; there is {there}. `causerie pull {pull}."))
        }
        several => {
            let several: Vec<String> = several.iter().map(|path| short_name(path)).collect();
            Err(format!("{name} may be {}; say more of the name.", several.join(" or ")))
        }
    }
}

/// What most of the weights are stored as, and how many there are.
fn describe(path: &Path) -> [String; 2] {
    let gguf = match Gguf::open(path) {
        Ok(gguf) => gguf,
        Err(error) => return ["unreadable".to_owned(), error.to_string()],
    };
    let mut bytes_by_type: Vec<(String, usize)> = Vec::new();
    let mut elements = 0u64;
    for (_, tensor) in gguf.tensors() {
        elements = elements.saturating_add(tensor.elements());
        let name = tensor.block_type.name().to_owned();
        match bytes_by_type.iter_mut().find(|(other, _)| *other == name) {
            Some((_, bytes)) => *bytes += tensor.bytes,
            None => bytes_by_type.push((name, tensor.bytes)),
        }
    }
    let most = bytes_by_type.into_iter().max_by_key(|(_, bytes)| *bytes);
    [most.map_or_else(|| "?".to_owned(), |(name, _)| name), parameters(elements)]
}

fn write_table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = io::stdout().lock();
    let mut line = |cells: &[&str]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(head)?;
    rows.iter().try_for_each(|row| line(&row.each_ref().map(String::as_str)))
}
