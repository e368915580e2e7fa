//! Error answers.

use super::{SupportedFeatures, Uri};

object! {
    /// The body of an error answer, as `application/problem+json` (TS 29.122 clause 5.2.1.2.12, RFC 9457).
    #[derive(Default)]
    pub struct ProblemDetails {
        /// A URI that identifies the type of problem.
        pub r#type: Option<Uri>,
        /// The problem type in a few words, the same each time it occurs.
        pub title: Option<String>,
        /// The HTTP status.
        pub status: Option<u16>,
        /// What happened this time, for a person to read.
        pub detail: Option<String>,
        /// A URI that identifies this occurrence.
        pub instance: Option<Uri>,
        /// What happened, for a machine to read: a name such as those of TS 29.500 table 5.2.7.2-1.
        pub cause: Option<String>,
        /// Which members or parameters are at fault; not empty.
        pub invalid_params: Option<Vec<InvalidParam>>,
        /// The features that the server supports, when a parameter was refused for want of one.
        pub supported_features: Option<SupportedFeatures>,
    }
}

object! {
    /// One member, header or parameter at fault (TS 29.122 clause 5.2.1.2.13).
    #[derive(Default)]
    pub struct InvalidParam {
        /// Its place: a JSON pointer, or the name of a header or parameter.
        pub param: String,
        /// What is wrong with it, for a person to read.
        pub reason: Option<String>,
    }
}
