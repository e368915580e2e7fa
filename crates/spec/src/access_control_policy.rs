//! Access control policies (TS 29.222 clause 8.6.4).

use crate::common::{ApiInvokerId, DateTime, NetSliceId};

object! {
    /// What API invokers may do with one API at one AEF (TS 29.222 clause 8.6.4.2.2).
    #[derive(Default)]
    pub struct AccessControlPolicyList {
        /// One policy per API invoker; may be empty.
        pub api_invoker_policies: Option<Vec<ApiInvokerPolicy>>,
    }
}

object! {
    /// What one API invoker may do (TS 29.222 clause 8.6.4.2.3).
    pub struct ApiInvokerPolicy {
        /// The API invoker.
        pub api_invoker_id: ApiInvokerId,
        /// How many calls in all. The schema sets no minimum, but less than none has no meaning and is refused.
        pub allowed_total_invocations: Option<u64>,
        /// How many calls each second, in the same way.
        pub allowed_invocations_per_second: Option<u64>,
        /// When; may be empty.
        pub allowed_invocation_time_range_list: Option<Vec<TimeRangeList>>,
        /// In which network slices; not empty.
        pub net_slice_info: Option<Vec<NetSliceId>>,
    }
}

object! {
    /// One range of time, in spite of its name (TS 29.222 clause 8.6.4.2.4).
    #[derive(Default)]
    pub struct TimeRangeList {
        /// When it begins.
        pub start_time: Option<DateTime>,
        /// When it ends.
        pub stop_time: Option<DateTime>,
    }
}
