//! What happens: renewals with their cuts, uses, demands, and the passing of time.

use super::*;

impl Site<'_> {
    pub(super) fn step(&mut self) -> String {
        let process = self.dice.roll(2);
        match self.dice.roll(20) {
            0..=5 => self.renews(process),
            6..=8 => self.repeats(process),
            9..=11 => {
                let newest = *self.known.iter().max().unwrap();
                self.uses(newest)
            }
            12..=13 => {
                let place = self.dice.roll(self.known.len());
                self.uses(self.known[place])
            }
            14 => self.is_asked(DemandReason::Operator),
            15 => self.is_asked(DemandReason::Compromise),
            16 => self.tidies(),
            17 => self.race(),
            _ => self.time_passes(),
        }
    }

    pub(super) fn cut(&mut self) -> Cut {
        match self.dice.roll(4) {
            0 => Cut::BeforeTheCommit,
            1 => Cut::BeforeTheAnswer,
            _ => Cut::Nowhere,
        }
    }

    pub(super) fn request_of(&mut self, process: usize) -> (usize, u8) {
        if let Some(request) = self.under_way[process] {
            return request;
        }
        self.names += 1;
        self.keys += 1;
        let request = (self.names, self.keys);
        self.under_way[process] = Some(request);
        request
    }

    pub(super) fn renews(&mut self, process: usize) -> String {
        let cut = self.cut();
        let with = self.dice.roll(self.known.len());
        let with = self.known[with];
        let request = self.request_of(process);
        self.patch(process, with, request, cut)
    }

    /// The last request once more, whether it is known to be answered or not.
    pub(super) fn repeats(&mut self, process: usize) -> String {
        let last = self.last.as_ref().map(|last| (last.name, last.key));
        let Some(request) = last else {
            return "nothing to repeat".to_owned();
        };
        let cut = self.cut();
        let with = self.dice.roll(self.known.len());
        self.patch(process, self.known[with], request, cut)
    }

    /// A request to renew, made with a certificate, as it comes in at the edge.
    pub(super) fn patch(
        &mut self,
        process: usize,
        with: usize,
        (name, key): (usize, u8),
        cut: Cut,
    ) -> String {
        let said = format!("process {process} renews as {name} with piece {with}, cut {cut:?}");
        let standing = self.is_seen(with);
        let expected = self.standing(with, &self.now);
        let (outcome, changes) = self.plan(&standing, name, key);
        let counts = expected != Standing::No;
        let (answer, is_new) = match outcome {
            Ok(answered) => answered,
            Err(refusal) => {
                let reused = self.compromised && self.is_known_key(key);
                assert!(
                    (!counts && refusal == Refusal::CertificateUnknown)
                        || (reused && matches!(refusal, Refusal::PublicKey(_))),
                    "{said}: {refusal:?}"
                );
                if reused {
                    // What a client does then: it makes another key.
                    self.under_way = [None, None];
                }
                return said;
            }
        };
        assert!(counts, "{said}: a certificate that does not count renews");
        assert_eq!(is_new, !self.may_be_repeated(name), "{said}");
        if cut == Cut::BeforeTheCommit {
            return said;
        }
        if !changes.is_empty() {
            self.commit(changes);
        }
        let piece = if is_new {
            self.is_made_out(name, key, &answer)
        } else {
            let last = self.last.as_ref().unwrap();
            assert_eq!(
                last.answer, answer,
                "{said}: another answer to the same request"
            );
            last.piece
        };
        if cut == Cut::Nowhere {
            if !self.known.contains(&piece) {
                self.known.push(piece);
            }
            self.under_way[process] = None;
        }
        said
    }

    /// Whether a renewal is the last one, and its overlap is not over.
    pub(super) fn may_be_repeated(&self, name: usize) -> bool {
        let mut pieces = self.pieces.iter();
        self.last.as_ref().is_some_and(|last| {
            let is_unused = self.pieces[last.piece].life == Life::Unused;
            let overlaps = |piece: &Piece| match &piece.life {
                Life::Aside(until, _) => self.now < *until,
                _ => false,
            };
            last.name == name && (is_unused || pieces.any(overlaps))
        })
    }

    pub(super) fn is_known_key(&self, key: u8) -> bool {
        let inv = &self.held.record;
        let retiring = inv.renewal.retiring.iter().map(|old| &old.certificate);
        let mut known = std::iter::once(&inv.certificate).chain(retiring);
        known.any(|held| held.public_key == self.stock.keys[usize::from(key)])
    }

    /// What the core function answers to a renewal, and whether anything was made out for it.
    pub(super) fn plan(&self, standing: &Standing, name: usize, key: u8) -> (Renewed, Changes) {
        let plan = match self.decide(standing, name, key) {
            Ok(plan) => plan,
            Err(refusal) => return (Err(refusal), Changes::new()),
        };
        let number = self.pieces.len();
        let is_new = plan.order().is_some();
        let issued = plan.order().map(|order| Issued {
            certificate: Certificate {
                public_key: order.public_key().digest.clone(),
                ..self.stock.certificate(number, &self.now)
            },
            secret: Some(self.stock.secrets[number].clone()),
        });
        let (changes, _, answer) = plan
            .complete(
                issued,
                std::iter::empty(),
                std::iter::empty(),
                Self::around(),
                &Tally::default(),
                &self.now,
            )
            .unwrap();
        (Ok((answer.onboarding_information, is_new)), changes)
    }

    pub(super) fn decide(
        &self,
        standing: &Standing,
        name: usize,
        key: u8,
    ) -> Result<Plan, Refusal> {
        let name = format!("name-{name}");
        let mut extra = Extra::new();
        extra.insert(MEMBER.to_owned(), json!({ "renewal": name }));
        let patch = ApiInvokerEnrolmentDetailsPatch {
            onboarding_information: Some(OnboardingInformation {
                api_invoker_public_key: format!("key {key}"),
                api_invoker_certificate: None,
                onboarding_secret: None,
                onboarding_criteria: None,
                extra,
            }),
            ..Default::default()
        };
        update::plan(
            &Wish::from(patch),
            &self.held,
            std::iter::empty(),
            Means {
                judge: &|_| {
                    Ok(JudgedKey {
                        key: PublicKey {
                            spki: vec![key],
                            digest: self.stock.keys[usize::from(key)].clone(),
                        },
                        is_proved: true,
                    })
                },
                open: &|handover| {
                    let number: usize = handover.secret.as_ref()?.as_str().parse().ok()?;
                    Some(self.stock.secrets[number].text.clone())
                },
                terms: &self.terms,
                standing,
                approval: Approval::AsOnboarded,
                pending: None,
                now: &self.now,
            },
        )
        .map_err(|denial| denial.refusal)
    }

    /// A call that is made with a certificate: the first one of it makes it the one in use, whatever becomes of the call.
    pub(super) fn is_seen(&mut self, piece: usize) -> Standing {
        let fingerprint = self.fingerprint(piece).clone();
        let (terms, now) = (self.terms, self.now.clone());
        let judge = |held: &Versioned<Invoker>| standing(&held.record, &fingerprint, &terms, &now);
        let held = self.held.clone();
        if judge(&held) != Standing::Successor {
            return judge(&held);
        }
        let overlap = self.terms.overlap;
        let (changes, _) = activate(&held, Self::around(), overlap, &self.now).unwrap();
        // Two that come at once do it once.
        let again = activate(&held, Self::around(), overlap, &self.now)
            .unwrap()
            .0;
        self.commit(changes);
        assert!(self.world.commit(again).is_err());
        self.takes_effect(piece);
        judge(&self.held)
    }

    pub(super) fn uses(&mut self, piece: usize) -> String {
        self.is_seen(piece);
        format!("piece {piece} is used")
    }

    pub(super) fn is_asked(&mut self, reason: DemandReason) -> String {
        let deadline = DateTime(self.now.0 + Duration::days(1));
        let request = demand::Request {
            reason,
            deadline: deadline.clone(),
            now: &self.now,
        };
        let around = demand::Around {
            context: None,
            apis: std::iter::empty(),
            subscriptions: std::iter::empty::<&Subscription>(),
        };
        let changes = demand::ask_invoker(&request, &self.held, None, around).unwrap();
        self.commit(changes);
        self.deadline = Some(deadline);
        if reason == DemandReason::Compromise {
            self.compromised = true;
            self.last = None;
            let unused = self
                .pieces
                .iter()
                .position(|piece| piece.life == Life::Unused);
            if let Some(unused) = unused {
                let until = self.pieces[unused].not_after.clone();
                self.put_aside(unused, until);
            }
            for piece in &mut self.pieces {
                piece.is_distrusted = true;
            }
        }
        format!("a renewal is asked for: {reason:?}")
    }

    /// The tasks run, which must make no difference to what counts.
    pub(super) fn tidies(&mut self) -> String {
        if let Some((changes, _)) = end_overlap(&self.held, Self::around(), &self.now) {
            self.commit(changes);
        }
        let around = demand::Around {
            context: None,
            apis: std::iter::empty(),
            subscriptions: std::iter::empty::<&Subscription>(),
        };
        let changes = demand::suspend(&self.held, around, &self.now);
        if !changes.is_empty() {
            self.commit(changes);
        }
        "the tasks run".to_owned()
    }

    /// Both processes renew at the same moment: one commit wins, the other is decided anew.
    pub(super) fn race(&mut self) -> String {
        let with = *self.known.iter().max().unwrap();
        let standing = self.is_seen(with);
        let requests = [self.request_of(0), self.request_of(1)];
        let both = requests.map(|(name, key)| self.plan(&standing, name, key));
        if let [(Ok(_), one), (Ok(_), other)] = both
            && !one.is_empty()
            && !other.is_empty()
        {
            let mut world = self.world.clone();
            world.commit(one).unwrap();
            assert!(world.commit(other).is_err(), "two successors at once");
        }
        for (process, request) in requests.into_iter().enumerate() {
            self.patch(process, with, request, Cut::Nowhere);
        }
        format!("both processes renew at once with piece {with}")
    }

    pub(super) fn time_passes(&mut self) -> String {
        let jump = match self.dice.roll(6) {
            0 => TICK,
            1 => Duration::minutes(20),
            2 => self.terms.overlap - TICK,
            3 => self.terms.overlap,
            4 => Duration::hours(25),
            _ => Duration::days(20),
        };
        self.now = DateTime(self.now.0 + jump);
        format!("{jump} pass")
    }
}
