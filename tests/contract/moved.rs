//! A core function that has moved sends every operation on, to the same resource at the new address (307 and 308).

use capif_ccf::api::operations::OPERATIONS;
use http::{HeaderValue, StatusCode};

use super::record::Record;
use crate::{
    support::World,
    ts29222::scene::{Choice, Scene, Who},
};

pub(super) async fn every_operation(record: &Record) {
    let mut world = World::start().await;
    let scene = Scene::new(&world, ["acme", "globex"]).await;
    let new = world.move_away(false).await;
    everything(record, &world, &scene, new.address()).await;
    world.stop().await;
    world.config.moved.permanent = true;
    world.resume().await;
    everything(record, &world, &scene, new.address()).await;
}

async fn everything(record: &Record, world: &World, scene: &Scene, to: &str) {
    let expected = match world.config.moved.permanent {
        true => StatusCode::PERMANENT_REDIRECT,
        false => StatusCode::TEMPORARY_REDIRECT,
    };
    for operation in OPERATIONS {
        let everybody = scene.everybody();
        let of_kind = everybody
            .iter()
            .find(|who| operation.callers.iter().any(|kind| who.kind == Some(*kind)));
        let nobody = Who {
            pems: None,
            caller: world.anonymous(),
            ..everybody[0].clone()
        };
        let who = of_kind.unwrap_or(&nobody);
        let mut request = scene.request(operation, who, Choice::Own);
        let credential = HeaderValue::from_static("Bearer of-nobody");
        request.headers_mut().insert("authorization", credential);
        let location = format!("https://{to}{}", request.uri());
        let answer = who.send(world, operation, request).await;
        // The descriptions leave it out where something is made; RFC 9110 section 15.4 does not.
        let status = expected.as_u16().to_string();
        let described = record.descriptions.operation(operation.id);
        if described.is_some_and(|described| described.answers.contains_key(&status)) {
            record.answered(operation.id, "moved", &answer);
        }
        let said = answer.headers.get("location").map(HeaderValue::as_bytes);
        if answer.status != expected || said != Some(location.as_bytes()) {
            record.mistake(format!(
                "{}, moved: {} to {said:?} instead of {location}",
                operation.id, answer.status
            ));
        }
    }
}
