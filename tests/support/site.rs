//! A gateway with an API behind it, and invokers that call by every method: with requests, TLS and keys of their own.

use std::sync::Arc;

use capif_aef::{Gateway, GatewayConfig, change_methods};
use capif_client::Provider;
use capif_spec::publish_service::SecurityMethod;
use capif_transport::{Connection, PskCredential};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    World,
    backend::Backend,
    eventually,
    people::RawInvoker,
    wire::{Answer, Caller, request},
};

pub const API: &str = "weather";
pub const PATH: &str = "/weather/v1/today";

/// Every method.
pub const ALL: [SecurityMethod; 3] = [
    SecurityMethod::Psk,
    SecurityMethod::Pki,
    SecurityMethod::Oauth,
];

/// A gateway of the provider `acme`.
pub struct Site {
    pub world: World,
    pub backend: Backend,
    pub gateway: Gateway,
}

/// What an invoker calls with.
#[derive(Clone)]
pub enum Credential {
    Psk(PskCredential),
    Certificate,
    Token(String),
}

/// Connections of their own of somebody who calls.
#[derive(Clone)]
pub struct Line {
    pub caller: Caller,
    pub token: Option<String>,
}

impl Line {
    /// A call; `None` when the handshake failed or the connection broke.
    pub async fn call(&self) -> Option<Answer> {
        let request = request(Method::GET, PATH, self.token.as_deref(), None);
        self.caller.try_send(request).await
    }

    /// The status of a call.
    pub async fn status(&self) -> u16 {
        self.call().await.expect("no answer").status.as_u16()
    }
}

impl Site {
    pub async fn start(methods: &[SecurityMethod]) -> Self {
        Self::of(World::start().await, methods, |_| {}).await
    }

    /// With a configuration of the test's own.
    pub async fn of(
        world: World,
        methods: &[SecurityMethod],
        change: impl FnOnce(&mut GatewayConfig),
    ) -> Self {
        let backend = Backend::start();
        let bundle = world.bundle("acme").await;
        let mut config = world.gateway_config("acme", Some(bundle), API, &backend.url(), methods);
        change(&mut config);
        let gateway = Gateway::start(config).await.unwrap();
        Self {
            world,
            backend,
            gateway,
        }
    }

    /// How many connections somebody has on which it called.
    pub fn connections_of(&self, invoker: &RawInvoker) -> usize {
        let live = self.gateway.connections().live();
        let of =
            |connection: &&Arc<Connection>| connection.claimed_by() == Some(invoker.id.as_str());
        live.iter().filter(of).count()
    }

    /// Waits until somebody has none.
    pub async fn disconnected(&self, invoker: &RawInvoker) {
        eventually("the connections end", || async {
            self.connections_of(invoker) == 0
        })
        .await;
    }

    pub fn aef(&self) -> &str {
        self.gateway.aef_id().as_str()
    }

    pub async fn provider(&self) -> Provider {
        Provider::open(self.world.keystore("acme"), self.world.clock())
            .await
            .unwrap()
    }

    /// The id of the API.
    pub async fn api_id(&self) -> String {
        let apis = self.provider().await.apis().await.unwrap();
        let api = apis.into_iter().find(|api| api.api_name == API).unwrap();
        api.api_id.unwrap().to_string()
    }

    /// The publisher changes the methods, and the gateway takes them.
    pub async fn change(&self, methods: &[SecurityMethod]) {
        self.publish(methods).await;
        eventually("the gateway takes the methods", || async {
            self.gateway.methods() == methods
        })
        .await;
    }

    /// The publisher changes the methods.
    pub async fn publish(&self, methods: &[SecurityMethod]) {
        let provider = self.provider().await;
        let published = change_methods(&provider, API, Some(methods)).await.unwrap();
        assert!(
            published
                .iter()
                .all(|interface| interface.methods == methods)
        );
    }

    /// Negotiates this method alone, with what is needed to call by it.
    pub async fn negotiate(&self, invoker: &RawInvoker, method: &SecurityMethod) -> Credential {
        if *method == SecurityMethod::Psk {
            let address = self.gateway.address();
            return Credential::Psk(invoker.psk(&self.world, self.aef(), address).await);
        }
        let answer = invoker.negotiate(self.aef(), &[method.as_str()]).await;
        let entry = &answer.json()["securityInfo"][0];
        assert_eq!(entry["selSecurityMethod"], method.as_str(), "{answer:?}");
        if *method == SecurityMethod::Pki {
            return Credential::Certificate;
        }
        Credential::Token(self.token(invoker).await)
    }

    pub async fn token(&self, invoker: &RawInvoker) -> String {
        let scope = format!("3gpp#{}:{API}", self.aef());
        let answer = invoker.token(Some(&scope)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// New connections to the gateway.
    pub fn line(&self, invoker: &RawInvoker, credential: &Credential) -> Line {
        self.line_to(self.gateway.address(), invoker, credential)
    }

    /// New connections to one of several gateways.
    pub fn line_to(&self, address: &str, invoker: &RawInvoker, credential: &Credential) -> Line {
        let (caller, token) = match credential {
            Credential::Psk(key) => (Caller::with_key(address, key.clone()), None),
            Credential::Certificate => {
                let identity = Some(invoker.pems.identity());
                (Caller::new(&self.world, address, identity), None)
            }
            Credential::Token(token) => {
                (Caller::new(&self.world, address, None), Some(token.clone()))
            }
        };
        Line { caller, token }
    }

    /// The same with a token, and with the certificate beside it.
    pub fn mutual_line(&self, invoker: &RawInvoker, token: &str) -> Line {
        let identity = Some(invoker.pems.identity());
        Line {
            caller: Caller::new(&self.world, self.gateway.address(), identity),
            token: Some(token.to_owned()),
        }
    }

    /// The operator sets a policy for one invoker at the API.
    pub async fn limit(&self, invoker: &RawInvoker, mut limits: Value) {
        limits["api"] = json!({ "name": API });
        limits["invoker"] = json!(invoker.id);
        let (status, answer) = self
            .world
            .operator(Method::POST, "/policies", Some(limits))
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        self.settled().await;
    }

    /// Every event is acknowledged.
    pub async fn settled(&self) {
        eventually("every event is acknowledged", || async {
            let rows = self.world.list("events").await;
            rows.iter().all(|row| row["waiting"] == 0)
        })
        .await;
    }
}
