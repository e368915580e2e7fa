//! Who is signed in as an administrator: by digest, in memory. A restart signs everyone out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use capif_procedures::state::{Account, Digest};
use capif_spec::common::Redacted;
use time::{Duration, OffsetDateTime};

use crate::random::{self, NoRandomness};

/// How long an access token of the account service counts.
pub(super) const ACCESS_LIFE: Duration = Duration::minutes(10);

/// How long a refresh token counts.
const REFRESH_LIFE: Duration = Duration::hours(12);

/// How many tokens there are at a time; beyond that those that end first go.
const TOKENS_MAX: usize = 1000;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The operations of administrators.
    Access,
    /// Another access token.
    Refresh,
}

#[derive(Debug)]
struct Session {
    account: String,
    uuid: String,
    is_for: Use,
    ends: OffsetDateTime,
}

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// A token for an account.
    pub(super) fn open(
        &self,
        account: &Account,
        is_for: Use,
        now: OffsetDateTime,
    ) -> Result<Redacted, NoRandomness> {
        let token = random::secret_text(&*random::secret()?);
        let mut sessions = self.lock();
        put(
            &mut sessions,
            &token,
            Session {
                account: account.name.clone(),
                uuid: account.uuid.clone(),
                is_for,
                ends: now + is_for.life(),
            },
            now,
        );
        Ok(token)
    }

    /// Another access token for who has a refresh token that counts.
    pub(super) fn refresh(
        &self,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Redacted>, NoRandomness> {
        let access = random::secret_text(&*random::secret()?);
        let mut sessions = self.lock();
        let held = sessions.get(&digest(token));
        let Some(held) = held.filter(|held| held.counts(Use::Refresh, now)) else {
            return Ok(None);
        };
        let next = Session {
            account: held.account.clone(),
            uuid: held.uuid.clone(),
            is_for: Use::Access,
            ends: now + Use::Access.life(),
        };
        put(&mut sessions, &access, next, now);
        Ok(Some(access))
    }

    /// Name and id of the account that a token is good for.
    pub(super) fn account(
        &self,
        token: &str,
        is_for: Use,
        now: OffsetDateTime,
    ) -> Option<(String, String)> {
        let sessions = self.lock();
        let session = sessions.get(&digest(token))?;
        let known = (session.account.clone(), session.uuid.clone());
        session.counts(is_for, now).then_some(known)
    }

    /// Ends every token of an account.
    pub(super) fn end(&self, account: &str) {
        self.lock().retain(|_, session| session.account != account);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn counts(&self, is_for: Use, now: OffsetDateTime) -> bool {
        self.is_for == is_for && self.ends > now
    }
}

impl Use {
    fn life(self) -> Duration {
        match self {
            Self::Access => ACCESS_LIFE,
            Self::Refresh => REFRESH_LIFE,
        }
    }
}

fn put(
    sessions: &mut HashMap<String, Session>,
    token: &Redacted,
    session: Session,
    now: OffsetDateTime,
) {
    if sessions.len() >= TOKENS_MAX {
        sessions.retain(|_, session| session.ends > now);
    }
    while sessions.len() >= TOKENS_MAX {
        let first = sessions.iter().min_by_key(|(_, session)| session.ends);
        let Some(first) = first.map(|(digest, _)| digest.clone()) else {
            break;
        };
        sessions.remove(&first);
    }
    sessions.insert(digest(token.expose()), session);
}

fn digest(token: &str) -> String {
    Digest::of(token.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use capif_spec::common::DateTime;

    use super::*;

    fn admin(uuid: &str) -> Account {
        Account {
            name: "admin".to_owned(),
            uuid: uuid.to_owned(),
            password: String::new(),
            is_administrator: true,
            profile: Default::default(),
            created: DateTime(OffsetDateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_token_is_good_for_one_thing_and_for_its_time() {
        let sessions = Sessions::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        let access = sessions.open(&admin("1"), Use::Access, now).unwrap();
        let refresh = sessions.open(&admin("1"), Use::Refresh, now).unwrap();
        let whose = |token: &Redacted, is_for, now| {
            let signed_in = sessions.account(token.expose(), is_for, now);
            signed_in.map(|(name, uuid)| format!("{name} {uuid}"))
        };
        assert_eq!(whose(&access, Use::Access, now).as_deref(), Some("admin 1"));
        assert_eq!(whose(&access, Use::Refresh, now), None);
        assert_eq!(whose(&refresh, Use::Access, now), None);
        assert_eq!(whose(&access, Use::Access, now + ACCESS_LIFE), None);
        assert!(whose(&refresh, Use::Refresh, now + ACCESS_LIFE).is_some());

        let later = now + ACCESS_LIFE;
        assert_eq!(sessions.refresh(access.expose(), now).unwrap(), None);
        let next = sessions.refresh(refresh.expose(), later).unwrap().unwrap();
        assert_eq!(whose(&next, Use::Access, later).as_deref(), Some("admin 1"));
        let over = now + REFRESH_LIFE;
        assert_eq!(sessions.refresh(refresh.expose(), over).unwrap(), None);
        sessions.end("admin");
        assert_eq!(whose(&refresh, Use::Refresh, now), None);
        assert_eq!(whose(&next, Use::Access, later), None);
        assert_eq!(sessions.refresh(refresh.expose(), now).unwrap(), None);
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let sessions = Sessions::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        let first = sessions.open(&admin("1"), Use::Access, now).unwrap();
        for _ in 0..TOKENS_MAX {
            let later = now + Duration::seconds(1);
            sessions.open(&admin("1"), Use::Access, later).unwrap();
        }
        assert_eq!(sessions.account(first.expose(), Use::Access, now), None);
        assert_eq!(sessions.lock().len(), TOKENS_MAX);
    }
}
