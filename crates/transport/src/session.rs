//! Facts of one TLS session, from which both of its ends derive the same keys.
//!
//! TS 33.122 annex A.1 derives from the master secret and the session id, which only TLS 1.2 has; exporters (RFC 5705,
//! RFC 8446 section 7.5) exist in both versions. What is here never crosses the wire.

use std::fmt;

use rustls::{ConnectionCommon, HandshakeKind, ProtocolVersion};
use zeroize::Zeroizing;

mod capture;
pub(crate) use capture::{Capture, Tap};

/// The labels of the two exported values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionLabels {
    /// Of the value that stands for the session's secret.
    pub key: &'static str,
    /// Of the value that stands for the session's id.
    pub id: &'static str,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What both ends of one connection know, and nobody else.
pub struct Session {
    version: TlsVersion,
    exported_key: Box<Zeroizing<[u8; 32]>>,
    exported_id: Box<Zeroizing<[u8; 32]>>,
    tls12: Option<Tls12>,
}

struct Tls12 {
    master_secret: Box<Zeroizing<[u8; 48]>>,
    session_id: Vec<u8>,
}

impl Session {
    /// The facts of a finished handshake; the literal ones as far as they were caught on the way.
    pub(crate) fn of<D>(
        connection: &ConnectionCommon<D>,
        labels: SessionLabels,
        capture: Option<&Capture>,
    ) -> Result<Self, rustls::Error> {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
            _ => return Err(rustls::Error::HandshakeNotComplete),
        };
        let export = |label: &'static str| {
            let mut octets = Box::new(Zeroizing::new([0; 32]));
            connection.export_keying_material(octets.as_mut_slice(), label.as_bytes(), None)?;
            Ok::<_, rustls::Error>(octets)
        };
        // Without the extended master secret there is no TLS 1.2 session: both configurations require it.
        let literal = version == TlsVersion::Tls12
            && connection.handshake_kind() == Some(HandshakeKind::Full);
        Ok(Self {
            version,
            exported_key: export(labels.key)?,
            exported_id: export(labels.id)?,
            tls12: capture
                .and_then(Capture::take)
                .filter(|facts| literal && !facts.session_id.is_empty()),
        })
    }

    /// The version that was negotiated.
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// 32 octets exported under [`SessionLabels::key`], without context.
    pub fn exported_key(&self) -> &[u8; 32] {
        &self.exported_key
    }

    /// 32 octets exported under [`SessionLabels::id`], without context.
    pub fn exported_id(&self) -> &[u8; 32] {
        &self.exported_id
    }

    /// The literal facts of TS 33.122 annex A.1, where the session has them: TLS 1.2 with the extended master secret, a
    /// full handshake and an id that the server assigned.
    pub fn tls12(&self) -> Option<Tls12Facts<'_>> {
        self.tls12.as_ref().map(|facts| Tls12Facts {
            master_secret: &facts.master_secret,
            session_id: &facts.session_id,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .field("facts", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// The master secret and the id of a TLS 1.2 session.
#[derive(Clone, Copy)]
pub struct Tls12Facts<'a> {
    /// The master secret, which is an extended one (RFC 7627).
    pub master_secret: &'a [u8; 48],
    /// The id that the server assigned; never empty.
    pub session_id: &'a [u8],
}

impl fmt::Debug for Tls12Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls12Facts([redacted])")
    }
}
