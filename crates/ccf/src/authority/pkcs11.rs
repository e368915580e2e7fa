//! The issuing key in a PKCS#11 token: a hardware security module, a smart card, or SoftHSM. The key is made inside, marked as
//! one that never leaves, and only digests are sent there to be signed.
//!
//! One session serves everybody, one after the other; it is opened when it is first needed, and anew when the token was away. A
//! PIN that the token refused is not tried twice, since tokens lock after a few wrong ones.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use pkcs8::der::{
    Decode, Encode,
    asn1::{ObjectIdentifier, OctetStringRef, SequenceOf, UintRef},
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use super::custody::Passphrase;
use crate::random::{self, NoRandomness};

/// What a key file begins with that names a key in a token (RFC 7512 section 2.3).
const SCHEME: &str = "pkcs11:";

/// The label of the keys that are made.
const LABEL: &str = "capif-issuing";

/// The length of the identifier of a key that is made, in octets.
const ID_BYTES: usize = 16;

/// The longest identifier that is read.
const ID_BYTES_MAX: usize = 64;

/// `secp256r1` (RFC 5480 section 2.1.1.1).
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// An uncompressed point of P-256: a mark and two coordinates of 32 octets.
const POINT_BYTES: usize = 65;

/// Half an ECDSA signature of P-256, in octets.
const HALF_BYTES: usize = 32;

/// The token does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module is not to be had.
    #[error(
        "the PKCS#11 module {module} cannot be used: {source}; check `[custody] pkcs11_module`"
    )]
    Module {
        /// The module.
        module: PathBuf,
        /// Why.
        source: Error,
    },
    /// There is no such token.
    #[error(
        "there is no PKCS#11 token with the label `{0}`: plug it in, or check `[custody] pkcs11_token`"
    )]
    Absent(String),
    /// The PIN is not to be had.
    #[error("the PIN of the PKCS#11 token cannot be read: {0}")]
    NoPin(String),
    /// The token does not take the PIN.
    #[error(
        "the PKCS#11 token `{0}` refuses the PIN: correct the file that `[custody] pkcs11_pin_file` names; this PIN is not tried again, so that the token does not lock"
    )]
    Pin(String),
    /// The key is not there, or another one than it should be.
    #[error("the PKCS#11 token `{token}` holds no P-256 key pair with the id {id}")]
    NoKey {
        /// The token.
        token: String,
        /// The identifier.
        id: String,
    },
    /// What names the key cannot be read.
    #[error(
        "a reference to a key in a token reads `pkcs11:object=…;id=%01%02…;type=private`, and this one has no id of 1 to 64 octets"
    )]
    Reference,
    /// Anything else that the token says.
    #[error("the PKCS#11 token: {0}")]
    Refused(#[from] Error),
    /// What the token answers is malformed.
    #[error("the PKCS#11 token answers with a malformed {0}")]
    Malformed(&'static str),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Whether a key file names a key in a token.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// A token, and the session with it.
pub struct Token {
    module: PathBuf,
    label: String,
    pin_file: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Open>,
    refused_pin: Option<Zeroizing<String>>,
}

/// A session, and the private keys that were found in it.
struct Open {
    session: Session,
    keys: BTreeMap<Vec<u8>, ObjectHandle>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Token {
    pub(super) fn new(module: &Path, label: &str, pin_file: &Path) -> Self {
        Self {
            module: module.to_owned(),
            label: label.to_owned(),
            pin_file: pin_file.to_owned(),
            state: Mutex::default(),
        }
    }

    /// Takes a key pair out of the token; twice does no harm.
    pub(super) fn erase(&self, reference: &str) -> Result<(), TokenError> {
        let id = id_of(reference)?;
        self.with(|open| {
            open.keys.remove(&id);
            for object in open.session.find_objects(&[Attribute::Id(id.clone())])? {
                open.session.destroy_object(object)?;
            }
            Ok(())
        })
    }

    /// Works in the session. What fails is tried once more in a new one, since the token may have been away.
    fn with<T>(
        &self,
        mut work: impl FnMut(&mut Open) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let mut state = self.state();
        if let Some(open) = &mut state.session {
            match work(open) {
                Ok(done) => return Ok(done),
                Err(error) => {
                    tracing::warn!(token = self.label, %error, "opening a new session with the token");
                    state.session = None;
                }
            }
        }
        let mut open = self.open(&mut state)?;
        let done = work(&mut open)?;
        state.session = Some(open);
        Ok(done)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Holds after a panic too: a session is either there and open or gets replaced.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, state: &mut State) -> Result<Open, TokenError> {
        let module = loaded(&self.module)?;
        let mut found = None;
        for slot in module.get_slots_with_token()? {
            if module.get_token_info(slot)?.label() == self.label {
                found = Some(slot);
            }
        }
        let slot = found.ok_or_else(|| TokenError::Absent(self.label.clone()))?;
        let session = module.open_rw_session(slot)?;
        let pin = Passphrase::read(&self.pin_file)
            .map_err(|error| TokenError::NoPin(error.to_string()))?;
        let pin = Zeroizing::new(pin.text().to_owned());
        if state.refused_pin.as_ref() == Some(&pin) {
            return Err(TokenError::Pin(self.label.clone()));
        }
        match session.login(UserType::User, Some(&AuthPin::from(pin.as_str()))) {
            // Another session of this process has logged in: that counts for all of them.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Error::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinLocked,
                _,
            )) => {
                state.refused_pin = Some(pin);
                return Err(TokenError::Pin(self.label.clone()));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Open {
            session,
            keys: BTreeMap::new(),
        })
    }

    fn no_key(&self, id: &[u8]) -> TokenError {
        TokenError::NoKey {
            token: self.label.clone(),
            id: id.iter().map(|octet| format!("{octet:02x}")).collect(),
        }
    }
}

/// Modules that are in use. They stay loaded: a library that is taken away while another part of the process uses it leaves
/// nothing good behind.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

fn loaded(path: &Path) -> Result<Pkcs11, TokenError> {
    let unusable = |source| TokenError::Module {
        module: path.to_owned(),
        source,
    };
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    let module = match modules.get(path) {
        Some(module) => module.clone(),
        None => {
            let module = Pkcs11::new(path).map_err(unusable)?;
            modules.insert(path.to_owned(), module.clone());
            module
        }
    };
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(unusable(error)),
    }
}

/// A P-256 key pair in a token.
pub struct TokenKey {
    token: Arc<Token>,
    id: Vec<u8>,
    point: Vec<u8>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Makes a key pair that cannot leave the token.
    pub(super) fn make(token: &Arc<Token>) -> Result<Self, TokenError> {
        let id = random::octets::<ID_BYTES>()?.to_vec();
        let curve = P256
            .to_der()
            .map_err(|_| TokenError::Malformed("name of a curve"))?;
        let point = token.with(|open| {
            let name = [
                Attribute::Token(true),
                Attribute::Id(id.clone()),
                Attribute::Label(LABEL.as_bytes().to_vec()),
            ];
            let mut public = name.to_vec();
            public.extend([
                Attribute::Private(false),
                Attribute::Verify(true),
                Attribute::EcParams(curve.clone()),
            ]);
            let mut private = name.to_vec();
            private.extend([
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ]);
            let (public, private) =
                open.session
                    .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
            open.keys.insert(id.clone(), private);
            point_of(&open.session, public)
        })?;
        Ok(Self {
            token: Arc::clone(token),
            id,
            point,
        })
    }

    /// Finds the key pair that a key file names.
    pub(super) fn find(token: &Arc<Token>, reference: &str) -> Result<Self, TokenError> {
        let id = id_of(reference)?;
        let point = token.with(|open| {
            private_key(open, &id)?.ok_or_else(|| token.no_key(&id))?;
            let public = open.session.find_objects(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::EC),
                Attribute::Id(id.clone()),
            ])?;
            let public = public.first().ok_or_else(|| token.no_key(&id))?;
            point_of(&open.session, *public)
        })?;
        Ok(Self {
            token: Arc::clone(token),
            id,
            point,
        })
    }

    /// The text that names the key pair.
    pub(super) fn reference(&self) -> String {
        let id: String = self
            .id
            .iter()
            .map(|octet| format!("%{octet:02x}"))
            .collect();
        format!("{SCHEME}object={LABEL};id={id};type=private")
    }
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let digest = digest(&SHA256, message);
        let signed = self.token.with(|open| {
            let key = private_key(open, &self.id)?.ok_or_else(|| self.token.no_key(&self.id))?;
            let raw = open.session.sign(&Mechanism::Ecdsa, key, digest.as_ref())?;
            in_der(&raw).ok_or(TokenError::Malformed("signature"))
        });
        signed.map_err(|error| {
            tracing::error!(%error, "the issuing key in the token did not sign");
            rcgen::Error::RemoteKeyError
        })
    }
}

