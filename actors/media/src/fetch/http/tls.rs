//! The TLS settings that all HTTP clients share, and with them the sessions that servers let them resume.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

/// Certificates are always verified, against the system's authorities and these. HTTP/2 is offered before HTTP/1.1.
///
/// # Errors
/// An authority that is no certificate.
pub(crate) fn tls(authorities_pem: &[Vec<u8>]) -> Result<ClientConfig, rustls::Error> {
    let unreadable = |error| rustls::Error::General(format!("an authority is no certificate: {error:?}"));
    let authorities = authorities_pem.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem));
    let authorities = authorities.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let provider = CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match Verifier::new_with_extra_roots(authorities.clone(), provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth(),
        Err(error) => {
            // A bare container without CA certificates. An empty set of roots trusts nobody: https fails, http works.
            tracing::warn!(%error, "no system certificates: https media will not be fetched");
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
