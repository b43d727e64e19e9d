//! TLS with only the authority that the inventory names, and a client certificate where it names one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Untrusted;
use crate::project::Tls;

/// A connection whose errors say what about the certificates was wrong.
pub(super) struct Secured {
    inner: TlsStream<TcpStream>,
    host: String,
}

/// Wraps a connection. A server that the authority did not sign, or that does not take our certificate, is `Untrusted`.
pub(super) async fn wrap(tcp: TcpStream, host: &str, tls: &Tls) -> io::Result<Secured> {
    let config = config(tls)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| io::Error::other(format!("`{host}`: {error}")))?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    let inner = connected.map_err(|error| explained(host, error))?;
    Ok(Secured { inner, host: host.to_owned() })
}

fn config(tls: &Tls) -> io::Result<ClientConfig> {
    let unreadable = |path: &str, error: &dyn std::fmt::Display| io::Error::other(Untrusted(format!("{path}: {error}")));
    let certificates = |path: &str| -> io::Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
        let list: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))?;
        if list.is_empty() { Err(unreadable(path, &"there is no certificate in it")) } else { Ok(list) }
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

/// An error of TLS in words; others stay as they are.
fn explained(host: &str, error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner.map(|inner| words(host, inner)) {
        Some(words) => io::Error::other(Untrusted(words)),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            io::Error::other(format!("{host} ended the TLS handshake: is it a port with TLS? ({error})"))
        }
        None => error,
    }
}

fn words(host: &str, error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Unreadable};
    match error {
        InvalidCertificate(why) => bad_certificate(host, why),
        AlertReceived(AlertDescription::CertificateRequired) => {
            format!("{host} wants a client certificate: `tls = {{ ca, cert, key }}` in hosts.toml names one")
        }
        AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        ) => format!(
            "{host} does not take our client certificate: is it of the authority that dockerd's --tlscacert names? ({error})"
        ),
        AlertReceived(AlertDescription::ProtocolVersion) => format!("{host} speaks no TLS that is new enough; 1.2 is the least"),
        Unreadable(InvalidMessage::InvalidContentType) => {
            format!("{host} does not speak TLS there: take `tls` away in hosts.toml, or let dockerd listen with --tlsverify")
        }
        other => format!("TLS with {host} failed: {other}"),
    }
}

fn bad_certificate(host: &str, why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "the certificate of {host} is not signed by the `ca` that hosts.toml names, and no other authority is trusted"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired: its dockerd needs a new one ({why})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet: are the clocks right? ({why})")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the certificate of {host} is for another name: it must have {host} among its subjectAltNames ({why})")
        }
        CertificateError::Revoked => format!("the certificate of {host} is revoked"),
        other => format!("the certificate of {host} is not good: {other}"),
    }
}

impl Secured {
    fn explained(&self, error: io::Error) -> io::Error {
        // With TLS 1.3 a server says that it wants a certificate only after the handshake.
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        if is_tls { explained(&self.host, error) } else { error }
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        Poll::Ready(read.map_err(|error| self.explained(error)))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        Poll::Ready(written.map_err(|error| self.explained(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
