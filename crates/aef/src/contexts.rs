//! What the CCF says of each API invoker (TS 33.122 clause 6.5.1, D-37): asked once, believed for a short while, forgotten when
//! an event says so.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use capif_client::Provider;
use capif_spec::{
    common::ApiInvokerId, json, publish_service::SecurityMethod, security::ServiceSecurity,
};
use capif_transport::SharedClock;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

/// From this age on the CCF is asked again.
const FRESH: Duration = Duration::seconds(30);

/// Beyond this age nothing is believed, whatever the CCF's state (D-37).
const AGE_MAX: Duration = Duration::seconds(60);

/// How long it is believed that the CCF knows nothing of somebody.
const UNKNOWN_AGE_MAX: Duration = Duration::seconds(1);

/// How often within [`DOUBT_PERIOD`] the CCF is asked about one invoker because of calls that would be refused. More than once,
/// since an invoker that is refused negotiates and comes back at once.
const DOUBTS_MAX: u32 = 3;

const DOUBT_PERIOD: Duration = Duration::seconds(1);

/// How many invokers are remembered.
const INVOKERS_MAX: usize = 200_000;

/// How long the CCF may take to answer.
const ANSWER_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// How often an answer that was overtaken by an event is asked for again.
const ATTEMPTS_MAX: usize = 4;

/// What an invoker may do at this AEF.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Authorization {
    /// The method that counts, by API.
    pub(crate) methods: HashMap<String, SecurityMethod>,
    /// The APIs whose method has changed since the invoker negotiated (TS 33.122 clause 6.7).
    pub(crate) outdated: HashSet<String>,
    /// Tokens of an earlier generation are dead.
    pub(crate) generation: u64,
    /// SHA-256 of the certificate that counts, when one does.
    pub(crate) certificate: Option<String>,
}

/// `authorizationInfo` to an AEF (D-08).
#[derive(Deserialize)]
struct AuthorizationInfo {
    #[serde(rename = "gen")]
    generation: u64,
    apis: Vec<String>,
    #[serde(default)]
    outdated: Vec<String>,
}

/// The part of `authenticationInfo` that counts for Method 2.
#[derive(Deserialize)]
struct AuthenticationInfo {
    #[serde(default, rename = "x5t#S256")]
    certificate: Option<String>,
}

/// How often calls that would be refused made the gateway ask, and since when.
#[derive(Clone, Copy, Default)]
struct Doubts {
    since: Option<OffsetDateTime>,
    count: u32,
}

impl Doubts {
    /// Counts one more, unless there were enough lately.
    fn one_more(self, now: OffsetDateTime) -> Option<Self> {
        let lately = |since| (Duration::ZERO..DOUBT_PERIOD).contains(&(now - since));
        match self.since.filter(|since| lately(*since)) {
            Some(_) if self.count >= DOUBTS_MAX => None,
            Some(since) => Some(Self {
                since: Some(since),
                count: self.count.saturating_add(1),
            }),
            None => Some(Self {
                since: Some(now),
                count: 1,
            }),
        }
    }
}

struct Held {
    asked: OffsetDateTime,
    doubts: Doubts,
    authorization: Option<Arc<Authorization>>,
}

/// The authorization of an invoker is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("the CAPIF core function did not tell")]
pub(crate) struct Unavailable;

/// All that is remembered.
pub(crate) struct Contexts {
    provider: Arc<Provider>,
    held: Mutex<HashMap<ApiInvokerId, Held>>,
    /// Grows with everything that is forgotten: an answer asked for before is not kept after.
    forgotten: AtomicU64,
    asking: Mutex<HashMap<ApiInvokerId, Arc<tokio::sync::Mutex<()>>>>,
    /// When a question was last not answered.
    failed: Mutex<Option<Instant>>,
    clock: SharedClock,
}

/// One who asks or waits for the answer; the last one takes the gate away.
struct Asking<'a> {
    contexts: &'a Contexts,
    id: &'a ApiInvokerId,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Asking<'a> {
    fn new(contexts: &'a Contexts, id: &'a ApiInvokerId) -> Self {
        let gate = Arc::clone(lock(&contexts.asking).entry(id.clone()).or_default());
        Self { contexts, id, gate }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asking = lock(&self.contexts.asking);
        // The map's own and this one.
        if Arc::strong_count(&self.gate) <= 2 {
            asking.remove(self.id);
        }
    }
}

impl Contexts {
    pub(crate) fn new(provider: Arc<Provider>, clock: SharedClock) -> Self {
        Self {
            failed: Mutex::default(),
            clock,
            provider,
            held: Mutex::default(),
            forgotten: AtomicU64::new(0),
            asking: Mutex::default(),
        }
    }

