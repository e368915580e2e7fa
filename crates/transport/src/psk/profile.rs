//! The TLS profile of keys, at both ends.
//!
//! This is the one use of OpenSSL: the library that serves certificates has no keys of this kind. TS 33.210 clause 6.2.3
//! holds here as there: authenticated encryption and forward secrecy only. Absent as well: tickets, resumption, early
//! data, renegotiation, compression, and certificates altogether.

use std::io;

use openssl::dh::Dh;
use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, ErrorCode, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslVerifyMode, SslVersion, select_next_proto,
};

use super::PskVersion;
use crate::identity::TlsError;

/// Longest identity, in octets: what the library has room for.
pub(crate) const IDENTITY_BYTES_MAX: usize = 256;

/// The legacy callbacks for keys imply SHA-256, so no suite with another hash can be used in TLS 1.3.
const SUITES_13: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
/// The library has no ECDHE_PSK suite with AES-GCM.
const SUITES_12: &str = "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256:\
                         DHE-PSK-AES256-GCM-SHA384:DHE-PSK-CHACHA20-POLY1305";
const GROUPS: &str = "X25519:P-256";
/// The group ffdhe3072 of RFC 7919 appendix A.2, for DHE_PSK in TLS 1.2.
const DH_GROUP_PEM: &[u8] = include_bytes!("ffdhe3072.pem");

/// HTTP/2, then HTTP/1.1, as ALPN writes them.
const ALPN: &[u8] = b"\x02h2\x08http/1.1";

/// The configuration of a listener, without its keys.
pub(super) fn server(version: PskVersion) -> Result<SslContextBuilder, TlsError> {
    let build = || {
        let mut builder = common(SslMethod::tls_server(), version)?;
        builder.set_num_tickets(0)?;
        builder.set_tmp_dh(&*Dh::params_from_pem(DH_GROUP_PEM)?)?;
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_alpn_select_callback(|_, offered| {
            select_next_proto(ALPN, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        Ok(builder)
    };
    build().map_err(refused)
}

/// The configuration of a client, without its key.
pub(super) fn client(version: PskVersion) -> Result<SslContextBuilder, TlsError> {
    let build = || {
        let mut builder = common(SslMethod::tls_client(), version)?;
        // In TLS 1.3 a server may pass over the key and show a certificate instead. None is good enough.
        builder.set_verify_callback(SslVerifyMode::PEER, |_, _| false);
        builder.set_alpn_protos(ALPN)?;
        Ok(builder)
    };
    build().map_err(refused)
}

fn common(method: SslMethod, version: PskVersion) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(method)?;
    let number = match version {
        PskVersion::Tls12 => SslVersion::TLS1_2,
        PskVersion::Tls13 => SslVersion::TLS1_3,
    };
    builder.set_min_proto_version(Some(number))?;
    builder.set_max_proto_version(Some(number))?;
    match version {
        PskVersion::Tls12 => builder.set_cipher_list(SUITES_12)?,
        PskVersion::Tls13 => builder.set_ciphersuites(SUITES_13)?,
    }
    builder.set_groups_list(GROUPS)?;
    builder.set_options(
        SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    // A write may be repeated from another buffer, and an idle connection should hold none.
    builder.set_mode(
        SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS,
    );
    // Header and content of a record in one read.
    builder.set_read_ahead(true);
    Ok(builder)
}

/// Whether a finished handshake was proved by the key and by nothing else, in this version and no weaker way.
pub(super) fn is_proved(ssl: &SslRef, version: PskVersion) -> bool {
    if ssl.peer_certificate().is_some() {
        return false;
    }
    match version {
        // The suites allow nothing but keys. Without the extended master secret, two sessions can be made to share
        // their secrets (RFC 7627 section 1).
        PskVersion::Tls12 => {
            ssl.version2() == Some(SslVersion::TLS1_2) && ssl.extms_support() == Some(true)
        }
        // There is nothing to resume here but the key.
        PskVersion::Tls13 => ssl.version2() == Some(SslVersion::TLS1_3) && ssl.session_reused(),
    }
}

pub(super) fn is_http2(ssl: &SslRef) -> bool {
    ssl.selected_alpn_protocol() == Some(crate::profile::ALPN_HTTP2)
}

pub(super) fn refused(error: ErrorStack) -> TlsError {
    TlsError::Configuration(error.to_string())
}

/// What the library complains of, unless it is that the connection broke.
pub(crate) fn reason(error: &openssl::ssl::Error) -> Option<String> {
    if error.code() != ErrorCode::SSL {
        return None;
    }
    let reasons: Vec<_> = error
        .ssl_error()?
        .errors()
        .iter()
        .filter_map(openssl::error::Error::reason)
        .collect();
    if reasons.contains(&UNEXPECTED_END) {
        return None;
    }
    Some(if reasons.is_empty() {
        "no reason given".to_owned()
    } else {
        reasons.join(", ")
    })
}

/// What else ends a handshake: the connection itself.
pub(super) fn broken(error: openssl::ssl::Error) -> io::Error {
    error
        .into_io_error()
        .unwrap_or_else(|_| io::ErrorKind::UnexpectedEof.into())
}

/// How the library calls the end of a connection without goodbye.
const UNEXPECTED_END: &str = "unexpected eof while reading";
