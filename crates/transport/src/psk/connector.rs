//! The client's half of a handshake with a key.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;

use openssl::ssl::{Ssl, SslContext};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::profile::{self, IDENTITY_BYTES_MAX};
use super::{PskCredential, PskVersion};
use crate::connector::ClientError;
use crate::identity::TlsError;

/// Shakes hands with servers that hold the same key.
pub(crate) struct PskConnector {
    version: PskVersion,
    context: SslContext,
}

impl PskConnector {
    pub(crate) fn new(credential: PskCredential) -> Result<Self, TlsError> {
        let PskCredential {
            identity,
            key,
            version,
        } = credential;
        if identity.is_empty() || identity.len() > IDENTITY_BYTES_MAX || identity.contains('\0') {
            return Err(TlsError::PskIdentity);
        }
        let mut builder = profile::client(version)?;
        builder.set_psk_client_callback(move |_, _hint, name, out| {
            let key = key.expose();
            // Whatever follows is zero already, which ends the name.
            match (name.get_mut(..identity.len()), out.get_mut(..key.len())) {
                (Some(name), Some(out)) => {
                    name.copy_from_slice(identity.as_bytes());
                    out.copy_from_slice(key);
                    Ok(key.len())
                }
                _ => Ok(0),
            }
        });
        Ok(Self {
            version,
            context: builder.build(),
        })
    }

    /// The stream, and whether HTTP/2 was agreed on.
    pub(crate) async fn connect<I>(
        &self,
        host: &str,
        stream: I,
    ) -> Result<(SslStream<I>, bool), ClientError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let setup = || {
            let mut ssl = Ssl::new(&self.context)?;
            // RFC 6066 section 3: addresses are not names.
            if host.parse::<IpAddr>().is_err() {
                ssl.set_hostname(host)?;
            }
            SslStream::new(ssl, stream)
        };
        let mut stream = setup().map_err(|error| ClientError::Tls(error.to_string()))?;
        Pin::new(&mut stream)
            .connect()
            .await
            .map_err(|error| match profile::reason(&error) {
                Some(reason) => ClientError::Tls(reason),
                None => ClientError::Connect(profile::broken(error)),
            })?;
        if !profile::is_proved(stream.ssl(), self.version) {
            return Err(ClientError::Tls(
                "the server did not prove that it holds the key".to_owned(),
            ));
        }
        let http2 = profile::is_http2(stream.ssl());
        Ok((stream, http2))
    }
}

impl fmt::Debug for PskConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskConnector")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
