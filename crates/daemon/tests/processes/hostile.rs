//! later
crate::tests! {}
