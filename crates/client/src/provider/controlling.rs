//! How an API exposing function controls the use of an API (TS 23.222 clauses 8.17 and 8.23): the policy that counts for an
//! invoker (TS 29.222 clause 5.7), allowances of calls, and the end of an authorization (TS 29.222 clause 5.6.2.5).

use capif_spec::{
    access_control_policy::{AccessControlPolicyList, ApiInvokerPolicy},
    common::{ApiInvokerId, ServiceApiId},
    security::{Cause, SecurityNotification},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::Provider;
use crate::{
    ccf::{Call, encoded},
    error::Error,
};

/// What the CAPIF core function lets through of the calls that were asked for. Choice: the standard leaves open how the
/// functions of one AEF share a limit; here each call is asked for at the place that counts them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// How many calls may go on.
    pub granted: u32,
    /// Which limit holds back the rest, if one does.
    #[serde(default)]
    pub exhausted: Option<Limit>,
    /// After how many milliseconds the next call may be asked for, if that is known.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// A limit of an access control policy (TS 29.222 clause 8.6.4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// How many calls in all.
    Total,
    /// How many calls within a second.
    Rate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wanted<'a> {
    api_invoker_id: &'a ApiInvokerId,
    wanted: u32,
}

impl Provider {
    /// What an invoker may do with an API at the first API exposing function (TS 29.222 clause 5.7.2.2); `None` if no policy
    /// limits it.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn access_control_policy(
        &self,
        api: &ServiceApiId,
        invoker: &ApiInvokerId,
    ) -> Result<Option<ApiInvokerPolicy>, Error> {
        let path = format!(
            "/access-control-policy/v1/accessControlPolicyList/{}?aef-id={}&api-invoker-id={}",
            encoded(api.as_str()),
            encoded(self.aef().id.as_str()),
            encoded(invoker.as_str())
        );
        let call = Call::get("the question about an access control policy", path);
        let list: AccessControlPolicyList = match self.ask(self.aef(), call).await {
            Ok(answer) => answer.json()?,
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut policies = list.api_invoker_policies.unwrap_or_default().into_iter();
        Ok(policies.find(|policy| policy.api_invoker_id == *invoker))
    }

    /// Asks for calls of an invoker that has a limit. What is granted counts as used, whatever becomes of it.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function, and for an answer that grants more than was asked for.
    pub async fn allowance(
        &self,
        api: &ServiceApiId,
        invoker: &ApiInvokerId,
        wanted: u32,
    ) -> Result<Allowance, Error> {
        let path = format!("/capif-allowances/v1/{}", encoded(api.as_str()));
        let call =
            Call::new("the question for an allowance", Method::POST, path).json(&Wanted {
                api_invoker_id: invoker,
                wanted,
            })?;
        let answer = self.ask(self.aef(), call).await?;
        let allowance: Allowance = answer.json()?;
        if allowance.granted > wanted {
            return Err(answer.unusable("it grants more calls than were asked for"));
        }
        Ok(allowance)
    }

    /// Asks for the end of an invoker's authorization for these APIs at the first API exposing function (TS 29.222 clause
    /// 5.6.2.5); `false` if there was none.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn revoke(
        &self,
        invoker: &ApiInvokerId,
        apis: Vec<ServiceApiId>,
        cause: Cause,
    ) -> Result<bool, Error> {
        let path = format!(
            "/capif-security/v1/trustedInvokers/{}/delete",
            encoded(invoker.as_str())
        );
        let notice = SecurityNotification {
            api_invoker_id: invoker.clone(),
            aef_id: Some(self.aef().id.clone()),
            api_ids: apis,
            access_token: None,
            cause,
            extra: Default::default(),
        };
        let call = Call::new("the revocation", Method::POST, path).json(&notice)?;
        match self.ask(self.aef(), call).await {
            Ok(_) => Ok(true),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
