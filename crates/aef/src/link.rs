//! Whether the CAPIF core function answers. A gateway that has lost it cannot hear of a revocation, so that somebody must be
//! told, and soon (P-06).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration as Time;

use capif_transport::SharedClock;
use time::{Duration, OffsetDateTime};

/// After how long without an answer it is an alarm. Looked at every second, so that it is raised within ten.
const SILENCE_MAX: Duration = Duration::seconds(9);

/// After how long without an answer something is asked, only to see.
const QUIET_MAX: Duration = Duration::seconds(3);

/// How long the core function may take to answer.
pub(crate) const ANSWER_TIME: Time = Time::from_secs(5);

/// The way to the core function, as its last answers tell.
pub(crate) struct Link {
    state: Mutex<State>,
    clock: SharedClock,
}

struct State {
    /// When it last answered.
    answered: OffsetDateTime,
    /// Whether the last question went without an answer.
    down: bool,
    alarmed: bool,
}

impl Link {
    /// It has just answered.
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            state: Mutex::new(State {
                answered: clock.now(),
                down: false,
                alarmed: false,
            }),
            clock,
        }
    }

    /// Notes what became of a question, and hands it on.
    pub(crate) fn note<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        match &outcome {
            Ok(_) => self.answered(),
            Err(_) => self.state().down = true,
        }
        outcome
    }

    fn answered(&self) {
        let mut state = self.state();
        state.answered = self.clock.now();
        state.down = false;
        if std::mem::take(&mut state.alarmed) {
            tracing::info!(
                target: "capif::alarm",
                alarm = "ccf-unreachable",
                ended = true,
                "the CAPIF core function answers again"
            );
        }
    }

    /// Whether the last question went without an answer.
    pub(crate) fn is_down(&self) -> bool {
        self.state().down
    }

    /// Whether it is time to ask something.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut state = self.state();
        let silence = self.silence(&mut state);
        state.down || silence >= QUIET_MAX
    }

    /// Raises the alarm, once, when it is time.
    pub(crate) fn judge(&self) {
        let mut state = self.state();
        let silence = self.silence(&mut state);
        if state.down && silence >= SILENCE_MAX && !state.alarmed {
            state.alarmed = true;
            tracing::error!(
                target: "capif::alarm",
                alarm = "ccf-unreachable",
                seconds = silence.whole_seconds(),
                "the CAPIF core function does not answer: calls are refused once what is known is too old"
            );
        }
    }

    /// How long ago the last answer was; a clock that was put back starts it anew.
    fn silence(&self, state: &mut State) -> Duration {
        let now = self.clock.now();
        if now < state.answered {
            state.answered = now;
        }
        now - state.answered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use capif_transport::ManualClock;

    use super::*;

    #[test]
    fn an_alarm_takes_a_failure_and_time_and_ends_with_an_answer() {
        let clock = Arc::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH));
        let link = Link::new(clock.clone());
        let alarmed = || {
            link.judge();
            link.state().alarmed
        };
        assert!(!link.is_quiet() && !alarmed());
        // Nobody asked for long: that alone is no alarm, but a reason to ask.
        clock.advance(Duration::seconds(60));
        assert!(link.is_quiet() && !alarmed());
        assert!(link.note(Err::<(), ()>(())).is_err());
        assert!(link.is_down() && link.is_quiet() && alarmed());
        assert!(link.note(Ok::<(), ()>(())).is_ok());
        assert!(!link.is_down() && !link.is_quiet() && !alarmed());
        // A failure alone is none either.
        assert!(link.note(Err::<(), ()>(())).is_err());
        assert!(!alarmed());
        clock.advance(Duration::seconds(8));
        assert!(!alarmed());
        clock.advance(Duration::seconds(1));
        assert!(alarmed());
    }

    #[test]
    fn a_clock_that_is_put_back_starts_anew() {
        let clock = Arc::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH));
        let link = Link::new(clock.clone());
        assert!(link.note(Err::<(), ()>(())).is_err());
        clock.advance(Duration::hours(-1));
        link.judge();
        assert!(!link.state().alarmed);
        clock.advance(Duration::seconds(9));
        link.judge();
        assert!(link.state().alarmed);
    }
}
