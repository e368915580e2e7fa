//! AEF_PSK, the key of Method 1: how an API invoker and the CCF each derive it, and what it is called on the wire
//! (TS 33.122 clauses 6.5.2.1 and A.1).
//!
//! The key is `HMAC-SHA-256(Key, FC || P0 || L0 || P1 || L1)`, where FC is 0x7A, P0 says which interface the key is for, P1
//! is the id of the CAPIF-1e session that carried the negotiation, and Key is that session's secret. Each part is followed by
//! its length in two octets, the greater first (TS 33.220 clause B.2). The key itself never travels on CAPIF-1e.
//!
//! Choice: clause A.1 speaks of a session id and a master secret, which only TLS 1.2 has. [`Profile::A1Tls12`] takes them
//! literally. [`Profile::A1Exporter`], the default, takes two exported values of the session in their place (RFC 8446 section
//! 7.5, RFC 5705), so that TLS 1.3 and sessions without an id serve too.
//!
//! Choice: the standard gives no octets for P0. It is an `https` URI here, of which every interface has exactly one spelling:
//! see [`interface_information`]. TS 33.220 clause B.2.1.2 asks for Unicode form NFKC; what passes is ASCII, which NFKC leaves
//! alone, and anything else is refused, so that no table of Unicode is needed.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use aws_lc_rs::hmac;
pub use capif_spec::vendor::PskProfile as Profile;
use capif_spec::{common::ApiInvokerId, publish_service::InterfaceDescription};
use time::Duration;
use zeroize::Zeroizing;

/// The label under which a session exports what stands for its secret. Labels that begin like this need no registration
/// (RFC 5705 section 4).
pub const SESSION_KEY_LABEL: &str = "EXPERIMENTAL 3GPP CAPIF AEFPSK key";

/// The label under which a session exports what stands for its id.
pub const SESSION_ID_LABEL: &str = "EXPERIMENTAL 3GPP CAPIF AEFPSK id";

/// How long a key is good at most (D-07).
pub const LIFETIME: Duration = Duration::hours(24);

/// How long a key that was replaced is still good, so that whoever is about to use it gets through (D-07).
pub const OVERLAP: Duration = Duration::seconds(60);

/// The function code of clause A.1.
const FC: u8 = 0x7a;

/// The length of the exported values, in octets.
const EXPORTED_BYTES: usize = 32;

/// The length of a TLS 1.2 master secret, in octets (RFC 5246 section 8.1).
const MASTER_SECRET_BYTES: usize = 48;

/// The longest TLS 1.2 session id, in octets (RFC 5246 section 7.4.1.2).
const SESSION_ID_BYTES_MAX: usize = 32;

/// The beginning of every PSK identity, after the fashion of `3GPP-AKMA` (TS 24.109 clause K.3).
const IDENTITY_PREFIX: &str = "3GPP-CAPIF.";

/// The longest PSK identity that every TLS library takes, in octets (RFC 4279 section 5.3).
const IDENTITY_BYTES_MAX: usize = 128;

/// What both ends of a CAPIF-1e session know of it and nobody else does.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// What the two values are.
    pub profile: Profile,
    /// The session's secret: 32 exported octets, or the 48 of the master secret.
    pub key: &'a [u8],
    /// The session's id: 32 exported octets, or the 1 to 32 that the server assigned.
    pub session_id: &'a [u8],
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// A key cannot be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DerivationError {
    /// The session's secret has not the length that its profile asks for.
    #[error("the session's secret has another length than its profile asks for")]
    Key,
    /// The session's id has not the length that its profile asks for. An empty one would let two sessions share a key part.
    #[error("the session's id has another length than its profile asks for")]
    SessionId,
    /// The interface information is not ASCII, is empty, or is longer than its length field can say.
    #[error("the interface information is not in canonical form")]
    InterfaceInformation,
}

