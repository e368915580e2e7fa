//! HTTP through the gateway (P-15, P-30 to P-33): what is authorized is what is forwarded, once, whole, streaming, and without
//! anything that the client made up about itself.

mod bodies;
mod framing;
mod headers;
mod invocation_log;
mod paths;
mod upstreams;

use std::sync::Arc;

use capif_aef::{Gateway, GatewayConfig};
use capif_client::{Invoker, Wish};
use capif_spec::{publish_service::SecurityMethod, security::Scope};
use capif_transport::{Anchors, Client, ClientLimits, ClientTls};
use http::{Method, Request};

use crate::support::{
    World,
    raw::Raw,
    reveal,
    wire::{Caller, request},
};

/// A gateway and an invoker with a token for it.
struct Site {
    world: World,
    gateway: Gateway,
    invoker: Arc<Invoker>,
    token: String,
}

impl Site {
    async fn start(upstream: &str) -> Self {
        Self::with(upstream, |_| {}).await
    }

    /// A gateway with a configuration of the test's own.
    async fn with(upstream: &str, change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let world = World::start().await;
        let bundle = world.bundle("acme").await;
        let mut config = world.gateway_config(
            "acme",
            Some(bundle),
            "weather",
            upstream,
            &[SecurityMethod::Oauth],
        );
        change(&mut config);
        let gateway = Gateway::start(config).await.unwrap();
        let invoker = world.invoker("amy", &["weather"]).await;
        let token = token(&invoker, &gateway).await;
        Self {
            world,
            gateway,
            invoker: Arc::new(invoker),
            token,
        }
    }

    fn caller(&self) -> Caller {
        Caller::new(&self.world, self.gateway.address(), None)
    }

    /// A request with the token.
    fn request(&self, method: Method, path: &str) -> Request<Vec<u8>> {
        request(method, path, Some(&self.token), None)
    }

    /// A client for streaming.
    fn client(&self) -> Client {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&self.world.root_pem()).unwrap()),
            identity: None,
            clock: self.world.clock(),
            session: None,
            tls12_only: false,
        };
        Client::new(tls, ClientLimits::default()).unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.gateway.address())
    }

    async fn raw(&self) -> Raw {
        Raw::connect(self.gateway.local_addr(), &self.world.root_pem(), None).await
    }

    /// The header line with the token.
    fn authorization(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.token)
    }
}

async fn token(invoker: &Invoker, gateway: &Gateway) -> String {
    let aef_id = gateway.aef_id().clone();
    let wish = Wish {
        aef_id: aef_id.clone(),
        api_id: None,
        preferred: vec![SecurityMethod::Oauth],
        profile: None,
    };
    invoker.negotiate(&[wish]).await.unwrap();
    let scope = Scope {
        grants: vec![(aef_id, vec!["weather".to_owned()])],
    };
    reveal(&invoker.token(&scope).await.unwrap().access_token).to_owned()
}

/// The status of an answer's text.
fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}
