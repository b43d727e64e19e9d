//! TLS with only the authority that the inventory names, and a client certificate where it names one.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Untrusted;
use crate::project::Tls;

/// Wraps a connection. A server that the authority did not sign, or that does not take our certificate, is `Untrusted`.
pub(super) async fn wrap(tcp: TcpStream, host: &str, tls: &Tls) -> io::Result<TlsStream<TcpStream>> {
    let config = config(tls)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| io::Error::other(format!("`{host}`: {error}")))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    connected.map_err(|error| io::Error::other(Untrusted(format!("TLS with {host} failed: {error}"))))
}

fn config(tls: &Tls) -> io::Result<ClientConfig> {
    let unreadable = |path: &str, error: &dyn std::fmt::Display| io::Error::other(Untrusted(format!("{path}: {error}")));
    let certificates = |path: &str| -> io::Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
        read.collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|error| unreadable(&tls.ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            builder.with_client_auth_cert(certificates(cert)?, private).map_err(|error| unreadable(cert, &error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}
