//! The invoker is told at the destination of its security method request (R-REV-04), where the operator lets callbacks go (P-34),
//! and whoever does not answer there delays nobody else (P-35).

use std::time::Duration;

use capif_ccf::config::CallbacksSection;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{REVOKE, Scene, at};
use crate::support::{
    SOON, World, eventually,
    people::{other_authority, wishes},
    receiver::Receiver,
};

/// A host of the invoker's, certified by an authority that is none of CAPIF's.
struct Hooks {
    receiver: Receiver,
    authority: tempfile::TempDir,
}

impl Hooks {
    fn start(world: &World) -> Self {
        let authority = other_authority(world);
        let receiver =
            Receiver::with_authority(world, &authority.path().join("ca/issuing"), "anything");
        Self {
            receiver,
            authority,
        }
    }

    /// What the operator writes for callbacks to reach it.
    fn section(&self, allow: &[String]) -> CallbacksSection {
        CallbacksSection {
            allow: allow.iter().map(|target| target.parse().unwrap()).collect(),
            ca_file: self.authority.path().join("ca/root.pem"),
            ..CallbacksSection::default()
        }
    }
}

fn target(receiver: &Receiver) -> String {
    format!("127.0.0.1:{}", receiver.port())
}

impl Scene {
    /// Starts the core function anew with a section of its configuration.
    async fn callbacks(&mut self, section: CallbacksSection) {
        self.world.stop().await;
        self.world.config.callbacks = section;
        self.world.resume().await;
    }

