//! Who is signed in as an administrator: by digest, in memory. A restart signs everyone out.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use capif_procedures::state::Digest;
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
        account: &str,
        is_for: Use,
        now: OffsetDateTime,
    ) -> Result<Redacted, NoRandomness> {
        let token = random::secret_text(&*random::secret()?);
        let life = match is_for {
            Use::Access => ACCESS_LIFE,
            Use::Refresh => REFRESH_LIFE,
        };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let session = Session {
            account: account.to_owned(),
            is_for,
            ends: now + life,
        };
        sessions.insert(digest(token.expose()), session);
        Ok(token)
    }

    /// The account that a token is good for.
    pub(super) fn account(&self, token: &str, is_for: Use, now: OffsetDateTime) -> Option<String> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&digest(token))?;
        (session.is_for == is_for && session.ends > now).then(|| session.account.clone())
    }

    /// Ends every token of an account.
    pub(super) fn end(&self, account: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.account != account);
    }
}

fn digest(token: &str) -> String {
    Digest::of(token.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_thing_and_for_its_time() {
        let sessions = Sessions::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        let access = sessions.open("admin", Use::Access, now).unwrap();
        let refresh = sessions.open("admin", Use::Refresh, now).unwrap();
        let whose = |token: &Redacted, is_for, now| sessions.account(token.expose(), is_for, now);
        assert_eq!(whose(&access, Use::Access, now).as_deref(), Some("admin"));
        assert_eq!(whose(&access, Use::Refresh, now), None);
        assert_eq!(whose(&refresh, Use::Access, now), None);
        assert_eq!(whose(&access, Use::Access, now + ACCESS_LIFE), None);
        assert!(whose(&refresh, Use::Refresh, now + ACCESS_LIFE).is_some());
        sessions.end("admin");
        assert_eq!(whose(&refresh, Use::Refresh, now), None);
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let sessions = Sessions::default();
        let now = OffsetDateTime::UNIX_EPOCH;
        let first = sessions.open("admin", Use::Access, now).unwrap();
        for _ in 0..TOKENS_MAX {
            let later = now + Duration::seconds(1);
            sessions.open("admin", Use::Access, later).unwrap();
        }
        assert_eq!(sessions.account(first.expose(), Use::Access, now), None);
        assert_eq!(sessions.0.lock().unwrap().len(), TOKENS_MAX);
    }
}
