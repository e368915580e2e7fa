//! One message by POST: in a way that was judged, through redirects that are judged anew, within bounds (P-34, P-35).

use std::{sync::Arc, time::Duration};

use capif_procedures::state::Role;
use capif_transport::{
    Anchors, Body, Bounds, Client, ClientError, ClientLimits, ClientTls, Expected, Identity,
    SharedClock, collect, full,
};
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::parcel::{Parcel, Target};
use crate::{
    authority::{AuthorityError, presence::Outgoing},
    ccf::StartError,
    core::Core,
    destination::{Way, redirected},
};

/// How long a receiver may take to answer, redirects included.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 3;

/// How much of an answer's content is read, so that the connection can go on. What is longer ends it.
const CONTENT_BYTES_MAX: usize = 4 * 1024;

/// How long that may take.
const CONTENT_TIME: Duration = Duration::from_millis(500);

/// Most octets of an answer that a receiver can send before anybody asks for them.
const WINDOW_BYTES: u32 = 64 * 1024;

/// The clients for the ways that there are.
pub(super) struct Post {
    own: Arc<Outgoing>,
    /// Absent where the operator allows nothing.
    allowed: Option<Arc<Outgoing>>,
    /// Absent where the operator allows nothing without TLS.
    insecure: Option<Client>,
}

impl Post {
    /// Makes the clients. They show the CCF's own certificate.
    pub(super) fn new(core: &Arc<Core>) -> Result<Self, StartError> {
        let has_allowed = !core.config.callbacks.allow.is_empty();
        let has_insecure = !core.config.callbacks.insecure_http.is_empty();
        Ok(Self {
            own: own(core)?,
            allowed: has_allowed.then(|| allowed(core)).transpose()?,
            insecure: has_insecure.then(|| insecure(core)),
        })
    }

    /// Sends a message, and says why it is not acknowledged.
    pub(super) async fn send(&self, core: &Core, parcel: &Parcel) -> Result<(), String> {
        match tokio::time::timeout(ANSWER_TIME, self.exchange(core, parcel)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("the receiver did not answer in time".to_owned()),
        }
    }

    async fn exchange(&self, core: &Core, parcel: &Parcel) -> Result<(), String> {
        let Target::Post(destination, ways) = &parcel.target else {
            return Err("it does not go by POST".to_owned());
        };
        let (mut destination, mut ways) = (destination.clone(), ways.clone());
        for _ in 0..=REDIRECTS_MAX {
            let response = self.request(&destination, &ways, parcel).await?;
            let status = response.status();
            if status.is_success() {
                // The status acknowledges; the rest matters to the connection alone.
                let _rest = collect(response.into_body(), CONTENT_BYTES_MAX, CONTENT_TIME).await;
                return Ok(());
            }
            let moved = [
                StatusCode::TEMPORARY_REDIRECT,
                StatusCode::PERMANENT_REDIRECT,
            ];
            if !moved.contains(&status) {
                return Err(format!("the receiver answered {status}"));
            }
            let location = response.headers().get(header::LOCATION);
            destination = location
                .and_then(|location| location.to_str().ok())
                .and_then(|location| redirected(&destination, location))
                .ok_or_else(|| format!("the receiver answered {status} and names no place"))?;
            ways = {
                let records = core.view.read();
                core.ways(&records, &parcel.receiver, &destination, parcel.content)
            };
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    }

    /// Asks in the ways that are open, one after the other: where a host counts in both, its certificate says which one it is.
    async fn request(
        &self,
        destination: &str,
        ways: &[Way],
        parcel: &Parcel,
    ) -> Result<Response<Body>, String> {
        let mut last = format!("nothing may be sent to {destination}");
        for way in ways {
            let client = match way {
                Way::Own => Some(self.own.client()),
                Way::Allowed => self.allowed.as_ref().map(|allowed| allowed.client()),
                Way::Insecure => self.insecure.clone(),
            };
            let Some(client) = client else { continue };
            let mut request = Request::new(full(parcel.body.clone()));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = destination.parse().map_err(|_| last.clone())?;
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            match client.request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    last = error.to_string();
                    if !matches!(error, ClientError::Tls(_) | ClientError::Request(_)) {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

/// Of the functions of providers AEFs alone are certified to serve.
fn own(core: &Arc<Core>) -> Result<Arc<Outgoing>, StartError> {
    let clock = Arc::clone(&core.clock);
    let callbacks = Arc::new(core.config.callbacks.clone());
    core.presence.outgoing(move |identity, anchors| {
        let callbacks = Arc::clone(&callbacks);
        Client::guarded(
            tls(&clock, identity, anchors),
            limits(),
            Bounds {
                guard: Arc::new(move |host, address| callbacks.dials_own(host, address)),
                expected: Some(Expected {
                    organizational_unit: Role::Aef.as_str(),
                    common_name: None,
                }),
                resolver: None,
            },
        )
    })
}

/// Others have no certificate of this authority to serve with: they are believed by the anchors that the operator names.
fn allowed(core: &Arc<Core>) -> Result<Arc<Outgoing>, StartError> {
    let file = &core.config.callbacks.ca_file;
    let anchors = if file.as_os_str().is_empty() {
        Anchors::native()?
    } else {
        let pem = std::fs::read_to_string(file).map_err(|source| AuthorityError::File {
            file: file.display().to_string(),
            source,
        })?;
        Anchors::from_pem(&pem)?
    };
    let clock = Arc::clone(&core.clock);
    let callbacks = Arc::new(core.config.callbacks.clone());
    core.presence.outgoing(move |identity, _| {
        let callbacks = Arc::clone(&callbacks);
        Client::guarded(
            tls(&clock, identity, anchors.clone()),
            limits(),
            Bounds {
                guard: Arc::new(move |_, address| callbacks.dials(address)),
                expected: None,
                resolver: None,
            },
        )
    })
}

/// Those who know nothing of TLS: nobody shows anything, and nobody is believed.
fn insecure(core: &Arc<Core>) -> Client {
    let callbacks = core.config.callbacks.clone();
    let guard = Arc::new(move |_: &str, address| callbacks.dials_insecurely(address));
    Client::guarded_plain(limits(), guard, None)
}

fn limits() -> ClientLimits {
    ClientLimits {
        idle_per_host_max: 64,
        idle: Duration::from_secs(120),
        window_bytes: Some(WINDOW_BYTES),
        ..ClientLimits::default()
    }
}

fn tls(clock: &SharedClock, identity: Identity, anchors: Anchors) -> ClientTls {
    ClientTls {
        anchors: Some(anchors),
        identity: Some(identity),
        clock: Arc::clone(clock),
        session: None,
        tls12_only: false,
    }
}
