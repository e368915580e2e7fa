//! Keys for TLS-PSK that a test holds in its own hands, and programs of others that use them.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use capif_procedures::aefpsk::{self, Facts, Profile, SESSION_ID_LABEL, SESSION_KEY_LABEL};
use capif_spec::publish_service::InterfaceDescription;
use capif_transport::{
    Anchors, Client, ClientLimits, ClientTls, Psk, PskCredential, Session, SessionLabels, collect,
    full,
};
use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    SOON, World,
    people::{RawInvoker, wishes},
    wire::request,
};

impl RawInvoker {
    /// Negotiates TLS-PSK at an AEF, and derives the key from the session that carried the answer, as the invoker does
    /// (TS 33.122 annex A.1).
    pub async fn psk(&self, world: &World, aef: &str, address: &str) -> PskCredential {
        let tls = ClientTls {
            anchors: Some(Anchors::from_pem(&world.root_pem()).unwrap()),
            identity: Some(self.pems.identity()),
            clock: world.clock(),
            session: Some(SessionLabels {
                key: SESSION_KEY_LABEL,
                id: SESSION_ID_LABEL,
            }),
            tls12_only: false,
        };
        let client = Client::new(tls, ClientLimits::default()).unwrap();
        let body = wishes(&[(aef, &["PSK"])]);
        let (mut parts, body) =
            request(Method::PUT, &self.context(), None, Some(&body)).into_parts();
        parts.uri = format!("https://{}{}", world.address(), parts.uri)
            .parse()
            .unwrap();
        let request = http::Request::from_parts(parts, full(body));
        let response = client.request(request).await.unwrap();
        let session = Arc::clone(response.extensions().get::<Arc<Session>>().unwrap());
        let status = response.status();
        let body = collect(response.into_body(), 1 << 20, SOON).await.unwrap();
        let context: Value = serde_json::from_slice(&body).unwrap();
        assert!(
            matches!(status, StatusCode::CREATED | StatusCode::OK),
            "{context}"
        );
        let (host, port) = address.rsplit_once(':').unwrap();
        let interface = InterfaceDescription {
            ipv4_addr: Some(host.to_owned()),
            port: Some(port.parse::<u16>().unwrap().into()),
            ..InterfaceDescription::default()
        };
        let facts = Facts {
            profile: Profile::A1Exporter,
            key: session.exported_key(),
            session_id: session.exported_id(),
        };
        let interface = aefpsk::interface_information(&interface).unwrap();
        // One entry per interface (D-06).
        let entries = context["securityInfo"].as_array().unwrap().iter();
        let information = entries.map(|entry| {
            assert_eq!(entry["selSecurityMethod"], "PSK", "{context}");
            let text = entry["authenticationInfo"].as_str().unwrap();
            serde_json::from_str::<Value>(text).unwrap()
        });
        let mut information = information.filter(|key| key["interface"] == interface.as_str());
        let information = information.next().unwrap();
        PskCredential {
            identity: information["pskId"].as_str().unwrap().to_owned(),
            key: Psk::new(*aefpsk::derive(&facts, &interface).unwrap()),
            version: information["tls"].as_str().unwrap().parse().unwrap(),
        }
    }
}

/// The octets of a key as hexadecimal digits.
pub fn hex(key: &Psk) -> String {
    key.expose()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

/// What a program of others got.
#[derive(Debug)]
pub struct Seen {
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end, with a request on its standard input.
pub async fn run(mut command: Command, input: String) -> Seen {
    tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that was refused no longer reads.
        let _unread = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Seen {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    })
    .await
    .unwrap()
}

/// The first of these programs that is there and passes a check.
pub fn program(names: &[PathBuf], check: &[&str]) -> Option<PathBuf> {
    names
        .iter()
        .find(|name| {
            Command::new(name)
                .args(check)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .cloned()
}
