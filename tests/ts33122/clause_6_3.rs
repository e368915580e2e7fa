//! CAPIF-1e and negotiation (TS 33.122 clause 6.3).
