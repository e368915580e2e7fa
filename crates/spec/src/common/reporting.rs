//! How and when a subscription is reported on.

use super::DateTime;

object! {
    /// What a subscription wants of its reports (TS 29.523). TS 29.222 clause 5.4.2.2.2 speaks of the first
    /// five; the others come with the type.
    #[derive(Default)]
    pub struct ReportingInformation {
        /// Report what is known now at once.
        pub imm_rep: Option<bool>,
        /// Periodically, once, or whenever it happens.
        pub notif_method: Option<NotificationMethod>,
        /// After how many reports the subscription ends.
        pub max_report_nbr: Option<u64>,
        /// When the subscription ends.
        pub mon_dur: Option<DateTime>,
        /// The period in seconds.
        pub rep_period: Option<u64>,
        /// Which share of users is reported on, in percent.
        pub samp_ratio: Option<u8>,
        /// How users are divided before the share is taken; not empty.
        pub partition_criteria: Option<Vec<PartitioningCriteria>>,
        /// For how many seconds reports of a group are gathered.
        pub grp_rep_time: Option<u64>,
        /// Whether reports are sent, muted or fetched.
        pub notif_flag: Option<NotificationFlag>,
        /// What to do when muted reports cannot be kept.
        pub notif_flag_instruct: Option<MutingExceptionInstructions>,
        /// How many muted reports are kept, and for how long.
        pub muting_setting: Option<MutingNotificationsSettings>,
    }
}

object! {
    /// What to do when muted reports cannot be kept (TS 29.571).
    #[derive(Default)]
    pub struct MutingExceptionInstructions {
        /// With the reports kept so far.
        pub buffered_notifs: Option<BufferedNotificationsAction>,
        /// With the subscription.
        pub subscription: Option<SubscriptionAction>,
    }
}

object! {
    /// Bounds of muted reports (TS 29.571).
    #[derive(Default)]
    pub struct MutingNotificationsSettings {
        /// How many are kept.
        pub max_no_of_notif: Option<u64>,
        /// For how many seconds they are kept.
        pub duration_buffered_notif: Option<u64>,
    }
}

open_enumeration! {
    /// When reports are sent (TS 29.508).
    pub enum NotificationMethod {
        /// At a period.
        Periodic = "PERIODIC",
        /// Once.
        OneTime = "ONE_TIME",
        /// Whenever the event happens.
        OnEventDetection = "ON_EVENT_DETECTION",
    }
}

open_enumeration! {
    /// By what users are divided (TS 29.571).
    pub enum PartitioningCriteria {
        /// Type allocation code.
        Tac = "TAC",
        /// The subscriber's network.
        Subplmn = "SUBPLMN",
        /// Area.
        Geoarea = "GEOAREA",
        /// Network slice.
        Snssai = "SNSSAI",
        /// Data network.
        Dnn = "DNN",
    }
}

open_enumeration! {
    /// Whether reports are sent, muted or fetched (TS 29.571).
    pub enum NotificationFlag {
        /// They are sent.
        Activate = "ACTIVATE",
        /// They are kept back.
        Deactivate = "DEACTIVATE",
        /// Those kept back are sent, then muting goes on.
        Retrieval = "RETRIEVAL",
    }
}

open_enumeration! {
    /// What to do with reports that were kept back (TS 29.571).
    pub enum BufferedNotificationsAction {
        /// Send them.
        SendAll = "SEND_ALL",
        /// Drop them.
        DiscardAll = "DISCARD_ALL",
        /// Drop the oldest.
        DropOld = "DROP_OLD",
    }
}

open_enumeration! {
    /// What to do with a muted subscription that cannot go on (TS 29.571).
    pub enum SubscriptionAction {
        /// End it.
        Close = "CLOSE",
        /// Stay muted.
        ContinueWithMuting = "CONTINUE_WITH_MUTING",
        /// Send again.
        ContinueWithoutMuting = "CONTINUE_WITHOUT_MUTING",
    }
}
