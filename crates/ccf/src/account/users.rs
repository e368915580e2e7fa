//! The accounts themselves: how they come and go.

use capif_procedures::{
    changes::{Changes, Expect, Versioned},
    state::Account,
};
use capif_spec::common::Redacted;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{AccountError, passwords::Passwords};
use crate::{
    api::problem::ApiError,
    audit::Act,
    core::Core,
    random,
    store::{self, Fault},
};

/// The account that the first start makes.
pub(crate) const ADMINISTRATOR: &str = "admin";

/// How many accounts there may be.
const ACCOUNTS_MAX: usize = 10_000;

/// The longest name.
const NAME_MAX: usize = 64;

/// The most octets of what is known of somebody.
const PROFILE_BYTES_MAX: usize = 4096;

/// An account that somebody asks for: generation C of the deployed servers asks for all of these.
#[derive(Deserialize)]
pub(super) struct NewUser {
    pub(super) username: String,
    pub(super) password: Redacted,
    #[serde(flatten)]
    profile: Map<String, Value>,
}

/// What an administrator has to tell of a user.
const REQUIRED: [&str; 4] = ["enterprise", "country", "email", "purpose"];

impl NewUser {
    /// Says what is missing.
    pub(super) fn complete(&self) -> Result<(), AccountError> {
        let is_text = |name: &&str| self.profile.get(*name).is_some_and(Value::is_string);
        match REQUIRED.iter().find(|name| !is_text(name)) {
            None => Ok(()),
            Some(missing) => Err(AccountError::Malformed(format!(
                "`{missing}` must be there, as a text"
            ))),
        }
    }

    /// What the user says it is: the old generations know providers and invokers.
    pub(super) fn role(&self) -> Option<&str> {
        self.profile.get("role").and_then(Value::as_str)
    }
}

/// A name that may stand for an account, and for a provider domain.
fn plain_name(name: &str) -> Result<(), AccountError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(AccountError::Malformed(format!(
            "`username` has 1 to {NAME_MAX} letters, digits, `-`, `_`, `.` or `@`"
        )));
    }
    Ok(())
}

/// Makes an account.
pub(super) async fn create(
    core: &Core,
    passwords: &Passwords,
    act: Act,
    user: NewUser,
    is_administrator: bool,
) -> Result<Account, AccountError> {
    plain_name(&user.username)?;
    let size = serde_json::to_vec(&user.profile).map_or(usize::MAX, |text| text.len());
    if size > PROFILE_BYTES_MAX {
        return Err(AccountError::Malformed(format!(
            "what is said of the user is longer than {PROFILE_BYTES_MAX} octets"
        )));
    }
    // Removed, it is made again by the next start alone, which finds the name free.
    if user.username == ADMINISTRATOR && !is_administrator {
        return Err(AccountError::Taken);
    }
    let store = core.store.as_ref();
    if store::load::<Account>(store, &user.username)
        .await?
        .is_some()
    {
        return Err(AccountError::Taken);
    }
    if all(core).await?.len() >= ACCOUNTS_MAX {
        return Err(AccountError::Full);
    }
    let account = Account {
        uuid: uuid()?,
        password: passwords.hash(&user.password).await?,
        name: user.username,
        is_administrator,
        profile: user.profile,
        created: core.now(),
    };
    let mut changes = Changes::new();
    changes.put(&account, Expect::Absent);
    match core.commit(&act, changes).await {
        Ok(()) => Ok(account),
        // Somebody else took the name in the same moment.
        Err(ApiError::Busy) => Err(AccountError::Taken),
        Err(error) => Err(error.into()),
    }
}

/// Every account.
pub(super) async fn all(core: &Core) -> Result<Vec<Versioned<Account>>, Fault> {
    store::load_all::<Account>(core.store.as_ref(), "").await
}

/// The account of a name, whatever somebody takes for one.
pub(super) async fn find(core: &Core, name: &str) -> Result<Option<Versioned<Account>>, Fault> {
    if plain_name(name).is_err() {
        return Ok(None);
    }
    store::load::<Account>(core.store.as_ref(), name).await
}

/// Removes an account. What was enrolled by it stays: `capif list` tells whose it was.
pub(super) async fn remove(
    core: &Core,
    act: Act,
    held: &Versioned<Account>,
) -> Result<(), AccountError> {
    let mut changes = Changes::new();
    changes.delete::<Account>(held.record.name.clone(), Expect::At(held.revision));
    core.commit(&act, changes).await?;
    Ok(())
}

/// Gives an account another password.
pub(super) async fn set_password(
    core: &Core,
    act: Act,
    held: &Versioned<Account>,
    hash: String,
) -> Result<(), AccountError> {
    let account = Account {
        password: hash,
        ..held.record.clone()
    };
    let mut changes = Changes::new();
    changes.put(&account, Expect::At(held.revision));
    core.commit(&act, changes).await?;
    Ok(())
}

/// What may be told of an account: never its password, in whatever form.
pub(super) fn told(account: &Account) -> Value {
    let mut all = account.profile.clone();
    all.insert("username".to_owned(), json!(account.name));
    all.insert("uuid".to_owned(), json!(account.uuid));
    all.insert("administrator".to_owned(), json!(account.is_administrator));
    all.insert("onboarding_date".to_owned(), json!(account.created));
    Value::Object(all)
}

/// A UUID of version 4 (RFC 9562 section 5.4).
fn uuid() -> Result<String, random::NoRandomness> {
    let mut octets = random::octets::<16>()?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut octets;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default().to_owned();
    Ok([
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["ada", "ada.l@example.com", "A-1_b"] {
            assert!(plain_name(name).is_ok(), "{name}");
        }
        let long = "x".repeat(65);
        for name in ["", "a b", "a/b", "ä", "a\n", &long] {
            assert!(plain_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn ids_are_uuids() {
        let id = uuid().unwrap();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, uuid().unwrap());
    }

    #[test]
    fn an_administrator_tells_all_of_a_user() {
        let user = |text: &str| serde_json::from_str::<NewUser>(text).unwrap();
        let all = r#"{"username":"a","password":"b","enterprise":"c","country":"d","email":"e","purpose":"f"}"#;
        assert!(user(all).complete().is_ok());
        let less = r#"{"username":"a","password":"b","enterprise":"c","country":"d","email":5,"purpose":"f"}"#;
        let AccountError::Malformed(reason) = user(less).complete().unwrap_err() else {
            panic!("another refusal");
        };
        assert!(reason.contains("`email`"), "{reason}");
        assert_eq!(user(all).role(), None);
    }
}