fn private_key(open: &mut Open, id: &[u8]) -> Result<Option<ObjectHandle>, TokenError> {
    if let Some(key) = open.keys.get(id) {
        return Ok(Some(*key));
    }
    let found = open.session.find_objects(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Id(id.to_vec()),
    ])?;
    if let Some(key) = found.first() {
        open.keys.insert(id.to_vec(), *key);
    }
    Ok(found.first().copied())
}

fn point_of(session: &Session, public: ObjectHandle) -> Result<Vec<u8>, TokenError> {
    let attributes = session.get_attributes(public, &[AttributeType::EcPoint])?;
    let Some(Attribute::EcPoint(octets)) = attributes.into_iter().next() else {
        return Err(TokenError::Malformed("public key"));
    };
    let is_point = |octets: &[u8]| octets.len() == POINT_BYTES && octets.first() == Some(&4);
    // By the standard an OCTET STRING around the point; some tokens leave that away.
    match OctetStringRef::from_der(&octets) {
        Ok(inner) if is_point(inner.as_bytes()) => Ok(inner.as_bytes().to_vec()),
        _ if is_point(&octets) => Ok(octets),
        _ => Err(TokenError::Malformed("public key")),
    }
}

/// `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) of the two halves that a token gives.
fn in_der(raw: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = raw.split_at_checked(HALF_BYTES)?;
    if s.len() != HALF_BYTES {
        return None;
    }
    let mut value = SequenceOf::<UintRef<'_>, 2>::new();
    value.add(UintRef::new(r).ok()?).ok()?;
    value.add(UintRef::new(s).ok()?).ok()?;
    value.to_der().ok()
}

/// Reads the identifier out of a reference.
fn id_of(reference: &str) -> Result<Vec<u8>, TokenError> {
    let id = reference
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.split(';').find_map(|part| part.strip_prefix("id=")))
        .and_then(|id| id.strip_prefix('%'))
        .ok_or(TokenError::Reference)?;
    let octets: Result<Vec<u8>, _> = id
        .split('%')
        .map(|digits| {
            let hexadecimal =
                digits.len() == 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
            match u8::from_str_radix(digits, 16) {
                Ok(octet) if hexadecimal => Ok(octet),
                _ => Err(TokenError::Reference),
            }
        })
        .collect();
    octets.and_then(|octets| match octets.len() {
        1..=ID_BYTES_MAX => Ok(octets),
        _ => Err(TokenError::Reference),
    })
}

#[cfg(test)]
pub(super) mod tests;
