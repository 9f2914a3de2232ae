//! `causerie models`: what is in the cache.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use causerie_inference::Gguf;

use super::failure::Failure;
use super::output::{parameters, size};
use crate::config;
use crate::fetch::{self, DEFAULT_MODEL, ModelSource};

/// How deep models may be: `OWNER/REPO/FOLDER/FILE`.
const DEPTH: u32 = 4;

/// A table on stdout.
pub(crate) fn models() -> Result<(), Failure> {
    let cache = config::cache_directory().map_err(Failure::of)?;
    let directory = fetch::models_directory(&cache);
    let mut files = Vec::new();
    collect(&directory, DEPTH, &mut files)
        .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", directory.display())))?;
    files.sort();
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

/// All GGUF files. That the directory is not there yet is no error.
fn collect(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "gguf") && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
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
