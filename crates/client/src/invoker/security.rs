//! Negotiation of security methods (TS 33.122 clause 6.3, TS 29.222 clause 5.6.2.2).
//!
//! A request replaces the whole context at the CAPIF core function, so it repeats the wishes made before. They are in the
//! keystore, and the keystore is locked meanwhile: two processes of one invoker do not undo each other's wishes.

use std::sync::{Arc, PoisonError};

use capif_spec::{
    common::{AefId, Extra, ServiceApiId, SupportedFeatures},
    publish_service::SecurityMethod,
    security::{SecurityInformation, ServiceSecurity},
    vendor::{self, MethodTerms, PskProfile},
};
use http::{Method, StatusCode};

use super::{
    Invoker,
    agreement::{Agreement, Held, Way},
    settlement::Fault,
    standing::Standing,
    state::{Onboarded, State},
};
use crate::{
    ccf::{Answer, Call, encoded},
    discovery::Route,
    error::Error,
    keystore::Locked,
};

/// What a negotiation is called in messages.
pub(super) const OPERATION: &str = "the negotiation of security methods";

/// How many entries are sent at most.
const ENTRIES_MAX: usize = 256;

/// Feature bit 3 of the security API, SecurityInfoPerAPI: entries name single APIs (TS 29.222 table 8.5.6-1).
const SECURITY_INFO_PER_API: &str = "4";

/// The methods of this client, the preferred one first.
const METHODS: [SecurityMethod; 3] = [
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
    SecurityMethod::Psk,
];

/// What an invoker would like to use at one AEF.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The AEF.
    pub aef_id: AefId,
    /// One API there; all that the AEF exposes if absent.
    pub api_id: Option<ServiceApiId>,
    /// The methods, the preferred one first; if there is none, PKI before OAUTH before PSK.
    pub preferred: Vec<SecurityMethod>,
    /// How a key of Method 1 is derived, should PSK be selected (TS 33.122 clause A.1); as the CAPIF core function likes if
    /// absent. [`PskProfile::A1Tls12`] makes the negotiation use TLS 1.2.
    pub profile: Option<PskProfile>,
}

impl Wish {
    /// The wish for any method of all that an AEF exposes.
    #[must_use]
    pub fn at(aef_id: AefId) -> Self {
        Self {
            aef_id,
            api_id: None,
            preferred: Vec::new(),
            profile: None,
        }
    }
}

impl Invoker {
    /// Agrees on the method for each AEF with the CAPIF core function (TS 29.222 clause 5.6.2.2, TS 33.122 clause 6.3.1.2). What was
    /// agreed on for others stays.
    ///
    /// # Errors
    /// Refuses wishes for a method that this client does not have; otherwise says why the CAPIF core function did not agree, or
    /// why its answer cannot be used. That it found no common method for an AEF is no error here: the entry in the answer then
    /// names none.
    pub async fn negotiate(&self, wishes: &[Wish]) -> Result<ServiceSecurity, Error> {
        self.tend().await;
        let _one_at_a_time = self.shared.negotiation.lock().await;
        let context = self.negotiate_now(wishes).await?.context.clone();
        context.ok_or_else(|| self.unusable("it names nothing that was asked for"))
    }

    /// What was agreed on last, by this process or another; `None` before the first negotiation.
    pub fn security_context(&self) -> Option<ServiceSecurity> {
        self.held().context.clone()
    }

    /// The same in short, with the keys of Method 1 by their names.
    pub fn agreements(&self) -> Vec<Agreement> {
        self.held().agreements()
    }

    /// How to call at a route, negotiated if it is not known yet. A key that is about to end is renewed; as long as it is good
    /// nobody waits for that, and nobody is refused because it did not work.
    pub(super) async fn way(&self, route: &Route, api: &str) -> Result<Way, Error> {
        if let Some(way) = self.known_way(route) {
            if self.is_due(&way)
                && let Ok(_one_at_a_time) = self.shared.negotiation.try_lock()
            {
                return Ok(self.by_fresh_key(route).await.unwrap_or(way));
            }
            return Ok(way);
        }
        let _one_at_a_time = self.shared.negotiation.lock().await;
        // Another call may have done it while this one waited, or another process.
        if let Some(way) = self.known_way(route) {
            return Ok(way);
        }
        self.reread()?;
        if let Some(way) = self.known_way(route) {
            return Ok(way);
        }
        self.negotiate_now(&[self.wish(route)]).await?;
        self.require(route, api)
    }

    /// How to call at a route whose key is about to end: by a new one, if there can be one.
    async fn by_fresh_key(&self, route: &Route) -> Option<Way> {
        if let Err(error) = self.replace_key(route).await {
            tracing::warn!(aef = %route.aef_id, %error, "a key that is about to end was not renewed");
        }
        self.known_way(route)
    }

