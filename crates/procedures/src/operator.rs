//! Who may speak for the operator over the network: credentials that are made one by one, each with a name and an end. There is none
//! to begin with (P-37).

use capif_spec::common::DateTime;
use time::Duration;

use crate::{
    changes::{Changes, Expect, Versioned},
    refusal::Refusal,
    state::{Digest, OperatorCredential},
};

/// How many credentials there may be, those that have ended included.
pub const CREDENTIALS_MAX: usize = 1000;

/// The longest life of a credential, in days.
pub const DAYS_MAX: u32 = 1095;

/// The longest name.
const NAME_BYTES_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// The name on every act that is done with it.
    pub name: &'a str,
    /// Whether nothing may be changed with it.
    pub read_only: bool,
    /// For how many days it counts.
    pub days: u32,
}

/// Makes a credential of a token. One of the same name that has ended makes room.
///
/// # Errors
/// Refuses a name that is not plain or is taken, a life beyond the bounds, and too many credentials.
pub fn add(
    wish: &Wish<'_>,
    token: Digest,
    same_name: Option<&Versioned<OperatorCredential>>,
    count: usize,
    now: &DateTime,
) -> Result<(OperatorCredential, Changes), Refusal> {
    let name = wish.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err(Refusal::incorrect(
            "/name",
            "an operator's name has 1 to 64 letters, digits, `-`, `_`, `.` or `@`",
        ));
    }
    if !(1..=DAYS_MAX).contains(&wish.days) {
        return Err(Refusal::incorrect(
            "/days",
            format!("`days` is from 1 to {DAYS_MAX}"),
        ));
    }
    let expect = match same_name {
        None if count >= CREDENTIALS_MAX => {
            return Err(Refusal::TooMany {
                what: "operator credentials",
                limit: CREDENTIALS_MAX,
            });
        }
        None => Expect::Absent,
        Some(held) if held.record.expires <= *now => Expect::At(held.revision),
        Some(_) => {
            let name = name.to_owned();
            return Err(Refusal::OperatorNameTaken { name });
        }
    };
    let credential = OperatorCredential {
        name: name.to_owned(),
        token,
        read_only: wish.read_only,
        created: now.clone(),
        expires: DateTime(now.0 + Duration::days(i64::from(wish.days))),
    };
    let mut changes = Changes::new();
    changes.put(&credential, expect);
    Ok((credential, changes))
}

/// Takes a credential back; it is refused from then on.
///
/// # Errors
/// Says when there is none of this name.
pub fn remove(held: Option<&Versioned<OperatorCredential>>) -> Result<Changes, Refusal> {
    let held = held.ok_or(Refusal::NotFound { what: "operator" })?;
    let mut changes = Changes::new();
    changes.delete::<OperatorCredential>(held.record.name.as_str(), Expect::At(held.revision));
    Ok(changes)
}

/// Finds the credential of a token, if it counts.
///
/// # Errors
/// Refuses a token of nobody, and one whose time is over.
pub fn recognise<'a>(
    token: &Digest,
    credentials: impl Iterator<Item = &'a OperatorCredential>,
    now: &DateTime,
) -> Result<&'a OperatorCredential, Refusal> {
    // Every one is compared, so that the time that it takes says nothing.
    let found = credentials.fold(None, |found, held| {
        let is_it = held.token == *token;
        if is_it { Some(held) } else { found }
    });
    let credential = found.ok_or(Refusal::CredentialRefused)?;
    if credential.expires <= *now {
        return Err(Refusal::CredentialExpired);
    }
    Ok(credential)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Change, Revision};

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    fn wish(name: &str) -> Wish<'_> {
        Wish {
            name,
            read_only: false,
            days: 90,
        }
    }

    fn held(name: &str, token: &[u8], now: &DateTime) -> Versioned<OperatorCredential> {
        let (record, _) = add(&wish(name), Digest::of(token), None, 0, now).unwrap();
        Versioned {
            record,
            revision: Revision(7),
        }
    }

    #[test]
    fn a_credential_counts_until_it_ends_or_is_removed() {
        let now = at("2026-01-01T00:00:00Z");
        let amy = held("amy", b"one", &now);
        let bob = held("bob", b"two", &now);
        let all = [&amy.record, &bob.record];
        let find = |token: &[u8], now| recognise(&Digest::of(token), all.into_iter(), now);
        assert_eq!(find(b"two", &now).unwrap().name, "bob");
        assert_eq!(find(b"three", &now), Err(Refusal::CredentialRefused));
        let last = at("2026-03-31T23:59:59Z");
        assert_eq!(find(b"one", &last).unwrap().name, "amy");
        let end = at("2026-04-01T00:00:00Z");
        assert_eq!(find(b"one", &end), Err(Refusal::CredentialExpired));
        assert_eq!(
            find(b"three", &end),
            Err(Refusal::CredentialRefused),
            "whether one has ended is told to its holder alone"
        );

        assert_eq!(remove(None), Err(Refusal::NotFound { what: "operator" }));
        let changes = remove(Some(&amy)).unwrap();
        assert!(matches!(
            changes.steps.as_slice(),
            [Change::Delete { key, expect: Expect::At(Revision(7)) }] if key.id == "amy"
        ));
    }

    #[test]
    fn names_and_lives_have_bounds() {
        let now = at("2026-01-01T00:00:00Z");
        let token = || Digest::of(b"token");
        let long = "a".repeat(65);
        for name in ["", "a b", "a/b", "a\n", "é", long.as_str()] {
            let refused = add(&wish(name), token(), None, 0, &now);
            assert!(
                matches!(&refused, Err(Refusal::Malformed { pointer, .. }) if pointer == "/name"),
                "{name:?}: {refused:?}"
            );
        }
        for days in [0, DAYS_MAX + 1] {
            let wish = Wish {
                days,
                ..wish("amy")
            };
            assert!(add(&wish, token(), None, 0, &now).is_err(), "{days}");
        }
        let full = add(&wish("amy"), token(), None, CREDENTIALS_MAX, &now);
        assert!(matches!(full, Err(Refusal::TooMany { .. })));
    }

    #[test]
    fn a_name_is_free_again_once_its_credential_has_ended() {
        let now = at("2026-01-01T00:00:00Z");
        let before = held("amy", b"one", &now);
        let add = |now: &DateTime| {
            let token = Digest::of(b"two");
            add(&wish("amy"), token, Some(&before), CREDENTIALS_MAX, now)
        };
        assert!(matches!(add(&now), Err(Refusal::OperatorNameTaken { name }) if name == "amy"));
        let (_, changes) = add(&at("2026-04-01T00:00:00Z")).unwrap();
        assert!(matches!(
            changes.steps.as_slice(),
            [Change::Put {
                expect: Expect::At(Revision(7)),
                ..
            }]
        ));
    }
}
