//! Hugging Face: names of files there, the choice among several, and the way to them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::http::Client;
use super::place::{Expected, Place};
use super::{
    DEFAULT_MODEL, FetchError, FetchOptions, KnownModel, ModelSource, Progress, find as find_model, models_directory,
};

/// Where Hugging Face is unless `HF_ENDPOINT` says otherwise.
pub(super) const ENDPOINT: &str = "https://huggingface.co";

/// The branch that is meant when none is named.
const MAIN: &str = "main";

/// Quantizations by preference when a repository has several: small and good first, all of them known to the engine.
const PREFERENCE: [&str; 4] = ["Q4_K_M", "Q4_1", "Q4_0", "Q8_0"];

/// The longest name of a repository or file, in bytes.
const NAME_BYTES: usize = 256;

/// A GGUF file at Hugging Face, or the best one of a repository: `OWNER/REPO[:FILE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    owner: String,
    repository: String,
    file: Option<String>,
}

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubNameError {
    got: String,
}

impl fmt::Display for HubNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not of the form OWNER/REPO or OWNER/REPO:FILE.gguf, as in {}/{}:{}, nor one of {}",
            self.got,
            DEFAULT_MODEL.owner,
            DEFAULT_MODEL.repository,
            DEFAULT_MODEL.hub_file,
            KnownModel::names()
        )
    }
}

impl std::error::Error for HubNameError {}

impl FromStr for HubName {
    type Err = HubNameError;

    /// Parts hold ASCII letters, digits, `-`, `_` and `.`, and are neither `.` nor `..`: they become part of URLs and of
    /// paths in the cache. A file may be in folders.
    fn from_str(text: &str) -> Result<HubName, HubNameError> {
        let error = || HubNameError { got: text.chars().take(NAME_BYTES).collect() };
        let (place, file) = match text.split_once(':') {
            Some((place, file)) => (place, Some(file)),
            None => (text, None),
        };
        let (owner, repository) = place.split_once('/').ok_or_else(error)?;
        let file_is_good = |file: &str| file.split('/').all(is_name) && is_gguf(file);
        if text.len() > NAME_BYTES || !is_name(owner) || !is_name(repository) || !file.is_none_or(file_is_good) {
            return Err(error());
        }
        Ok(HubName { owner: owner.to_owned(), repository: repository.to_owned(), file: file.map(str::to_owned) })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repository)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ":{file}"))
    }
}

impl HubName {
    /// The known model that this is, which has a place of its own and a second source.
    pub(super) fn known(&self) -> Option<&'static KnownModel> {
        KnownModel::ALL.into_iter().find(|model| {
            self.owner == model.owner
                && self.repository == model.repository
                && self.file.as_deref() == Some(model.hub_file)
        })
    }

    /// Where its files are in the directory of models.
    fn directory(&self, models: &Path) -> PathBuf {
        models.join(&self.owner).join(&self.repository)
    }
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_gguf(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// One file at one revision, with what is known of it.
pub(super) struct HubFile {
    owner: String,
    repository: String,
    revision: String,
    file: String,
    bytes: Option<u64>,
    sha256: Option<String>,
}

impl HubFile {
    pub(super) fn of_known(model: &KnownModel) -> HubFile {
        HubFile {
            owner: model.owner.to_owned(),
            repository: model.repository.to_owned(),
            revision: model.revision.to_owned(),
            file: model.hub_file.to_owned(),
            bytes: Some(model.bytes),
            sha256: Some(model.sha256.to_owned()),
        }
    }

    fn url(&self, endpoint: &str) -> String {
        let HubFile { owner, repository, revision, file, .. } = self;
        format!("{endpoint}/{owner}/{repository}/resolve/{revision}/{file}")
    }
}

/// A file that is in the cache already: the one named, or the best of those that are there.
pub(super) fn find(name: &HubName, models: &Path) -> Option<PathBuf> {
    let directory = name.directory(models);
    if let Some(file) = &name.file {
        let path = directory.join(file);
        return path.is_file().then_some(path);
    }
    let files: Vec<String> = fs::read_dir(&directory)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| is_gguf(file))
        .collect();
    choose(&files).map(|file| directory.join(file))
}

/// Fetches a file into the cache, after asking the Hub which files there are.
pub(super) fn fetch(
    name: &HubName,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let file = describe(name, &Client::new(options, cancelled), &options.endpoint)?;
    let name = HubName { file: Some(file.file.clone()), ..name.clone() };
    if let Some(model) = name.known() {
        return super::fetch(&ModelSource::Known(model), options, progress, cancelled);
    }
    let models = models_directory(&options.cache);
    let place = Place::take(&name.directory(&models).join(&file.file), progress, cancelled)?;
    match find_model(&ModelSource::Hub(name), &options.cache) {
        Some(path) => Ok(path),
        None => fetch_into(&place, &file, options, progress, cancelled),
    }
}

/// Fetches one file into its place.
pub(super) fn fetch_into(
    place: &Place,
    file: &HubFile,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
    cancelled: &AtomicBool,
) -> Result<PathBuf, FetchError> {
    let url = file.url(&options.endpoint);
    progress(Progress::Begin { file: &file.file, bytes: file.bytes, from: &url, to: place.target() });
    let client = Client::new(options, cancelled);
    let expected = Expected { bytes: file.bytes, sha256: file.sha256.as_deref() };
    let part = place.part();
    let resumed = part.metadata().is_ok_and(|part| part.len() > 0);
    client.complete(&url, &part, file.bytes, progress)?;
    match place.settle(&part, &url, expected, progress, cancelled) {
        // The part may have been of something else, or broken on the disk: once more from the beginning.
        Err(error @ FetchError::Wrong { .. }) if resumed => {
            progress(Progress::Note(&format!("{error}; once more from the beginning")));
            client.complete(&url, &part, file.bytes, progress)?;
            place.settle(&part, &url, expected, progress, cancelled)
        }
        other => other,
    }
}

