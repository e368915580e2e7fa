//! What the model makes of it, and what must hold.

use super::*;

impl Site<'_> {
    pub(super) fn is_made_out(
        &mut self,
        name: usize,
        key: u8,
        answer: &OnboardingInformation,
    ) -> usize {
        let unused = self
            .pieces
            .iter()
            .position(|piece| piece.life == Life::Unused);
        if let Some(unused) = unused {
            if self.compromised {
                self.pieces[unused].life = Life::Dead;
            } else {
                let until = self.overlap_of(unused);
                self.put_aside(unused, until);
            }
        }
        self.pieces.push(Piece {
            not_after: DateTime(self.now.0 + LIFE),
            life: Life::Unused,
            is_distrusted: false,
        });
        let piece = self.pieces.len() - 1;
        self.last = Some(Answered {
            name,
            key,
            piece,
            answer: answer.clone(),
        });
        piece
    }

    pub(super) fn takes_effect(&mut self, piece: usize) {
        let used = self
            .pieces
            .iter()
            .position(|piece| piece.life == Life::InUse);
        let used = used.unwrap();
        if self.compromised {
            for old in &mut self.pieces {
                old.life = Life::Dead;
            }
        } else {
            let until = self.overlap_of(used);
            self.put_aside(used, until);
        }
        self.pieces[piece].life = Life::InUse;
        self.compromised = false;
        self.deadline = None;
    }

    pub(super) fn overlap_of(&self, piece: usize) -> DateTime {
        let until = DateTime(self.now.0 + self.terms.overlap);
        until.min(self.pieces[piece].not_after.clone())
    }

    /// Puts a piece aside. No more than four count at a time, the latest ones.
    pub(super) fn put_aside(&mut self, piece: usize, until: DateTime) {
        self.aside += 1;
        self.pieces[piece].life = Life::Aside(until, self.aside);
        let mut aside: Vec<(usize, usize)> = Vec::new();
        for (number, piece) in self.pieces.iter().enumerate() {
            if let Life::Aside(until, order) = &piece.life
                && self.now < *until
            {
                aside.push((*order, number));
            }
        }
        aside.sort_unstable();
        while aside.len() > Renewal::RETIRING_MAX {
            let (_, oldest) = aside.remove(0);
            self.pieces[oldest].life = Life::Dead;
        }
    }

    /// As what a piece counts.
    pub(super) fn standing(&self, piece: usize, now: &DateTime) -> Standing {
        let piece = &self.pieces[piece];
        let overdue = self
            .deadline
            .as_ref()
            .is_some_and(|deadline| deadline <= now);
        let restricted = self.compromised || overdue;
        match &piece.life {
            _ if piece.not_after <= *now => Standing::No,
            Life::Dead => Standing::No,
            Life::Aside(until, _) if until <= now => Standing::No,
            Life::Unused => Standing::Successor,
            Life::InUse | Life::Aside(..) if restricted => Standing::Restricted,
            Life::InUse => Standing::Active,
            Life::Aside(until, _) => Standing::Retiring {
                until: until.clone(),
            },
        }
    }

    // What must hold.

    pub(super) fn check(&self, said: &str) {
        let (inv, other) = (&self.held.record, &self.other);
        let mut counting = 0;
        for (number, piece) in self.pieces.iter().enumerate() {
            let fingerprint = self.fingerprint(number);
            let digest = &self.stock.secrets[number].digest;
            let mut times = vec![self.now.clone()];
            if let Life::Aside(until, _) = &piece.life
                && self.now < *until
            {
                times.extend([DateTime(until.0 - TICK), until.clone()]);
            }
            for now in &times {
                let expected = self.standing(number, now);
                let found = standing(inv, fingerprint, &self.terms, now);
                assert_eq!(found, expected, "{said}: piece {number} at {now}");
                let (found, _) = judge_secret(inv, digest, &self.terms, now);
                let expected = match expected {
                    // What may be in other hands opens nothing.
                    Standing::Restricted if self.compromised => Standing::No,
                    Standing::Active | Standing::Retiring { .. } if piece.is_distrusted => {
                        unreachable!("{said}: piece {number} counts after a compromise")
                    }
                    expected => expected,
                };
                assert_eq!(found, expected, "{said}: secret {number} at {now}");
            }
            counting += usize::from(self.standing(number, &self.now) != Standing::No);
            // Nobody passes for anybody else.
            let of_other = judge_secret(other, digest, &self.terms, &self.now).0;
            assert_eq!(of_other, Standing::No, "{said}");
            assert_eq!(until(other, fingerprint), None, "{said}");
        }
        assert!(counting <= 2 + Renewal::RETIRING_MAX, "{said}: {counting}");
        assert!(
            inv.renewal.retiring.len() <= Renewal::RETIRING_MAX,
            "{said}"
        );

        // Nobody is locked out: what is in use is known to the client, and is good for a renewal at least.
        let used = self
            .pieces
            .iter()
            .position(|piece| piece.life == Life::InUse);
        let used = used.unwrap();
        assert!(
            self.known.contains(&used),
            "{said}: in use, and unknown to its user"
        );
        if self.now < self.pieces[used].not_after {
            let standing = standing(inv, self.fingerprint(used), &self.terms, &self.now);
            let renewal = self.decide(&standing, self.names + 1, self.keys + 1);
            assert!(renewal.is_ok(), "{said}: locked out: {renewal:?}");
        }

        // Whatever was made out and counts no more, though it would by its own time, is revoked or about to be.
        for (number, piece) in self.pieces.iter().enumerate() {
            if self.now < piece.not_after && piece.life == Life::Dead {
                let id = RevokedCertificate::id(1, &serial(number));
                let revoked = self.world.held::<RevokedCertificate>(&id);
                assert!(revoked.is_some(), "{said}: piece {number} is not revoked");
            }
        }
    }

    /// A client that let its certificate's own time pass has to enrol anew; that is another story.
    pub(super) fn may_go_on(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|piece| piece.life == Life::InUse && self.now < piece.not_after)
    }
}
