//! Method 1 at the invoker: AEF_PSK, derived from the exchange that selected it (TS 33.122 clauses 6.5.2.1 and A.1).
//!
//! The CAPIF core function says by which identity the key is known, until when it is good and for which interface; the key is
//! derived here from the very connection that carried its answer and never travels (D-09). What is said must fit what was
//! asked: the profile that was wished for, an identity of this invoker, and an interface that discovery shows at the AEF that
//! was meant. Anything else is given up whole.

use std::sync::OnceLock;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_procedures::aefpsk::{self, Facts};
use capif_spec::{
    common::{AefId, ApiInvokerId, Redacted, ServiceApiId},
    json,
    publish_service::SecurityMethod,
    security::SecurityInformation,
    vendor::PskProfile,
};
use capif_transport::{Client, Psk, PskCredential, PskVersion, Session};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// How long before its end a key is renewed at the latest.
const MARGIN: Duration = Duration::minutes(5);

/// The part of its life that is left when a long-lived key is renewed: a tenth.
const MARGIN_PART: i32 = 10;

/// The longest life that is believed, since what was read as a time may be anything.
const LIFE_MAX: Duration = Duration::weeks(52);

/// `authenticationInfo` for an entry with PSK (D-08).
#[derive(Deserialize)]
struct Announced {
    method: SecurityMethod,
    profile: String,
    #[serde(rename = "pskId")]
    identity: String,
    #[serde(rename = "exp")]
    ends: i64,
    tls: String,
    interface: String,
}

/// What the invoker knows by itself about a key that is announced to it.
pub(super) struct Meant<'a> {
    pub(super) invoker: &'a ApiInvokerId,
    pub(super) aef_id: &'a AefId,
    pub(super) api_id: Option<&'a ServiceApiId>,
    /// The profile that was asked for, if one was.
    pub(super) profile: Option<PskProfile>,
    /// The interfaces at which the key may be used.
    pub(super) interfaces: &'a [String],
    /// The connection that carried the answer.
    pub(super) session: Option<&'a Session>,
    pub(super) now: OffsetDateTime,
}

/// A key with all that is needed to use it, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AefPsk {
    pub(super) identity: String,
    pub(super) aef_id: AefId,
    pub(super) api_id: Option<ServiceApiId>,
    /// The one interface that it is for, in the form that went into it.
    pub(super) interface: String,
    pub(super) profile: PskProfile,
    tls: String,
    /// Base64url.
    key: Redacted,
    /// In seconds since 1970, as all times here.
    begins: i64,
    ends: i64,
}

impl AefPsk {
    /// Takes up the key that an entry announces.
    ///
    /// # Errors
    /// Says what does not fit; nothing of the entry is to be kept then.
    pub(super) fn take(
        entry: &SecurityInformation,
        meant: &Meant<'_>,
    ) -> Result<Self, &'static str> {
        let text = entry
            .authentication_info
            .as_deref()
            .ok_or("it says nothing about the key")?;
        let announced: Announced = json::from_slice(text.as_bytes())
            .map_err(|_| "what it says about the key cannot be read")?;
        if announced.method != SecurityMethod::Psk {
            return Err("what it says about the key is about another method");
        }
        let profile: PskProfile = announced
            .profile
            .parse()
            .map_err(|_| "the key is to be derived by a profile that this client does not know")?;
        if meant.profile.is_some_and(|wanted| wanted != profile) {
            return Err("the key is to be derived by another profile than was asked for");
        }
        let own =
            aefpsk::invoker_of(&announced.identity).is_some_and(|(id, _)| id == *meant.invoker);
        if !own {
            return Err("the identity of the key is not one of this invoker");
        }
        let _known: PskVersion = announced
            .tls
            .parse()
            .map_err(|_| "it names no version of TLS for the key")?;
        if !meant.interfaces.contains(&announced.interface) {
            return Err("the key is for an interface that discovery does not show at this AEF");
        }
        let begins = meant.now.unix_timestamp();
        if announced.ends <= begins {
            return Err("the key has expired, by this machine's clock");
        }
        let session = meant
            .session
            .ok_or("the connection gives nothing to derive the key from")?;
        let key = derive(session, profile, &announced.interface)?;
        Ok(Self {
            identity: announced.identity,
            aef_id: meant.aef_id.clone(),
            api_id: meant.api_id.cloned(),
            interface: announced.interface,
            profile,
            tls: announced.tls,
            key: Redacted::new(BASE64_URL_SAFE_NO_PAD.encode(key.as_slice())),
            begins,
            ends: announced
                .ends
                .min(begins.saturating_add(LIFE_MAX.whole_seconds())),
        })
    }

    /// When it ends.
    pub(super) fn end(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.ends).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The version of TLS that it is used in; `None` if it was damaged.
    pub(super) fn version(&self) -> Option<PskVersion> {
        self.tls.parse().ok()
    }

    pub(super) fn is_good(&self, now: OffsetDateTime) -> bool {
        now < self.end()
    }

    /// Whether to replace it: five minutes before its end, or when a tenth of its life is left, whichever comes first; half of
    /// a very short life is used in any case.
    pub(super) fn is_due(&self, now: OffsetDateTime) -> bool {
        let life = Duration::seconds(self.ends.saturating_sub(self.begins));
        let margin = (life / MARGIN_PART).max(MARGIN).min(life / 2);
        now >= self.end() - margin
    }

    fn credential(&self) -> Option<PskCredential> {
        let octets = BASE64_URL_SAFE_NO_PAD
            .decode(self.key.expose())
            .map(Zeroizing::new)
            .ok()?;
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(octets.as_slice().try_into().ok()?);
        Some(PskCredential {
            identity: self.identity.clone(),
            key: Psk::new(*key),
            version: self.version()?,
        })
    }
}

fn derive(
    session: &Session,
    profile: PskProfile,
    interface: &str,
) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let facts = match profile {
        PskProfile::A1Exporter => Facts {
            profile,
            key: session.exported_key(),
            session_id: session.exported_id(),
        },
        PskProfile::A1Tls12 => {
            let literal = session.tls12().ok_or(
                "the connection is not one of TLS 1.2 with an extended master secret and an id from the server",
            )?;
            Facts {
                profile,
                key: literal.master_secret,
                session_id: literal.session_id,
            }
        }
    };
    aefpsk::derive(&facts, interface).map_err(|_| "the key cannot be derived")
}

/// A key in use: its connections end with it.
pub(super) struct Key {
    pub(super) psk: AefPsk,
    client: OnceLock<Client>,
    /// Whether the AEF was told that a handshake with it is coming; locked while it is being told.
    pub(super) announced: tokio::sync::Mutex<bool>,
}

impl Key {
    /// A key that was derived just now: the AEF cannot know it yet.
    pub(super) fn fresh(psk: AefPsk) -> Self {
        Self {
            psk,
            client: OnceLock::new(),
            announced: tokio::sync::Mutex::new(false),
        }
    }

    /// A key that was kept.
    pub(super) fn kept(psk: AefPsk) -> Self {
        Self {
            announced: tokio::sync::Mutex::new(true),
            ..Self::fresh(psk)
        }
    }

    /// The client that proves itself by this key; `None` if what was kept is damaged.
    pub(super) fn client(&self) -> Option<Client> {
        if let Some(client) = self.client.get() {
            return Some(client.clone());
        }
        let credential = self.psk.credential()?;
        let client = Client::psk(credential, capif_transport::ClientLimits::default()).ok()?;
        Some(self.client.get_or_init(|| client).clone())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("identity", &self.psk.identity)
            .field("interface", &self.psk.interface)
            .finish_non_exhaustive()
    }
}