/// Asks the Hub's API for a repository's files, with sizes and hashes, at the commit that its main branch is at now.
fn describe(name: &HubName, client: &Client<'_>, endpoint: &str) -> Result<HubFile, FetchError> {
    let repository = format!("{}/{}", name.owner, name.repository);
    let answer = client.json(&format!("{endpoint}/api/models/{repository}?blobs=true"))?;
    let entries = answer["siblings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let file_of = |entry: &Value| entry["rfilename"].as_str().map(str::to_owned);
    // Names are checked like a user's: they, too, become part of a path.
    let is_ours = |file: &String| is_gguf(file) && file.split('/').all(is_name);
    let files: Vec<String> = entries.iter().filter_map(file_of).filter(is_ours).collect();
    let chosen = match &name.file {
        Some(file) => files.iter().find(|other| *other == file),
        None => choose(&files),
    };
    let Some(file) = chosen.cloned() else { return Err(FetchError::NoChoice { repository, files }) };
    let entry = entries.iter().find(|entry| entry["rfilename"].as_str() == Some(&file)).unwrap_or(&Value::Null);
    let revision = answer["sha"].as_str().filter(|sha| is_name(sha)).unwrap_or(MAIN);
    Ok(HubFile {
        owner: name.owner.clone(),
        repository: name.repository.clone(),
        revision: revision.to_owned(),
        file,
        bytes: entry["lfs"]["size"].as_u64().or_else(|| entry["size"].as_u64()),
        sha256: entry["lfs"]["sha256"].as_str().map(str::to_owned),
    })
}

/// The only model, or the first by [`PREFERENCE`]. Pieces of split models and vision projectors are no models.
fn choose(files: &[String]) -> Option<&String> {
    let models: Vec<&String> =
        files.iter().filter(|file| !file.contains("-of-0") && !file.to_ascii_lowercase().contains("mmproj")).collect();
    if let [only] = models.as_slice() {
        return Some(only);
    }
    PREFERENCE.iter().find_map(|wanted| models.iter().copied().find(|file| quantization(file) == Some(*wanted)))
}

/// The preferred quantization that a file's name ends with, as in `Name.Q4_1.gguf`.
fn quantization(file: &str) -> Option<&'static str> {
    let stem = Path::new(file).file_stem()?.to_str()?.to_ascii_uppercase();
    PREFERENCE
        .into_iter()
        .find(|name| stem == *name || stem.strip_suffix(name).is_some_and(|s| s.ends_with(['.', '-', '_'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken() {
        let name: HubName = "bartowski/SmolLM2-360M-Instruct-GGUF".parse().unwrap();
        assert_eq!(name.file, None);
        let name: HubName = "a/b.c:folder/x-Q4_0.gguf".parse().unwrap();
        assert_eq!((name.repository.as_str(), name.file.as_deref()), ("b.c", Some("folder/x-Q4_0.gguf")));
        assert_eq!(name.to_string(), "a/b.c:folder/x-Q4_0.gguf");
    }

    #[test]
    fn names_that_could_leave_the_cache_or_the_url_are_refused() {
        for wrong in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "a/b:",
            "a/b:x.bin",
            "a/b:../x.gguf",
            "a/b:/x.gguf",
            "a/b:x//y.gguf",
            "a/b:x.gguf?y",
            "a/b#c",
            "a b/c",
            "a/b:x\\y.gguf",
            "é/b",
            "a/b:x:y.gguf",
        ] {
            let error = wrong.parse::<HubName>().unwrap_err().to_string();
            assert!(error.contains("OWNER/REPO"), "{wrong:?}: {error}");
        }
        assert!(format!("a/{}", "b".repeat(NAME_BYTES - 2)).parse::<HubName>().is_ok());
        assert!(format!("a/{}", "b".repeat(NAME_BYTES - 1)).parse::<HubName>().is_err());
    }

    #[track_caller]
    fn check(files: &[&str], chosen: Option<&str>) {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        assert_eq!(choose(&files).map(String::as_str), chosen);
    }

    #[test]
    fn the_best_of_several_files_is_chosen() {
        check(&["m.Q8_0.gguf", "m.Q4_K_M.gguf", "m.Q4_1.gguf"], Some("m.Q4_K_M.gguf"));
        check(&["m-q8_0.gguf", "m-q4_0.gguf"], Some("m-q4_0.gguf"));
        check(&["m.Q2_K.gguf", "m.Q3_K_S.gguf"], None);
        check(&["m.Q2_K.gguf"], Some("m.Q2_K.gguf"));
        check(&["mmproj-m.gguf", "m.f16.gguf"], Some("m.f16.gguf"));
        check(&["m.Q4_0-00001-of-00002.gguf", "m.Q4_0-00002-of-00002.gguf"], None);
        check(&["m.IQ4_1X.gguf", "m.XQ4_1.gguf"], None);
        check(&[], None);
    }
}