    async fn replace_key(&self, route: &Route) -> Result<(), Error> {
        // Another process may have done it.
        self.reread()?;
        if self.known_way(route).is_some_and(|way| self.is_due(&way)) {
            self.shared.key_renewals.note();
            self.negotiate_now(&[self.wish(route)]).await?;
        }
        Ok(())
    }

    /// Agrees anew on a route. The caller sees to it that it is the only one.
    pub(super) async fn negotiate_now(&self, wishes: &[Wish]) -> Result<Arc<Held>, Error> {
        let mut turn = self.turn();
        loop {
            let result = self.negotiate_once(&turn.standing, wishes).await;
            if !self.helps(&mut turn, result.as_ref().err()).await? {
                return result;
            }
        }
    }

    async fn negotiate_once(
        &self,
        standing: &Standing,
        wishes: &[Wish],
    ) -> Result<Arc<Held>, Error> {
        if wishes.is_empty() || wishes.len() > ENTRIES_MAX {
            return Err(Error::Usage(format!(
                "name 1 to {ENTRIES_MAX} AEFs to negotiate about"
            )));
        }
        let wished = wishes.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let keystore = self.shared.keystore.lock().await?;
        let mut state = self.own_state(&keystore)?;
        let before = repeated(&state, &wished);
        let known = state.security.is_some();
        let all: Vec<_> = wished.iter().chain(&before).cloned().collect();
        let (sent, answer) = match self.ask(standing, known, &all).await {
            // An AEF of former times that is gone must not stand in the way of the new ones.
            Err(error) if !before.is_empty() && is_about_content(&error) => {
                let answer = self.ask(standing, known, &wished).await?;
                (wished.clone(), answer)
            }
            result => (all, result?),
        };
        let settled = self.settle(standing, &sent, &answer).await?;
        state.security = Some(settled.context);
        state.keys = settled.keys;
        state.keys_under = standing.renewals;
        state.negotiations = state.negotiations.saturating_add(1);
        let held = Arc::new(Held::fresh(&state));
        State::Onboarded(state).store(&keystore)?;
        self.hold(Arc::clone(&held));
        self.standing().tokens.clear();
        let about_a_wish = |fault: &&Fault| {
            wished
                .iter()
                .any(|wish| wish.aef_id.as_ref() == Some(&fault.aef_id))
        };
        for fault in &settled.faults {
            tracing::warn!(aef = %fault.aef_id, fault.reason, "what was answered for an AEF cannot be used");
        }
        match settled.faults.iter().find(about_a_wish) {
            Some(fault) => {
                let reason = format!("about AEF `{}`, {}", fault.aef_id, fault.reason);
                Err(self.unusable(&reason))
            }
            None => Ok(held),
        }
    }

    pub(super) fn own_state(&self, keystore: &Locked) -> Result<Box<Onboarded>, Error> {
        match State::load(keystore)? {
            Some(State::Onboarded(state))
                if state.details.api_invoker_id.as_ref() == Some(&self.shared.id) =>
            {
                Ok(state)
            }
            _ => Err(self.replaced()),
        }
    }

    pub(super) fn replaced(&self) -> Error {
        Error::Usage(
            "the enrolment in this folder was replaced by another one meanwhile: open it anew"
                .to_owned(),
        )
    }

    async fn ask(
        &self,
        standing: &Standing,
        known: bool,
        security_info: &[SecurityInformation],
    ) -> Result<Answer, Error> {
        let per_api = security_info.iter().any(|entry| entry.api_id.is_some());
        let request = ServiceSecurity {
            security_info: security_info.to_vec(),
            notification_destination: standing.details.notification_destination.clone(),
            request_test_notification: None,
            websock_notif_config: None,
            supported_features: per_api.then(|| SupportedFeatures::from(SECURITY_INFO_PER_API)),
            extra: Default::default(),
        };
        let ccf = if security_info
            .iter()
            .any(|entry| profile(entry) == Some(PskProfile::A1Tls12))
        {
            &standing.negotiator_tls12
        } else {
            &standing.negotiator
        };
        let context = format!(
            "/capif-security/v1/trustedInvokers/{}",
            encoded(self.shared.id.as_str())
        );
        if known {
            let call =
                Call::new(OPERATION, Method::POST, format!("{context}/update")).json(&request)?;
            match ccf.send(call).await {
                // The CAPIF core function has none: it was revoked, or never arrived.
                Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => {}
                result => return result,
            }
        }
        let call = Call::new(OPERATION, Method::PUT, context).json(&request)?;
        ccf.send(call).await
    }

    /// Takes over what another process agreed on in the same folder; says whether there was anything.
    pub(super) fn reread(&self) -> Result<bool, Error> {
        let before = self.held();
        let state = match State::load(&self.shared.keystore)? {
            Some(State::Onboarded(state))
                if state.details.api_invoker_id.as_ref() == Some(&self.shared.id) =>
            {
                state
            }
            // Whoever negotiates next is told.
            _ => return Ok(false),
        };
        if state.negotiations == before.negotiations {
            return Ok(false);
        }
        self.hold(Arc::new(Held::kept(&state, &before)));
        self.standing().tokens.clear();
        Ok(true)
    }

