//! Secure onboarding (S1, TS 33.122 clause 6.1) and its flow (S2, annex B.1).

mod enrolment;

mod refusals;

mod session;

mod admission;

use capif_ccf::admin::EnrolmentParts;

use super::{
    stage::{Stage, missing},
    wire::Said,
    world::World,
};
use crate::exit::Failure;

/// What the invitation for the invoker on the bare wire was like.
type Invitation = Option<EnrolmentParts>;

pub(super) async fn play(stage: &mut Stage, world: &mut World) -> Result<(), Failure> {
    stage.chapter("S1, S2: an API invoker is onboarded")?;
    let mut invitation = Invitation::None;
    let it = &mut invitation;
    stage
        .step(
            "set-up",
            "a core function starts with a fresh store",
            "TS 23.222 clause 6.3.3",
            async {
                world.start_ccf().await?;
                Ok(format!(
                    "it serves CAPIF-1 to 5 at {}",
                    world.ccf()?.address()
                ))
            },
        )
        .await?;
    stage
        .step(
            "S1",
            "an invitation holds address, root CA certificate and credential",
            "TS 33.122 clause 6.1 step 1",
            enrolment::parts(world, it),
        )
        .await?;
    let it = &invitation;
    stage
        .step(
            "S1",
            "a code finds the core function's root by its fingerprint",
            "TS 33.122 clause 6.1 step 3",
            enrolment::by_fingerprint(world, it),
        )
        .await?;
    stage
        .step(
            "S2",
            "with another fingerprint nothing is sent",
            "TS 33.122 clause B.1",
            enrolment::wrong_fingerprint(world, it),
        )
        .await?;
    stage
        .step(
            "S2",
            "who trusts another authority gets no session",
            "TS 33.122 clause B.1",
            enrolment::foreign_authority(world),
        )
        .await?;

    stage
        .step(
            "S1",
            "a forged, unsigned or altered credential is refused",
            "TS 33.122 clause 6.1 step 5",
            refusals::forged(world, it),
        )
        .await?;
    stage
        .step(
            "S1",
            "a credential made for something else is refused",
            "RFC 7519 section 4.1.3",
            refusals::wrong_audience(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "a credential that has expired is refused",
            "RFC 7519 section 4.1.4",
            refusals::expired(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "without a credential nobody is onboarded",
            "TS 29.222 clause 5.5.2.2.2",
            refusals::without(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "a weak key, a broken one and a private one are refused",
            "TS 33.310 clause 6.1.1",
            refusals::bad_keys(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "none of these refusals left anything behind",
            "TS 33.122 clause 6.1 step 5",
            refusals::nothing_stored(world),
        )
        .await?;
    stage
        .step(
            "S2",
            "after a refusal the session is torn down",
            "TS 33.122 clause B.1",
            session::torn_down_after_bad(world),
        )
        .await?;

    let onboarded = async {
        let bare = admission::onboard(world, it).await?;
        let detail = format!("{}; asked for: OU=CCF, CN=root, CA, TLS server", bare.id);
        world.bare = Some(bare);
        Ok(detail)
    };
    stage
        .step(
            "S1",
            "a greedy certificate request gets the profile of an invoker, no more",
            "TS 33.122 clause 6.1 step 6",
            onboarded,
        )
        .await?;
    stage
        .step(
            "S1",
            "the answer lets the invoker prove itself from now on",
            "TS 33.122 clause 6.1 step 7",
            admission::certificate_works(world),
        )
        .await?;
    stage
        .step(
            "S2",
            "after a success the session is torn down too",
            "TS 33.122 clause B.1",
            session::torn_down_after_good(world),
        )
        .await?;
    stage
        .step(
            "S1",
            "the credential cannot be used twice",
            "RFC 7519 section 4.1.7",
            refusals::replayed(world, it),
        )
        .await?;
    stage
        .step(
            "S1",
            "the Onboard_Secret is strong, and never stored in clear",
            "TS 33.122 clause 6.1 step 6",
            admission::secret_not_stored(world),
        )
        .await?;
    world.used = invitation.map(|parts| parts.credential);

    let enrolled = async {
        let app = world.enrol("app").await?;
        let detail = admission::key_is_kept(&world.invoker_folder("app"), &app)?;
        world.app = Some(app);
        Ok(detail)
    };
    stage
        .step(
            "S1",
            "the library enrols with one code, and keeps the private key",
            "TS 33.122 clause 6.1 step 4",
            enrolled,
        )
        .await
}

async fn ask(world: &World, key: &str, credential: Option<&str>) -> anyhow::Result<Said> {
    world
        .to_ccf(None)?
        .onboarding(key, credential)
        .answer()
        .await
}

fn given(invitation: &Invitation) -> anyhow::Result<&EnrolmentParts> {
    invitation.as_ref().ok_or_else(|| missing("the invitation"))
}
