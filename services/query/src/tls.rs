//! TLS from files, read again when they change: certificates are renewed while a server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::news::News;

/// Certificate and key of two files.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    read_at: RwLock<[Option<SystemTime>; 2]>,
    news: News,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// No PEM, or a key that is not the certificate's.
    pub(crate) fn open(chain: &Path, key: &Path) -> anyhow::Result<Arc<Self>> {
        let read_at = RwLock::new(stamps(chain, key));
        let current = RwLock::new(Arc::new(read(chain, key)?));
        let (chain, key) = (chain.to_owned(), key.to_owned());
        Ok(Arc::new(Self { chain, key, current, read_at, news: News::default() }))
    }

    /// The settings of a server.
    ///
    /// # Errors
    /// Never with the versions that the library has.
    pub(crate) fn config(self: &Arc<Self>) -> anyhow::Result<ServerConfig> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        Ok(ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver))
    }

    /// Reads the files again if they have changed; what cannot be used changes nothing.
    pub(crate) fn tend(&self) {
        let now = stamps(&self.chain, &self.key);
        let mut read_at = self.read_at.write().unwrap_or_else(PoisonError::into_inner);
        if *read_at == now {
            return;
        }
        let failure = match read(&self.chain, &self.key) {
            Ok(key) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                *read_at = now;
                tracing::info!("the certificate was read again");
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        if self.news.is_new(failure.clone()) {
            tracing::warn!(error = failure, "the certificate cannot be read again; that from before stays");
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(chain: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [chain, key].map(|path| std::fs::metadata(path).and_then(|facts| facts.modified()).ok())
}

fn read(chain: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let of_chain = || format!("serve.tls_certificate_file {}", chain.display());
    let certificates =
        CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>).with_context(of_chain)?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| format!("serve.tls_key_file {}", key.display()))?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider()).with_context(of_chain)
}
