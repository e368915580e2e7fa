//! Publication of service APIs, under the certificate of the API publishing function (TS 29.222 clause 5.3).

use capif_spec::{common::ServiceApiId, publish_service::ServiceApiDescription};
use http::{Method, StatusCode};

use super::Provider;
use crate::{
    ccf::{Answer, Call, encoded},
    error::Error,
};

impl Provider {
    /// Publishes an API (TS 29.222 clause 5.3.2.2); one of the same name that this provider published before is replaced, so that repeating it does no
    /// harm, also when two processes do it at the same time. The answer carries the id.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn publish(
        &self,
        api: &ServiceApiDescription,
    ) -> Result<ServiceApiDescription, Error> {
        if let Some(id) = self.published_as(&api.api_name).await? {
            return self.update_api(&id, api).await;
        }
        let mut new = api.clone();
        new.api_id = None;
        let call = Call::new("the publication", Method::POST, self.service_apis()).json(&new)?;
        match self.ask(&self.apf, call).await {
            Ok(answer) => described(&answer),
            // Another process of this provider may have taken the name in between.
            Err(error) if error.refused_with().is_some_and(is_of_name) => {
                match self.published_as(&api.api_name).await? {
                    Some(id) => self.update_api(&id, api).await,
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The id under which this provider has published an API of this name.
    async fn published_as(&self, name: &str) -> Result<Option<ServiceApiId>, Error> {
        let published = self.apis().await?.into_iter();
        let same = published.filter(|published| published.api_name == name);
        Ok(same.filter_map(|published| published.api_id).next())
    }

    /// Replaces the description of a published API (TS 29.222 clause 5.3.2.5).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn update_api(
        &self,
        id: &ServiceApiId,
        api: &ServiceApiDescription,
    ) -> Result<ServiceApiDescription, Error> {
        let mut api = api.clone();
        api.api_id = Some(id.clone());
        let call = Call::new(
            "the update of the publication",
            Method::PUT,
            self.service_api(id),
        )
        .json(&api)?;
        let answer = self.ask(&self.apf, call).await?;
        if answer.has_body() {
            described(&answer)
        } else {
            // 204: taken as it was sent.
            Ok(api)
        }
    }

    /// Withdraws an API (TS 29.222 clause 5.3.2.3).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn unpublish(&self, id: &ServiceApiId) -> Result<(), Error> {
        let call = Call::new("the withdrawal", Method::DELETE, self.service_api(id));
        self.ask(&self.apf, call).await.map(drop)
    }

    /// One published API; `None` if it is not there any more (TS 29.222 clause 5.3.2.4).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn api(&self, id: &ServiceApiId) -> Result<Option<ServiceApiDescription>, Error> {
        let call = Call::get("the question about a published API", self.service_api(id));
        match self.ask(&self.apf, call).await {
            Ok(answer) => described(&answer).map(Some),
            Err(error) if error.refused_with() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What this provider has published (TS 29.222 clause 5.3.2.4).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn apis(&self) -> Result<Vec<ServiceApiDescription>, Error> {
        let call = Call::get("the list of published APIs", self.service_apis());
        self.ask(&self.apf, call).await?.json()
    }

    fn service_apis(&self) -> String {
        format!(
            "/published-apis/v1/{}/service-apis",
            encoded(self.apf.id.as_str())
        )
    }

    fn service_api(&self, id: &ServiceApiId) -> String {
        format!("{}/{}", self.service_apis(), encoded(id.as_str()))
    }
}

/// Whether a publication can have been refused because the name is taken.
fn is_of_name(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::CONFLICT)
}

fn described(answer: &Answer) -> Result<ServiceApiDescription, Error> {
    let api: ServiceApiDescription = answer.json()?;
    if api.api_id.is_none() {
        return Err(answer.unusable("it gives no `apiId`"));
    }
    Ok(api)
}