    /// Negotiates anew with a destination.
    async fn wants_to_hear_at(&self, destination: &str) {
        let mut body = wishes(&[(&self.domain.aef.id, &["OAUTH"])]);
        body["notificationDestination"] = json!(destination);
        let answer = self.invoker.put(&self.invoker.context(), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    }
}

impl Scene {
    /// Has another invoker told of something, and waits until it is: whatever was to be told before has been tried then.
    async fn tell_another(&self, receiver: &Receiver) {
        let before = receiver.seen().len();
        let another = self.world.raw_invoker(&[]).await;
        let mut body = wishes(&[(&self.domain.aef.id, &["OAUTH"])]);
        body["notificationDestination"] = json!(receiver.url("/revoked"));
        another.put(&another.context(), &body).await;
        self.domain.aef.delete(&another.context()).await;
        receiver.acknowledged(before + 1).await;
    }
}

/// R-REV-04: after any revocation the invoker is told where it asked for it, once the core function has invalidated: by an AEF in
/// part and whole, and by the core function.
#[tokio::test]
async fn the_invoker_is_told_where_it_asked_for_it() {
    let mut scene = Scene::new().await;
    let hooks = Hooks::start(&scene.world);
    scene
        .callbacks(hooks.section(&[target(&hooks.receiver)]))
        .await;
    scene
        .wants_to_hear_at(&hooks.receiver.url("/revoked"))
        .await;

    let status = scene.revoke_some(&scene.notice(&[&scene.weather])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let told = hooks.receiver.acknowledged(1).await;
    let expected = |apis: Value, cause: &str| {
        json!({
            "apiInvokerId": scene.invoker.id,
            "aefId": scene.domain.aef.id,
            "apiIds": apis,
            "cause": cause,
        })
    };
    assert_eq!(told, [expected(json!([scene.weather]), "OVERLIMIT_USAGE")]);
    assert_eq!(scene.rights().await.unwrap().0, ["traffic"]);

    scene.domain.aef.delete(&scene.invoker.context()).await;
    let told = hooks.receiver.acknowledged(2).await;
    assert_eq!(
        told[1],
        expected(json!([scene.traffic]), "AUTHORIZATION_ISSUE")
    );

    scene
        .wants_to_hear_at(&hooks.receiver.url("/revoked"))
        .await;
    scene
        .verdict("/revocations", Some(json!({ "name": "traffic" })))
        .await;
    let told = hooks.receiver.acknowledged(3).await;
    assert_eq!(
        told[2],
        expected(json!([scene.traffic]), "AUTHORIZATION_ISSUE")
    );
    for seen in hooks.receiver.seen() {
        assert_eq!(seen.path, "/revoked");
        let peer = seen.peer.certificate().unwrap();
        assert_eq!(peer.organizational_unit.as_deref(), Some("CCF"));
    }
}

/// P-34: nothing goes where the operator does not let it: by default nowhere, then to listed hosts and ports alone; a redirect leads
/// nowhere.
#[tokio::test]
async fn callbacks_go_only_where_the_operator_lets_them() {
    let mut scene = Scene::new().await;
    let hooks = Hooks::start(&scene.world);
    let bystander = Receiver::start(&scene.world);
    let revoke_anew = async |scene: &Scene, destination: &str| {
        scene.wants_to_hear_at(destination).await;
        let status = scene.domain.aef.delete(&scene.invoker.context()).await;
        assert_eq!(status.status, StatusCode::NO_CONTENT);
    };
    let here = hooks.receiver.url("/revoked");

    // By default, and for another port.
    revoke_anew(&scene, &here).await;
    scene.callbacks(hooks.section(&[target(&bystander)])).await;
    revoke_anew(&scene, &here).await;

    // A redirect is not followed: it is no acknowledgement either.
    hooks.receiver.answer(&[302]);
    scene
        .callbacks(hooks.section(&[target(&hooks.receiver)]))
        .await;
    let redirected = hooks.receiver.url("/redirected");
    revoke_anew(&scene, &redirected).await;
    let told = hooks.receiver.acknowledged(1).await;
    assert_eq!(told.len(), 1);
    let paths: Vec<String> = hooks
        .receiver
        .seen()
        .into_iter()
        .map(|notice| notice.path)
        .collect();
    assert_eq!(paths, ["/redirected", "/redirected"]);
    assert!(bystander.seen().is_empty());
}

/// P-34: what counts is the address that is about to be dialled: a listed name that leads to this machine is not dialled unless the
/// address is listed too.
#[tokio::test]
async fn a_name_does_not_lead_where_its_address_may_not() {
    let mut scene = Scene::new().await;
    let hooks = Hooks::start(&scene.world);
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let by_name = format!("localhost:{}", port.local_addr().unwrap().port());
    let mut allow = vec![by_name.clone(), target(&hooks.receiver)];
    scene.callbacks(hooks.section(&allow)).await;
    scene.wants_to_hear_at(&format!("https://{by_name}/")).await;
    scene.domain.aef.delete(&scene.invoker.context()).await;
    scene.tell_another(&hooks.receiver).await;
    let dialled = tokio::time::timeout(Duration::from_millis(300), port.accept()).await;
    assert!(dialled.is_err(), "nobody came");
    assert_eq!(waiting(&scene).await, 1);

    allow.push(port.local_addr().unwrap().to_string());
    scene.callbacks(hooks.section(&allow)).await;
    let dialled = tokio::time::timeout(SOON, port.accept()).await;
    assert!(dialled.is_ok(), "now it is");
}

/// P-34: the server is verified by the anchors that the operator names: an AEF's certificate of CAPIF's own is none of theirs.
#[tokio::test]
async fn a_server_that_the_operators_anchors_do_not_vouch_for_hears_nothing() {
    let mut scene = Scene::new().await;
    let hooks = Hooks::start(&scene.world);
    let impostor = Receiver::start(&scene.world);
    let allow = [target(&impostor), target(&hooks.receiver)];
    scene.callbacks(hooks.section(&allow)).await;
    scene.wants_to_hear_at(&impostor.url("/revoked")).await;
    scene.domain.aef.delete(&scene.invoker.context()).await;
    scene.tell_another(&hooks.receiver).await;
    assert!(impostor.seen().is_empty());
}

/// P-35: an invoker's host that takes connections and never answers delays neither AEFs nor other invokers, raises no alarm, and is
/// given up after a day.
#[tokio::test]
async fn a_host_that_never_answers_delays_nobody() {
    let mut scene = Scene::new().await;
    let hooks = Hooks::start(&scene.world);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_target = silent.local_addr().unwrap().to_string();
    scene
        .callbacks(hooks.section(&[target(&hooks.receiver), silent_target.clone()]))
        .await;
    scene
        .wants_to_hear_at(&format!("https://{silent_target}/"))
        .await;
    scene.verdict("/revocations", None).await;
    let (held, _) = tokio::time::timeout(Duration::from_secs(10), silent.accept())
        .await
        .unwrap()
        .unwrap();
    // Now it is being waited for.
    scene.told(1).await;
    assert_eq!(at(&scene.aef.seen(), REVOKE).len(), 1);
    scene.tell_another(&hooks.receiver).await;

    scene.world.clock.advance(time::Duration::seconds(61));
    assert!(scene.world.list("alarms").await.is_empty());
    assert_eq!(waiting(&scene).await, 1);
    drop((held, silent));
    scene.world.clock.advance(time::Duration::hours(24));
    eventually("it is given up", || async { waiting(&scene).await == 0 }).await;
}

/// How many notifications wait for the scene's invoker.
async fn waiting(scene: &Scene) -> u64 {
    let rows = scene.world.list("invokers").await;
    let own = rows
        .iter()
        .find(|row| row["apiInvokerId"] == scene.invoker.id.as_str());
    own.unwrap()["waiting"].as_u64().unwrap()
}
