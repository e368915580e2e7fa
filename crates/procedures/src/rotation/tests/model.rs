//! R-U-05, R-U-07, P-08: random sequences of renewals, cuts, repetitions, uses, demands and jumps of the clock, held against a model
//! that says of each certificate and secret ever made out whether it counts.
//!
//! The procedures are the real ones, committed to records as a store would. The model knows nothing of records: it moves single
//! pieces of material from state to state, after the words of the requirements.

mod events;
mod ledger;

use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetailsPatch, OnboardingInformation},
    common::{Extra, Redacted},
    vendor::MEMBER,
};
use serde_json::json;

use super::*;
use crate::{
    changes::{Changes, Versioned},
    demand,
    onboarding::{
        NewSecret, Tally,
        update::{self, Approval, Issued, JudgedKey, Means, Plan, Wish},
    },
    refusal::Refusal,
    state::{PublicKey, RevokedCertificate, Subscription},
};

const SEQUENCES: u64 = 10_000;
const STEPS: usize = 10;
const LIFE: Duration = Duration::days(90);
const TICK: Duration = Duration::nanoseconds(1);

#[test]
fn random_sequences_agree_with_the_model() {
    let half = SEQUENCES / 2;
    let stock = Stock::new();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..half).for_each(|seed| run(seed, &stock)));
        (half..SEQUENCES).for_each(|seed| run(seed, &stock));
    });
}

fn run(seed: u64, stock: &Stock) {
    let mut site = Site::new(seed, stock);
    for step in 0..STEPS {
        let said = site.step();
        site.check(&format!("seed {seed}, step {step}: {said}"));
        if !site.may_go_on() {
            break;
        }
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// A certificate with its secret, as the model sees it. Its number is its key's.
#[derive(Clone, Debug)]
struct Piece {
    not_after: DateTime,
    life: Life,
    /// Whether it was made out before the last compromise became known.
    is_distrusted: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Life {
    Unused,
    InUse,
    /// Put aside, at this place in the order of putting aside.
    Aside(DateTime, usize),
    Dead,
}

/// A renewal as the core function answered it first.
#[derive(Clone)]
struct Answered {
    name: usize,
    key: u8,
    piece: usize,
    answer: OnboardingInformation,
}

/// Where a call breaks off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    BeforeTheCommit,
    BeforeTheAnswer,
    Nowhere,
}

/// What was answered, and whether anything was made out for it.
type Renewed = Result<(OnboardingInformation, bool), Refusal>;

struct Site<'a> {
    stock: &'a Stock,
    dice: Dice,
    world: World,
    /// The record of the invoker as it is.
    held: Versioned<Invoker>,
    other: Invoker,
    now: DateTime,
    terms: Terms,
    // The model.
    pieces: Vec<Piece>,
    aside: usize,
    compromised: bool,
    deadline: Option<DateTime>,
    last: Option<Answered>,
    /// Which pieces the client's processes have received; they share them.
    known: Vec<usize>,
    /// The renewal that each of the two processes has under way: name and key.
    under_way: [Option<(usize, u8)>; 2],
    names: usize,
    /// The last key of which a request was made.
    keys: u8,
}

/// Everything that can be made out, by number: made once, since digests take their time.
struct Stock {
    certificates: Vec<Certificate>,
    secrets: Vec<NewSecret>,
    /// The keys of requests, which are other numbers than those of the certificates that are made out for them.
    keys: Vec<Digest>,
}

impl Stock {
    fn new() -> Self {
        let numbers = 0..100_u8;
        let secret = |number: u8| NewSecret {
            text: Redacted::from(format!("secret {number}")),
            digest: Digest::of(format!("secret {number}").as_bytes()),
            sealed: SealedKey::new(number.to_string()),
        };
        Self {
            certificates: numbers.clone().map(certificate).collect(),
            secrets: numbers.clone().map(secret).collect(),
            keys: numbers.map(|key| Digest::of(&[key])).collect(),
        }
    }

    fn certificate(&self, piece: usize, now: &DateTime) -> Certificate {
        Certificate {
            not_after: DateTime(now.0 + LIFE),
            issued: Some(now.clone()),
            serial: serial(piece),
            ..self.certificates[piece].clone()
        }
    }
}

fn serial(piece: usize) -> String {
    format!("{piece:02x}")
}

impl<'a> Site<'a> {
    fn new(seed: u64, stock: &'a Stock) -> Self {
        let now = now();
        let mut inv = invoker("INV");
        inv.certificate = stock.certificate(0, &now);
        inv.public_key_text = "key 0".into();
        inv.onboard_secret = Some(stock.secrets[0].digest.clone());
        inv.secret_expires = Some(DateTime(now.0 + LIFE));
        inv.features = "C".into();
        inv.renewal.agreed = true;
        let mut other = invoker("OTHER");
        other.certificate = stock.certificates[99].clone();
        let world = World::default().with(&inv).with(&other);
        Self {
            stock,
            dice: Dice(seed),
            held: world.held("INV").unwrap(),
            world,
            other,
            pieces: vec![Piece {
                not_after: inv.certificate.not_after,
                life: Life::InUse,
                is_distrusted: false,
            }],
            now,
            terms: rotation_terms(),
            aside: 0,
            compromised: false,
            deadline: None,
            last: None,
            known: vec![0],
            under_way: [None, None],
            names: 0,
            keys: 1,
        }
    }

    fn fingerprint(&self, piece: usize) -> &Digest {
        &self.stock.certificates[piece].fingerprint
    }

    fn commit(&mut self, changes: Changes) {
        self.world.commit(changes).unwrap();
        self.held = self.world.held("INV").unwrap();
    }

    fn around() -> Around<'static, std::iter::Empty<&'static Subscription>> {
        Around {
            context: None,
            circle: everyone(),
            subscriptions: std::iter::empty(),
        }
    }
}