    /// What an invoker may do; `None` when the CCF knows of nothing. One question at a time per invoker.
    pub(crate) async fn of(
        &self,
        id: &ApiInvokerId,
    ) -> Result<Option<Arc<Authorization>>, Unavailable> {
        if let Some(fresh) = self.at_hand(id, FRESH) {
            return Ok(fresh);
        }
        let began = Instant::now();
        let asking = Asking::new(self, id);
        let _one_at_a_time = asking.gate.lock().await;
        match self.at_hand(id, FRESH) {
            Some(fresh) => Ok(fresh),
            // Who waited while a question went unanswered does not put it again at once.
            None if self.failed_since(began) => self.at_hand(id, AGE_MAX).ok_or(Unavailable),
            None => self.ask(id, Doubts::default()).await,
        }
    }

    fn failed_since(&self, began: Instant) -> bool {
        lock(&self.failed).is_some_and(|failed| failed >= began)
    }

    /// The same when what is at hand would refuse the caller, or is older than the caller's token: the CCF is asked whether it
    /// still holds, for one invoker a few times a second at most. So an invoker that negotiated anew need not wait until what the
    /// gateway remembers is old (TS 33.122 clause 6.7).
    pub(crate) async fn again(
        &self,
        id: &ApiInvokerId,
    ) -> Result<Option<Arc<Authorization>>, Unavailable> {
        let doubts = match lock(&self.held).get_mut(id) {
            None => Doubts::default(),
            Some(known) => match known.doubts.one_more(self.clock.now()) {
                None => return Ok(known.authorization.clone()),
                Some(doubts) => {
                    known.doubts = doubts;
                    doubts
                }
            },
        };
        self.ask(id, doubts).await
    }

    async fn ask(
        &self,
        id: &ApiInvokerId,
        doubts: Doubts,
    ) -> Result<Option<Arc<Authorization>>, Unavailable> {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.forgotten.load(Ordering::SeqCst);
            // What is answered holds from the question on.
            let now = self.clock.now();
            let question = tokio::time::timeout(ANSWER_TIME, self.provider.security_context(id));
            let answer = match question.await {
                Ok(Ok(context)) => context,
                failure => {
                    let reason = match failure {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer in time".to_owned(),
                    };
                    *lock(&self.failed) = Some(Instant::now());
                    tracing::warn!(invoker = %id, reason, "the CAPIF core function was not asked about an invoker");
                    // What is not yet too old still counts.
                    return self.at_hand(id, AGE_MAX).ok_or(Unavailable);
                }
            };
            let authorization = answer.map(|context| Arc::new(read(&context)));
            let mut held = lock(&self.held);
            if self.forgotten.load(Ordering::SeqCst) != before {
                continue;
            }
            if held.len() >= INVOKERS_MAX {
                held.retain(|_, held| now - held.asked < AGE_MAX);
            }
            if held.len() < INVOKERS_MAX {
                let authorization = authorization.clone();
                held.insert(
                    id.clone(),
                    Held {
                        asked: now,
                        doubts,
                        authorization,
                    },
                );
            }
            return Ok(authorization);
        }
        Err(Unavailable)
    }

    fn at_hand(&self, id: &ApiInvokerId, age_max: Duration) -> Option<Option<Arc<Authorization>>> {
        let now = self.clock.now();
        let held = lock(&self.held);
        let held = held.get(id)?;
        let age_max = if held.authorization.is_some() {
            age_max
        } else {
            UNKNOWN_AGE_MAX
        };
        let age = now - held.asked;
        (age < age_max && !age.is_negative()).then(|| held.authorization.clone())
    }

    /// Forgets an invoker (TS 33.122 clause 6.8 step 8).
    pub(crate) fn forget(&self, id: &ApiInvokerId) {
        let mut held = lock(&self.held);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        held.remove(id);
    }

    /// Forgets everyone.
    pub(crate) fn forget_all(&self) {
        let mut held = lock(&self.held);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        held.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the CCF's answer. What cannot be read grants nothing.
fn read(context: &ServiceSecurity) -> Authorization {
    let mut authorization = Authorization::default();
    for entry in &context.security_info {
        let rights: Option<AuthorizationInfo> = entry
            .authorization_info
            .as_ref()
            .and_then(|text| json::from_slice(text.as_bytes()).ok());
        let (Some(rights), Some(method)) = (rights, &entry.sel_security_method) else {
            continue;
        };
        authorization.generation = authorization.generation.max(rights.generation);
        authorization.outdated.extend(rights.outdated);
        for api in rights.apis {
            authorization.methods.insert(api, method.clone());
        }
        if *method == SecurityMethod::Pki {
            authorization.certificate = entry
                .authentication_info
                .as_ref()
                .and_then(|text| json::from_slice::<AuthenticationInfo>(text.as_bytes()).ok())
                .and_then(|information| information.certificate);
        }
    }
    authorization
}
