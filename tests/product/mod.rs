//! What users of the product rely on beyond the specifications.
