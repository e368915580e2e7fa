//! Negotiation of security methods (TS 33.122 clause 6.3, TS 29.222 clause 5.6.2.2).
//!
//! A request replaces the whole context at the CAPIF core function, so it repeats the wishes made before. They are in the
//! keystore, and the keystore is locked meanwhile: two processes of one invoker do not undo each other's wishes.

use capif_spec::{
    common::{AefId, ServiceApiId, SupportedFeatures},
    publish_service::SecurityMethod,
    security::{SecurityInformation, ServiceSecurity},
};
use http::{Method, StatusCode};

use super::{Invoker, state::State};
use crate::{
    ccf::{Call, encoded},
    discovery::Route,
    error::Error,
};

/// How many entries are sent at most.
const ENTRIES_MAX: usize = 256;

/// Feature bit 3 of the security API, SecurityInfoPerAPI: entries name single APIs (TS 29.222 table 8.5.6-1).
const SECURITY_INFO_PER_API: &str = "4";

/// The methods of this client, the preferred one first. Method 1 (TLS-PSK) is not among them.
const METHODS: [SecurityMethod; 2] = [SecurityMethod::Pki, SecurityMethod::Oauth];

/// What an invoker would like to use at one AEF.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// The AEF.
    pub aef_id: AefId,
    /// One API there; all that the AEF exposes if absent.
    pub api_id: Option<ServiceApiId>,
    /// The methods, the preferred one first; if there is none, PKI before OAUTH. PSK is refused: this client cannot do it.
    pub preferred: Vec<SecurityMethod>,
}

/// A method that this client can carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Method 2 (TS 33.122 clause 6.5.2.2).
    Pki,
    /// Method 3 (TS 33.122 clause 6.5.2.3).
    Oauth,
}

