//! TLS (RFC 8446, RFC 5246) by rustls: a certificate and its key, from PEM files, which may change while the server runs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits;

/// Where certificate and key are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate and those that lead to its root, in this order, in PEM.
    pub cert: PathBuf,
    /// The certificate's private key in PEM (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// What TLS connections begin with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read or is longer than [`limits::TLS_FILE_BYTES`], holds none, or the two do
    /// not belong together.
    pub fn open(files: TlsFiles) -> Result<Tls, TlsError> {
        let config = RwLock::new(load(&files)?);
        Ok(Tls { files, config })
    }

    /// Reads them again, for connections from now on.
    ///
    /// # Errors
    /// As [`Tls::open`]; then all stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = load(&self.files)?;
        // Nobody panics while holding it, and what is in it is whole at any time.
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The files that are read.
    pub fn files(&self) -> [&Path; 2] {
        [&self.files.cert, &self.files.key]
    }

    /// What makes a TLS connection of a TCP connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { cert: cert_path, key: key_path } = files;
    let pem = read(cert_path)?;
    let certs: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certs = certs.map_err(|error| TlsError::Pem {
        path: cert_path.clone(),
        what: "certificate",
        why: error.to_string(),
    })?;
    if certs.is_empty() {
        let why = "there is no -----BEGIN CERTIFICATE-----".to_owned();
        return Err(TlsError::Pem { path: cert_path.clone(), what: "certificate", why });
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|error| TlsError::Pem {
        path: key_path.clone(),
        what: "private key",
        why: error.to_string(),
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key));
    let mut config = config.map_err(|source| TlsError::Unusable { files: files.clone(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limits::TLS_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limits::TLS_FILE_BYTES {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: limits::TLS_FILE_BYTES });
    }
    Ok(bytes)
}

/// Why there is no TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any with certificates.
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The largest that is read, in bytes.
        limit: u64,
    },
    /// A file does not hold what it should.
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key cannot be used, or not together.
    Unusable {
        /// Which.
        files: TlsFiles,
        /// What rustls said.
        source: rustls::Error,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            TlsError::TooLarge { path, limit } => {
                write!(f, "{} is larger than {limit} bytes, the most that is read of certificates", path.display())
            }
            TlsError::Pem { path, what, why } => write!(f, "{} holds no {what} in PEM: {why}", path.display()),
            TlsError::Unusable { files: TlsFiles { cert, key }, source } => write!(
                f,
                "the certificate in {} and the key in {} cannot be used together: {source}",
                cert.display(),
                key.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::File { source, .. } => Some(source),
            TlsError::Unusable { source, .. } => Some(source),
            TlsError::TooLarge { .. } | TlsError::Pem { .. } => None,
        }
    }
}
