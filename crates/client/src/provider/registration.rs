//! Registration of an API provider domain (TS 23.222 clause 8.28, TS 29.222 clause 5.11.2.2).
//!
//! As with an invoker's onboarding, keys and requests are on the disk before anything is sent, so that a lost answer does not
//! cost the credential (P-08).

use capif_spec::{
    api_provider_management::{
        ApiProviderEnrolmentDetails, ApiProviderFuncRole, ApiProviderFunctionDetails,
        RegistrationInformation,
    },
    common::ApiProviderFunctionId,
};
use capif_transport::SharedClock;
use http::{Method, StatusCode};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    Provider,
    state::{Certified, NAME, Pending, Registered, Requested, State, refuse_folder_of_invoker},
};
use crate::{
    address::Address,
    ccf::{Answer, Call, Ccf, is_id},
    enrolment::Bundle,
    error::{Error, Quoted},
    invoker,
    keystore::{Keystore, KeystoreError, Locked},
};

const OPERATION: &str = "the registration";

/// How many API exposing functions are registered at once at most.
const AEFS_MAX: usize = 62;

/// The vendor member of a function's details that lists the hosts where it serves (TS 29.222 clause 7.11). Choice: the
/// standard has no attribute for the names that a certificate should carry.
pub(super) const HOSTS_MEMBER: &str = "vendorSpecific-capif";

/// What a provider registers beside its management and its publishing function.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderRequest {
    /// The names of the API exposing functions, one at least. They are for people; ids come from the CAPIF core function.
    pub aef_names: Vec<String>,
    /// Host names and IP addresses under which the API exposing functions are reached: their certificates name them.
    pub hosts: Vec<String>,
}

/// One API exposing function, reached from this machine only.
impl Default for ProviderRequest {
    fn default() -> Self {
        Self {
            aef_names: vec!["aef".to_owned()],
            hosts: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        }
    }
}

pub(super) async fn register(
    keystore: Keystore,
    bundle: &Bundle,
    request: ProviderRequest,
    clock: SharedClock,
) -> Result<Provider, Error> {
    let address: Address = bundle.address.parse()?;
    let anchors = invoker::anchors(&bundle.anchors_pem)?;
    if request.aef_names.is_empty() || request.aef_names.len() > AEFS_MAX {
        return Err(Error::Usage(format!(
            "a provider registers 1 to {AEFS_MAX} API exposing functions"
        )));
    }
    let keystore = keystore.lock().await?;
    refuse_folder_of_invoker(&keystore)?;
    let prepared = match State::load(&keystore)? {
        Some(State::Registered(held)) if held.is_at(address.as_str()) => {
            tracing::debug!(ccf = %address, "already registered: the credential is not used");
            let version = keystore.version(NAME)?;
            return Provider::assemble(keystore.clone(), *held, version, &clock);
        }
        Some(State::Registered(held)) => {
            return Err(Error::EnrolledElsewhere {
                address: held.address,
            });
        }
        Some(State::Pending(pending)) => {
            Some(pending).filter(|pending| pending.is_for(&address, &request))
        }
        None => None,
    };
    let pending = match prepared {
        Some(pending) => pending,
        None => prepare(&keystore, &address, &request)?,
    };

    // No certificate of our own yet: the credential stands for it.
    let ccf = Ccf::new(address.clone(), anchors, None, clock.clone())?;
    let call = Call::new(
        OPERATION,
        Method::POST,
        "/api-provider-management/v1/registrations".to_owned(),
    )
    .json(&details(bundle, &pending))?
    .bearer(&bundle.credential)
    .advice(advice);
    let answer = ccf.send(call).await?;
    let mut registered = accept(&keystore, bundle, &address, pending, &answer, clock.now())?;
    registered.move_to(&ccf.address());
    registered.store(&keystore)?;
    tracing::info!(domain = %registered.domain_id, ccf = registered.address, "registered");
    let version = keystore.version(NAME)?;
    Provider::assemble(keystore.clone(), registered, version, &clock)
}

impl Pending {
    /// Whether repeating this request is what is asked for now.
    fn is_for(&self, address: &Address, request: &ProviderRequest) -> bool {
        let names = self.functions.iter().skip(2).map(|function| &function.name);
        self.address == address.as_str()
            && self.hosts == request.hosts
            && names.eq(&request.aef_names)
    }
}

