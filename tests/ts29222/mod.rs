//! TS 29.222, by API.
