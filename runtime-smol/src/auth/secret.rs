//! The file with the HS256 secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::AuthError;
use super::secret_path;

/// The shortest secret, in bytes: as long as the hash (RFC 7518, 3.2).
pub const SECRET_BYTES: usize = 32;

/// The largest file with keys that is read, in bytes: a JWKS with some hundred keys.
const FILE_BYTES: u64 = 256 * 1024;

/// The secret of a data directory, made at the first time.
pub(super) fn open_or_create(data_dir: &Path) -> Result<Vec<u8>, AuthError> {
    let path = secret_path(data_dir);
    match read(&path) {
        Err(AuthError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(data_dir, &path).map_err(|source| AuthError::File {
                doing: "create",
                path: path.clone(),
                source,
            })?;
            read(&path)
        }
        other => other,
    }
}

/// The text of a file, trimmed: the key.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, AuthError> {
    let secret = read_bounded(path)?.trim_ascii().to_vec();
    if secret.len() < SECRET_BYTES {
        return Err(AuthError::ShortSecret { path: path.to_owned(), got: secret.len() });
    }
    warn_if_others_can_read(path);
    Ok(secret)
}

/// A file with keys, whole.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, AuthError> {
    let failed = |source| AuthError::File { doing: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(AuthError::TooLarge { path: path.to_owned(), limit: FILE_BYTES });
    }
    Ok(bytes)
}

/// Writes a new secret beside its place and links it there: whoever looks sees no file or a whole one, and of two
/// processes at their first start one wins and both read the same.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    make_private_directory(data_dir)?;
    let mut random = [0u8; SECRET_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut suffix = [0u8; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let temporary = path.with_extension(format!("secret.{}", hex(&suffix)));
    let result = write_private(&temporary, &hex(&random)).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has links; a rename is as atomic, only not exclusive.
        Err(_) => fs::rename(&temporary, path),
        Ok(()) => Ok(()),
    });
    // After a rename it is gone already.
    let _ = fs::remove_file(&temporary);
    result
}

/// The directory and those above it, for their owner alone where they are new: what is said in chats will be in it too.
fn make_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Not an error: a container may have no other way to hand a secret in.
fn warn_if_others_can_read(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if let Ok(metadata) = fs::metadata(path) {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let path = path.display();
                tracing::warn!(
                    "others than its owner may use the secret in {path} (mode {mode:03o}); chmod 600 {path}"
                );
            }
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}