/// Makes the key pairs and requests, and puts all on the disk.
fn prepare(
    keystore: &Locked,
    address: &Address,
    request: &ProviderRequest,
) -> Result<Pending, Error> {
    let aefs = request
        .aef_names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.clone(), format!("aef-{index}")));
    let functions = [("amf", "amf"), ("apf", "apf")]
        .into_iter()
        .map(|(name, key)| (name.to_owned(), key.to_owned()))
        .chain(aefs)
        .map(|(name, key)| {
            let certificate_request = keystore
                .make_key(&key)?
                .request(&key)
                .map_err(KeystoreError::Key)?;
            Ok(Requested {
                name,
                key,
                certificate_request,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let pending = Pending {
        address: address.to_string(),
        hosts: request.hosts.clone(),
        functions,
    };
    State::Pending(pending.clone()).store(keystore)?;
    Ok(pending)
}

/// The role of the function at this place.
pub(super) fn role(index: usize) -> ApiProviderFuncRole {
    match index {
        0 => ApiProviderFuncRole::Amf,
        1 => ApiProviderFuncRole::Apf,
        _ => ApiProviderFuncRole::Aef,
    }
}

fn details(bundle: &Bundle, pending: &Pending) -> ApiProviderEnrolmentDetails {
    let functions = pending
        .functions
        .iter()
        .enumerate()
        .map(|(index, function)| {
            let role = role(index);
            let mut details = ApiProviderFunctionDetails {
                api_prov_func_id: None,
                reg_info: RegistrationInformation {
                    api_prov_pub_key: function.certificate_request.clone(),
                    api_prov_cert: None,
                    extra: Default::default(),
                },
                api_prov_func_role: role.clone(),
                api_prov_func_info: Some(function.name.clone()),
                extra: Default::default(),
            };
            if role == ApiProviderFuncRole::Aef {
                details
                    .extra
                    .insert(HOSTS_MEMBER.to_owned(), json!({ "hosts": pending.hosts }));
            }
            details
        });
    ApiProviderEnrolmentDetails {
        api_prov_dom_id: None,
        reg_sec: bundle.credential.clone(),
        api_prov_funcs: Some(functions.collect()),
        api_prov_dom_info: None,
        supp_feat: None,
        fail_reason: None,
        api_prov_name: Some(bundle.domain_name.clone()),
        extra: Default::default(),
    }
}

/// Takes the answer in if every function got an id and a certificate for its own key.
fn accept(
    keystore: &Locked,
    bundle: &Bundle,
    address: &Address,
    pending: Pending,
    answer: &Answer,
    now: OffsetDateTime,
) -> Result<Registered, Error> {
    let details: ApiProviderEnrolmentDetails = answer.json()?;
    let domain_id = details
        .api_prov_dom_id
        .filter(|id| is_id(id.as_str()))
        .ok_or_else(|| answer.unusable("it gives no usable `apiProvDomId`"))?;
    if let Some(reason) = &details.fail_reason {
        return Err(answer.unusable(format!(
            "not every function was registered: {}",
            Quoted(reason)
        )));
    }
    let answered = details.api_prov_funcs.unwrap_or_default();
    let mut certified = Vec::with_capacity(pending.functions.len());
    for (index, requested) in pending.functions.into_iter().enumerate() {
        certified.push(certify(
            keystore,
            address,
            role(index),
            requested,
            &answered,
            answer,
            now,
        )?);
    }
    let mut certified = certified.into_iter();
    let (Some(amf), Some(apf)) = (certified.next(), certified.next()) else {
        return Err(answer.unusable("it lists too few functions"));
    };
    Ok(Registered {
        address: address.to_string(),
        former_addresses: Vec::new(),
        superseded: false,
        anchors_pem: bundle.anchors_pem.clone(),
        domain_id,
        domain_name: bundle.domain_name.clone(),
        hosts: pending.hosts,
        amf,
        apf,
        aefs: certified.collect(),
        distrusted: Vec::new(),
        renewal: None,
        renewals: 0,
        replaced: Vec::new(),
    })
}

fn certify(
    keystore: &Locked,
    address: &Address,
    role: ApiProviderFuncRole,
    requested: Requested,
    answered: &[ApiProviderFunctionDetails],
    answer: &Answer,
    now: OffsetDateTime,
) -> Result<Certified, Error> {
    let Requested { name, key, .. } = requested;
    let private_key = keystore.key(&key)?.ok_or_else(|| KeystoreError::Damaged {
        path: keystore.folder().to_owned(),
        reason: format!("the private key `{key}` is missing"),
    })?;
    let mut of_role = answered
        .iter()
        .filter(|function| function.api_prov_func_role == role);
    // By the key, not by the place in the list: the standard does not promise an order.
    let with_own_key = of_role.clone().find(|function| {
        let certificate = function.reg_info.api_prov_cert.as_deref();
        certificate.is_some_and(|certificate| private_key.is_of(certificate))
    });
    let function = with_own_key
        .or_else(|| of_role.next())
        .ok_or_else(|| answer.unusable(format!("it lists no {role} for `{name}`")))?;
    let id: ApiProviderFunctionId = function
        .api_prov_func_id
        .clone()
        .filter(|id| is_id(id.as_str()))
        .ok_or_else(|| answer.unusable("it gives no usable `apiProvFuncId`"))?;
    let certificate_pem = function
        .reg_info
        .api_prov_cert
        .clone()
        .ok_or_else(|| answer.unusable("it holds no `apiProvCert`"))?;
    private_key
        .check(&certificate_pem, id.as_str(), now)
        .map_err(|reason| Error::WrongCertificate {
            address: address.to_string(),
            who: format!("{role} {id}"),
            reason,
        })?;
    Ok(Certified {
        id,
        name,
        key,
        certificate_pem,
    })
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "if this provider was registered before, use its folder (--dir); otherwise ask the operator of the CAPIF core function \
             for a new bundle, of a provider that keeps no folder for one that can be used again (`capif provider add NAME \
             --reusable`, or `capif provider bundle ID` for the provider that it was)"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "try again later with the same bundle"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again with the same bundle, and tell its operator if it stays"
        }
        _ => "check what was asked for, and ask the operator if it should be allowed",
    }
}