/// Derives the key for an interface (clause A.1).
///
/// # Errors
/// When facts or interface information are not what the profile asks for.
pub fn derive(
    facts: &Facts<'_>,
    interface_information: &str,
) -> Result<Zeroizing<[u8; 32]>, DerivationError> {
    let (key_sound, id_sound) = match facts.profile {
        Profile::A1Exporter => (
            facts.key.len() == EXPORTED_BYTES,
            facts.session_id.len() == EXPORTED_BYTES,
        ),
        Profile::A1Tls12 => (
            facts.key.len() == MASTER_SECRET_BYTES,
            (1..=SESSION_ID_BYTES_MAX).contains(&facts.session_id.len()),
        ),
    };
    if !key_sound {
        return Err(DerivationError::Key);
    }
    if !id_sound {
        return Err(DerivationError::SessionId);
    }
    if interface_information.is_empty() || !interface_information.is_ascii() {
        return Err(DerivationError::InterfaceInformation);
    }
    kdf(
        facts.key,
        interface_information.as_bytes(),
        facts.session_id,
    )
    .ok_or(DerivationError::InterfaceInformation)
}

/// The function of TS 33.220 clause B.2; nothing when a part is longer than its length field can say.
fn kdf(key: &[u8], p0: &[u8], p1: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(&[FC]);
    for part in [p0, p1] {
        context.update(part);
        context.update(&u16::try_from(part.len()).ok()?.to_be_bytes());
    }
    let tag = context.sign();
    let mut derived = Zeroizing::new([0; 32]);
    for (place, octet) in derived.iter_mut().zip(tag.as_ref()) {
        *place = *octet;
    }
    Some(derived)
}

/// P0: `https://`, host, `:`, port, API prefix. The host is a name in lower case (its A-labels), an IPv4 address, or an IPv6
/// address in brackets (RFC 5952); the port always stands there, 443 if none was given; the prefix ends without `/`. None for
/// an interface without exactly one address, or with one of which there are two readings.
#[must_use]
pub fn interface_information(interface: &InterfaceDescription) -> Option<String> {
    let host = match (&interface.fqdn, &interface.ipv4_addr, &interface.ipv6_addr) {
        (Some(name), None, None) => canonical_name(name)?,
        (None, Some(address), None) => address.parse::<Ipv4Addr>().ok()?.to_string(),
        (None, None, Some(address)) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        _ => return None,
    };
    let port = interface.port.map_or(443, |port| port.0);
    if port == 0 {
        return None;
    }
    let prefix = match &interface.api_prefix {
        None => "",
        Some(prefix) => canonical_prefix(prefix)?,
    };
    let information = format!("https://{host}:{port}{prefix}");
    u16::try_from(information.len()).ok()?;
    Some(information)
}

/// A host name as letters, digits and hyphens in lower case (RFC 5890 section 2.3.2.1), which cannot be read as an address.
fn canonical_name(name: &str) -> Option<String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next()?;
    let numeric = last.bytes().all(|octet| octet.is_ascii_digit());
    (name.len() <= 253 && name.split('.').all(is_label) && !numeric)
        .then(|| name.to_ascii_lowercase())
}

/// A path of which there is one reading only: no empty or dot segment, nothing encoded.
fn canonical_prefix(prefix: &str) -> Option<&str> {
    let bare = prefix.strip_suffix('/').unwrap_or(prefix);
    if bare.is_empty() {
        return prefix.starts_with('/').then_some("");
    }
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&octet);
    bare.strip_prefix('/')?
        .split('/')
        .all(|segment| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
        })
        .then_some(bare)
}

/// What the key with this number is called in a handshake. The number is that of the key among all keys that the invoker ever
/// had, so that no two keys share an identity.
#[must_use]
pub fn identity(invoker: &ApiInvokerId, generation: u64) -> String {
    format!("{IDENTITY_PREFIX}{invoker}.{generation}")
}

/// Whose key has this identity, and its number. None for what [`identity`] does not make: there is one spelling only.
#[must_use]
pub fn invoker_of(identity: &str) -> Option<(ApiInvokerId, u64)> {
    if identity.len() > IDENTITY_BYTES_MAX {
        return None;
    }
    let (invoker, number) = identity.strip_prefix(IDENTITY_PREFIX)?.rsplit_once('.')?;
    let generation: u64 = number.parse().ok()?;
    let sound = !invoker.is_empty()
        && invoker.bytes().all(|octet| octet.is_ascii_graphic())
        && generation.to_string() == number;
    sound.then(|| (ApiInvokerId::new(invoker), generation))
}

#[cfg(test)]
mod tests;
