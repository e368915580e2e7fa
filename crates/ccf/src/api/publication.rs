//! CAPIF_Publish_Service_API (TS 29.222 clause 8.2).

use std::sync::Arc;

use capif_procedures::{
    changes::Versioned,
    publication,
    refusal::Refusal,
    state::{ProviderDomain, ProviderFunction, Role, ServiceApi},
};
use capif_spec::{
    common::{Checked, ServiceApiId},
    publish_service::ServiceApiDescription,
};
use http::StatusCode;

use super::{Answer, Call, created, json_answer, no_content};
use crate::{random, view::Records};

/// `POST {apfId}/service-apis`.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let description: ServiceApiDescription = call.checked()?;
        let id = ServiceApiId::new(random::id("API")?);
        let apf = call.caller.function()?;
        let api = call
            .core
            .transact(&call.act(id.as_str()), |records| {
                publication::room(records.catalogue().count_in(&apf.domain_id))?;
                let is_aef = |aef: &str| is_aef_of(records, apf, aef);
                let (mut changes, api) = publication::publish(
                    description.clone(),
                    apf,
                    id.clone(),
                    terms(&call, records, &is_aef),
                    records.subscriptions(),
                    &call.now,
                )?;
                publication::within(&mut changes, domain_of(records, apf)?);
                Ok((changes, api))
            })
            .await?;
        let path = format!("/published-apis/v1/{}/service-apis/{id}", apf.id);
        created(&call.core, &path, api.as_published())
    })
}

/// `GET {apfId}/service-apis`.
pub(crate) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let apf = call.caller.function()?;
        let records = call.core.view.read();
        let own: Vec<&ServiceApiDescription> = records
            .catalogue()
            .of_apf(&apf.id)
            .into_iter()
            .map(ServiceApi::as_published)
            .collect();
        json_answer(StatusCode::OK, &own)
    })
}

/// `GET {apfId}/service-apis/{serviceApiId}`.
pub(crate) fn get(call: Call) -> Answer {
    Box::pin(async move {
        let records = call.core.view.read();
        let held = own(&call, &records)?;
        json_answer(StatusCode::OK, held.record.as_published())
    })
}

/// `PUT {apfId}/service-apis/{serviceApiId}`.
pub(crate) fn replace(call: Call) -> Answer {
    Box::pin(async move {
        let description: ServiceApiDescription = call.checked()?;
        update(&call, |_| Ok(description.clone())).await
    })
}

/// `PATCH {apfId}/service-apis/{serviceApiId}`.
pub(crate) fn modify(call: Call) -> Answer {
    Box::pin(async move {
        let patch: serde_json::Map<String, serde_json::Value> = call.json()?;
        update(&call, |held| {
            let description = publication::patched(held, &patch)?;
            description
                .check()
                .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
            Ok(description)
        })
        .await
    })
}

/// `DELETE {apfId}/service-apis/{serviceApiId}`.
pub(crate) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        call.core
            .transact(&call.act(call.parameter(1)), |records| {
                let held = own(&call, records)?;
                let (rules, subscriptions) = (records.hidings(), records.subscriptions());
                let changes = publication::unpublish(held, rules, subscriptions, &call.now);
                Ok((changes, ()))
            })
            .await?;
        Ok(no_content())
    })
}

async fn update(
    call: &Call,
    description: impl Fn(&ServiceApi) -> Result<ServiceApiDescription, Refusal>,
) -> Result<http::Response<capif_transport::Body>, super::problem::ApiError> {
    let apf = call.caller.function()?;
    let api = call
        .core
        .transact(&call.act(call.parameter(1)), |records| {
            let held = own(call, records)?;
            let is_aef = |aef: &str| is_aef_of(records, apf, aef);
            publication::replace(
                held,
                description(&held.record)?,
                domain_of(records, apf)?,
                terms(call, records, &is_aef),
                records.subscriptions(),
                &call.now,
            )
        })
        .await?;
    json_answer(StatusCode::OK, api.as_published())
}

fn terms<'a>(
    call: &'a Call,
    records: &'a Records,
    is_aef: &'a dyn Fn(&str) -> bool,
) -> publication::Terms<'a> {
    publication::Terms {
        is_aef,
        rules: records.hidings(),
        ccf_id: &call.core.ccf_id,
    }
}

fn domain_of<'a>(
    records: &'a Records,
    apf: &ProviderFunction,
) -> Result<&'a Versioned<ProviderDomain>, Refusal> {
    let domain = records.domain(apf.domain_id.as_str());
    Ok(domain.ok_or(Refusal::CertificateUnknown)?)
}

/// The API that the path names, when it is the caller's.
fn own<'a>(call: &Call, records: &'a Records) -> Result<&'a Arc<Versioned<ServiceApi>>, Refusal> {
    let apf = call.caller.function()?;
    records
        .api(call.parameter(1))
        .filter(|held| held.record.apf_id == apf.id)
        .ok_or(Refusal::NotFound {
            what: "service API",
        })
}

fn is_aef_of(records: &Records, apf: &ProviderFunction, id: &str) -> bool {
    records
        .function(id)
        .is_some_and(|held| held.record.role == Role::Aef && held.record.domain_id == apf.domain_id)
}