impl Invoker {
    /// Agrees on the method for each AEF with the CAPIF core function. What was agreed on for others stays.
    ///
    /// # Errors
    /// Refuses wishes for a method that this client does not have; otherwise says why the CAPIF core function did not agree.
    /// That it found no common method for an AEF is no error here: the entry in the answer then names none.
    pub async fn negotiate(&self, wishes: &[Wish]) -> Result<ServiceSecurity, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        self.negotiate_now(wishes).await
    }

    /// What was agreed on last, by this process or another; `None` before the first negotiation.
    pub fn security_context(&self) -> Option<ServiceSecurity> {
        self.security
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// The method for a route, negotiated if it is not known yet.
    pub(super) async fn method(&self, route: &Route, api: &str) -> Result<Carried, Error> {
        if let Some(method) = self.agreed(route).and_then(carried) {
            return Ok(method);
        }
        let _one_at_a_time = self.negotiation.lock().await;
        // Another call may have done it while this one waited.
        let held = self.agreed(route);
        if let Some(method) = held.clone().and_then(carried) {
            return Ok(method);
        }
        self.negotiate_now(&[wish(route, held)]).await?;
        self.require(route, api)
    }

    /// Asks the CAPIF core function where the API is and which method counts there now, since an AEF said that `used` does
    /// not (TS 33.122 clause 6.7). `false` if it was asked about this AEF less than a minute ago: then nothing new is to be
    /// expected (P-28).
    pub(super) async fn recover(
        &self,
        route: &Route,
        api: &str,
        path: &str,
        used: Carried,
    ) -> Result<bool, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let held = self.agreed(route);
        // Another call may have recovered while this one waited.
        if held
            .clone()
            .and_then(carried)
            .is_some_and(|method| method != used)
        {
            return Ok(true);
        }
        if !self.recoveries.begin(&route.aef_id, self.clock.now()) {
            return Ok(false);
        }
        tracing::info!(aef = %route.aef_id, "the AEF says that another security method counts: asking the CAPIF core function");
        self.forget_api(api);
        let now = self.route(api, path).await?;
        if now.aef_id == route.aef_id {
            self.negotiate_now(&[wish(&now, held)]).await?;
            self.require(&now, api)?;
        }
        Ok(true)
    }

    async fn negotiate_now(&self, wishes: &[Wish]) -> Result<ServiceSecurity, Error> {
        if wishes.is_empty() || wishes.len() > ENTRIES_MAX {
            return Err(Error::Usage(format!(
                "name 1 to {ENTRIES_MAX} AEFs to negotiate about"
            )));
        }
        let wished = wishes.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let keystore = self.keystore.lock().await?;
        let mut state = match State::load(&keystore)? {
            Some(State::Onboarded(state))
                if state.details.api_invoker_id.as_ref() == Some(&self.id) =>
            {
                state
            }
            _ => {
                return Err(Error::Usage(
                    "the enrolment in this folder was replaced by another one meanwhile: open it anew".to_owned(),
                ));
            }
        };
        let before: Vec<SecurityInformation> = state
            .security
            .iter()
            .flat_map(|context| &context.security_info)
            .filter(|held| {
                held.aef_id.is_some() && !wished.iter().any(|wished| same_subject(wished, held))
            })
            .map(|held| {
                let preferred = held.pref_security_methods.clone();
                information(held.aef_id.clone(), held.api_id.clone(), preferred)
            })
            .take(ENTRIES_MAX.saturating_sub(wished.len()))
            .collect();
        let known = state.security.is_some();
        let all = wished.iter().chain(&before).cloned().collect();
        let agreed = match self.ask(known, all).await {
            // An AEF of former times that is gone must not stand in the way of the new ones.
            Err(error) if !before.is_empty() && is_about_content(&error) => {
                self.ask(known, wished).await?
            }
            result => result?,
        };
        state.security = Some(agreed.clone());
        State::Onboarded(state).store(&keystore)?;
        *self
            .security
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(agreed.clone());
        self.tokens.clear();
        Ok(agreed)
    }

    async fn ask(
        &self,
        known: bool,
        security_info: Vec<SecurityInformation>,
    ) -> Result<ServiceSecurity, Error> {
        const OPERATION: &str = "the negotiation of security methods";
        let per_api = security_info.iter().any(|entry| entry.api_id.is_some());
        let request = ServiceSecurity {
            security_info,
            notification_destination: self.details.notification_destination.clone(),
            request_test_notification: None,
            websock_notif_config: None,
            supported_features: per_api.then(|| SupportedFeatures::from(SECURITY_INFO_PER_API)),
            extra: Default::default(),
        };
        let context = format!(
            "/capif-security/v1/trustedInvokers/{}",
            encoded(self.id.as_str())
        );
        if known {
            let call =
                Call::new(OPERATION, Method::POST, format!("{context}/update")).json(&request)?;
            match self.ccf.send(call).await {
                // The CAPIF core function has none: it was revoked, or never arrived.
                Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => {}
                result => return result?.json(),
            }
        }
        let call = Call::new(OPERATION, Method::PUT, context).json(&request)?;
        self.ccf.send(call).await?.json()
    }

    fn agreed(&self, route: &Route) -> Option<SecurityInformation> {
        let context = self
            .security
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let entries = &context.as_ref()?.security_info;
        let of_aef = |entry: &&SecurityInformation| entry.aef_id.as_ref() == Some(&route.aef_id);
        entries
            .iter()
            .filter(of_aef)
            .find(|entry| entry.api_id.is_some() && entry.api_id == route.api_id)
            .or_else(|| {
                entries
                    .iter()
                    .filter(of_aef)
                    .find(|entry| entry.api_id.is_none())
            })
            .cloned()
    }

    fn require(&self, route: &Route, api: &str) -> Result<Carried, Error> {
        let agreed = self.agreed(route);
        let selected = agreed
            .as_ref()
            .and_then(|entry| entry.sel_security_method.clone());
        agreed
            .and_then(carried)
            .ok_or_else(|| Error::NoCommonMethod {
                api: api.to_owned(),
                selected,
            })
    }
}

/// The wish for a route: what was wished for before, or anything that this client can do.
fn wish(route: &Route, before: Option<SecurityInformation>) -> Wish {
    let mut preferred = before.map_or_else(Vec::new, |entry| entry.pref_security_methods);
    preferred.retain(|method| METHODS.contains(method));
    Wish {
        aef_id: route.aef_id.clone(),
        api_id: route.api_id.clone(),
        preferred,
    }
}

fn entry(wish: &Wish) -> Result<SecurityInformation, Error> {
    if let Some(method) = wish
        .preferred
        .iter()
        .find(|method| !METHODS.contains(method))
    {
        return Err(Error::Usage(format!(
            "this client cannot do security method {method}: leave it out, and wish for PKI, OAUTH or both"
        )));
    }
    let pref_security_methods = if wish.preferred.is_empty() {
        METHODS.to_vec()
    } else {
        wish.preferred.clone()
    };
    Ok(information(
        Some(wish.aef_id.clone()),
        wish.api_id.clone(),
        pref_security_methods,
    ))
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

/// The method of an entry if this client wished for it: another one is not obeyed, whoever names it.
fn carried(entry: SecurityInformation) -> Option<Carried> {
    let selected = entry.sel_security_method?;
    if !entry.pref_security_methods.contains(&selected) {
        return None;
    }
    match selected {
        SecurityMethod::Pki => Some(Carried::Pki),
        SecurityMethod::Oauth => Some(Carried::Oauth),
        _ => None,
    }
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
