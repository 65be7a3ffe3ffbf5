//! TLS from files, read again when they change: certificates are renewed while a server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::Context as _;
use jtav_telemetry::{Metric, ServedFile};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

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
        let certificate = read(chain, key)?;
        tell_end(&certificate);
        Metric::file_stale(ServedFile::Certificate).set(0.0);
        let current = RwLock::new(Arc::new(certificate));
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
            Metric::file_stale(ServedFile::Certificate).set(0.0);
            return;
        }
        let failure = match read(&self.chain, &self.key) {
            Ok(key) => {
                tell_end(&key);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                *read_at = now;
                tracing::info!("the certificate was read again");
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        Metric::file_stale(ServedFile::Certificate).set(f64::from(u8::from(failure.is_some())));
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

/// A chain is good for as long as all of it is.
fn tell_end(served: &CertifiedKey) {
    if let Some(end_seconds) = served.cert.iter().filter_map(|certificate| end_seconds(certificate)).min() {
        Metric::certificate_end().set(end_seconds as f64);
    }
}

/// Seconds since 1970.
fn end_seconds(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jtav_telemetry::global;

    use super::*;

    const CHAIN: &str = include_str!("../../../actors/media/tests/fixtures/tls/server.pem");
    const KEY: &str = include_str!("../../../actors/media/tests/fixtures/tls/server.key");

    #[test]
    fn the_end_of_a_certificate_is_what_openssl_says_it_is() {
        let der = CertificateDer::from_pem_slice(CHAIN.as_bytes()).unwrap();
        let end: jiff::Timestamp = "2126-11-02T02:17:13Z".parse().unwrap();
        assert_eq!(end_seconds(&der), Some(end.as_second()));
        assert_eq!(end_seconds(&CertificateDer::from(&der[1..])), None);
    }

    #[test]
    fn a_certificate_that_breaks_is_told_until_it_is_whole_and_serves_on_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let mut hours = 0;
        let mut write = |path: &Path, text: &str| {
            std::fs::write(path, text).unwrap();
            // Whatever the clock of the file system: each change is seen.
            hours += 1;
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(3_600 * hours)).unwrap();
        };
        let stale = || global().value(&Metric::file_stale(ServedFile::Certificate));
        write(&chain, CHAIN);
        write(&key, KEY);
        let certificate = Certificate::open(&chain, &key).unwrap();
        let served = || Arc::clone(&certificate.current.read().unwrap());
        // What `openssl x509 -enddate` says of it: Nov  2 02:17:13 2126 GMT.
        assert_eq!((stale(), global().value(&Metric::certificate_end())), (0.0, 4_949_259_433.0));
        let first = served();
        write(&chain, "-----BEGIN CERTIFICATE-----");
        certificate.tend();
        assert_eq!(stale(), 1.0);
        assert!(Arc::ptr_eq(&first, &served()));
        write(&chain, CHAIN);
        certificate.tend();
        assert_eq!(stale(), 0.0);
        assert!(!Arc::ptr_eq(&first, &served()));
    }
}