    pub(super) fn held(&self) -> Arc<Held> {
        let held = self
            .shared
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    fn hold(&self, held: Arc<Held>) {
        *self
            .shared
            .held
            .write()
            .unwrap_or_else(PoisonError::into_inner) = held;
    }

    pub(super) fn known_way(&self, route: &Route) -> Option<Way> {
        let revision = self.standing().revision;
        self.held().way(route, self.shared.clock.now(), revision)
    }

    fn is_due(&self, way: &Way) -> bool {
        match &way.carried {
            super::agreement::Carried::Psk(key) => {
                key.psk.is_due(self.shared.clock.now()) && self.shared.key_renewals.may_try()
            }
            _ => false,
        }
    }

    pub(super) fn require(&self, route: &Route, api: &str) -> Result<Way, Error> {
        self.known_way(route).ok_or_else(|| Error::NoCommonMethod {
            api: api.to_owned(),
            selected: self
                .held()
                .entry(route)
                .and_then(|entry| entry.sel_security_method.clone()),
        })
    }

    /// The wish for a route: what was wished for before, or anything that this client can do.
    pub(super) fn wish(&self, route: &Route) -> Wish {
        let held = self.held();
        let before = held.entry(route);
        let mut preferred =
            before.map_or_else(Vec::new, |entry| entry.pref_security_methods.clone());
        preferred.retain(|method| METHODS.contains(method));
        Wish {
            aef_id: route.aef_id.clone(),
            api_id: route.api_id.clone(),
            preferred,
            profile: before.and_then(profile),
        }
    }

    fn unusable(&self, reason: &str) -> Error {
        Error::BadAnswer {
            operation: OPERATION,
            address: self.standing().ccf.address().to_string(),
            reason: reason.to_owned(),
        }
    }
}

/// The wishes of former times, which a request repeats: one for each AEF and API, also where the answer was divided by
/// interface.
fn repeated(state: &Onboarded, wished: &[SecurityInformation]) -> Vec<SecurityInformation> {
    let mut repeated: Vec<SecurityInformation> = Vec::new();
    let held = state
        .security
        .iter()
        .flat_map(|context| &context.security_info)
        .filter(|entry| entry.aef_id.is_some());
    for entry in held {
        let known = wished
            .iter()
            .chain(&repeated)
            .any(|other| same_subject(other, entry));
        if !known && repeated.len() + wished.len() < ENTRIES_MAX {
            repeated.push(SecurityInformation {
                extra: terms(profile(entry)),
                ..information(
                    entry.aef_id.clone(),
                    entry.api_id.clone(),
                    entry.pref_security_methods.clone(),
                )
            });
        }
    }
    repeated
}

fn entry(wish: &Wish) -> Result<SecurityInformation, Error> {
    if let Some(method) = wish
        .preferred
        .iter()
        .find(|method| !METHODS.contains(method))
    {
        return Err(Error::Usage(format!(
            "this client cannot do security method {method}: leave it out, and wish for PKI, OAUTH or PSK"
        )));
    }
    let pref_security_methods = if wish.preferred.is_empty() {
        METHODS.to_vec()
    } else {
        wish.preferred.clone()
    };
    Ok(SecurityInformation {
        extra: terms(wish.profile),
        ..information(
            Some(wish.aef_id.clone()),
            wish.api_id.clone(),
            pref_security_methods,
        )
    })
}

/// An entry of a request.
fn information(
    aef_id: Option<AefId>,
    api_id: Option<ServiceApiId>,
    pref_security_methods: Vec<SecurityMethod>,
) -> SecurityInformation {
    SecurityInformation {
        interface_details: None,
        aef_id,
        api_id,
        pref_security_methods,
        sel_security_method: None,
        authentication_info: None,
        authorization_info: None,
        grant_type: None,
        extra: Default::default(),
    }
}

/// What an entry says beyond the standard.
fn terms(profile: Option<PskProfile>) -> Extra {
    let mut extra = Extra::new();
    if let Some(profile) = profile {
        let terms = serde_json::json!({ "pskProfile": profile });
        extra.insert(vendor::MEMBER.to_owned(), terms);
    }
    extra
}

/// The profile that an entry of ours asks for.
pub(super) fn profile(entry: &SecurityInformation) -> Option<PskProfile> {
    MethodTerms::of(entry).ok()?.psk_profile
}

fn same_subject(one: &SecurityInformation, other: &SecurityInformation) -> bool {
    one.aef_id == other.aef_id && one.api_id == other.api_id
}

fn is_about_content(error: &Error) -> bool {
    matches!(
        error.refused_with(),
        Some(StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    )
}
