//! `[renewal]` and `[retention]`: what is renewed when, what becomes of who does not follow, and what is kept of who left.

use serde::Deserialize;

use super::Config;

/// The longest overlap, in minutes: 30 days.
const OVERLAP_MINUTES_MAX: u32 = 30 * 24 * 60;

/// Says what is wrong with the keys that have to do with time.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let renewal = &config.renewal;
    let bounded = [
        (
            "renewal.overlap_minutes",
            renewal.overlap_minutes,
            1,
            OVERLAP_MINUTES_MAX,
        ),
        ("renewal.secret_days", renewal.secret_days, 1, 1095),
        ("renewal.within_days", renewal.within_days, 1, 365),
        (
            "onboarding.enrolment_days",
            config.onboarding.enrolment_days,
            0,
            36_500,
        ),
        (
            "retention.offboarded_days",
            config.retention.offboarded_days,
            0,
            36_500,
        ),
    ];
    for (key, value, min, max) in bounded {
        if !(min..=max).contains(&value) {
            return Err(format!("{key}: must be from {min} to {max}"));
        }
    }
    // What is replaced at two thirds of its life must have retired before it would have ended.
    let lives = [
        (
            "certificates.invoker_days",
            config.certificates.invoker_days,
        ),
        (
            "certificates.function_days",
            config.certificates.function_days,
        ),
        ("renewal.secret_days", renewal.secret_days),
    ];
    for (key, days) in lives {
        let third = days.saturating_mul(24 * 60) / 3;
        if renewal.overlap_minutes > third {
            return Err(format!(
                "renewal.overlap_minutes: must be at most {third}, a third of {key}: what is renewed in time would otherwise outlive its end"
            ));
        }
    }
    Ok(())
}

/// `[renewal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalSection {
    /// How long what was replaced still counts once its holder was seen with the new, in minutes.
    pub overlap_minutes: u32,
    /// Life of the Onboard_Secret of an invoker that can renew it, in days.
    pub secret_days: u32,
    /// How long an entity has to follow when it is asked to renew, in days.
    pub within_days: u32,
    /// What becomes of an invoker that has not followed by then.
    pub overdue: Overdue,
}

impl Default for RenewalSection {
    fn default() -> Self {
        Self {
            overlap_minutes: 60,
            secret_days: 90,
            within_days: 7,
            overdue: Overdue::Suspend,
        }
    }
}

impl RenewalSection {
    /// The overlap.
    #[must_use]
    pub fn overlap(&self) -> time::Duration {
        time::Duration::minutes(i64::from(self.overlap_minutes))
    }

    /// The time to follow a demand.
    #[must_use]
    pub fn within(&self) -> time::Duration {
        time::Duration::days(i64::from(self.within_days))
    }

    /// Life of the Onboard_Secret.
    #[must_use]
    pub fn secret_life(&self) -> time::Duration {
        time::Duration::days(i64::from(self.secret_days))
    }

    /// Whether who is overdue counts for nothing but its own renewal.
    #[must_use]
    pub fn overdue_suspends(&self) -> bool {
        self.overdue == Overdue::Suspend
    }
}

/// What becomes of an invoker that was asked to renew and has not done so by the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overdue {
    /// It can do nothing but renew until it has.
    #[default]
    Suspend,
    /// It is offboarded.
    Offboard,
    /// It is listed.
    List,
}

/// `[retention]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSection {
    /// How long it is remembered that an offboarded invoker was here, in days; not at all if 0.
    pub offboarded_days: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_on_their_own() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.renewal.overlap(), time::Duration::hours(1));
        assert_eq!(config.renewal.within(), time::Duration::days(7));
        assert_eq!(config.renewal.secret_life(), time::Duration::days(90));
        assert!(config.renewal.overdue_suspends());
        assert_eq!(config.retention.offboarded_days, 0);
        assert_eq!(config.onboarding.enrolment_days, 0);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (text, said) in [
            (
                "[renewal]\noverlap_minutes = 0",
                "renewal.overlap_minutes: must be from 1 to 43200",
            ),
            (
                "[renewal]\nsecret_days = 0",
                "renewal.secret_days: must be from 1 to 1095",
            ),
            (
                "[renewal]\nwithin_days = 366",
                "renewal.within_days: must be from 1 to 365",
            ),
            (
                "[renewal]\noverdue = \"shoot\"",
                "renewal.overdue: unknown variant",
            ),
            ("[renewal]\noverlap = 1", "renewal.overlap: unknown key"),
            (
                "[retention]\noffboarded_days = 36501",
                "retention.offboarded_days: must be from 0 to 36500",
            ),
            (
                "[onboarding]\nenrolment_days = 36501",
                "onboarding.enrolment_days: must be from 0 to 36500",
            ),
            (
                "[certificates]\ninvoker_days = 1\n[renewal]\noverlap_minutes = 481",
                "at most 480, a third of certificates.invoker_days",
            ),
            (
                "[renewal]\nsecret_days = 1\noverlap_minutes = 481",
                "at most 480, a third of renewal.secret_days",
            ),
        ] {
            let refused = Config::parse(text).unwrap_err().to_string();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        let longest = "[certificates]\ninvoker_days = 1\n[renewal]\noverlap_minutes = 480";
        assert!(Config::parse(longest).is_ok());
        let words = [
            ("suspend", Overdue::Suspend),
            ("offboard", Overdue::Offboard),
            ("list", Overdue::List),
        ];
        for (word, overdue) in words {
            let config = Config::parse(&format!("[renewal]\noverdue = \"{word}\"")).unwrap();
            assert_eq!(config.renewal.overdue, overdue);
        }
    }
}
