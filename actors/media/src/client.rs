//! The HTTP client of one port.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client};

use crate::params::FetchParams;
use crate::resolver::GuardedResolver;

/// What one answer over HTTP/2 may send ahead of its reading; over HTTP/1.1 the socket's buffer bounds it.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for all answers of one connection.
const H2_CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

/// It follows no redirect, takes no proxy from the environment, decodes no encoding (those features are not compiled in),
/// and always verifies certificates. HTTP/2 where the server offers it in the TLS handshake (ALPN), else HTTP/1.1.
pub(crate) fn client(params: &FetchParams, resolver: Arc<GuardedResolver>) -> Result<Client, reqwest::Error> {
    let limits = &params.limits;
    let authorities = params.extra_authorities_pem.iter().map(|pem| Certificate::from_pem(pem));
    let authorities = authorities.collect::<Result<Vec<_>, _>>()?;
    let builder = || {
        Client::builder()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(&params.user_agent)
            .connect_timeout(limits.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(limits.max_per_host)
            .http2_initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .dns_resolver(resolver.clone())
    };
    builder().tls_certs_merge(authorities.clone()).build().or_else(|error| {
        // A bare container without CA certificates. An empty set of roots trusts nobody: https fails, http works.
        tracing::warn!(%error, "no system certificates: https media will not be fetched");
        builder().tls_certs_only(authorities).build()
    })
}
