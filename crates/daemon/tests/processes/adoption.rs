//! later
crate::tests! {}
pub(crate) fn parent(_: std::env::Args) -> ! {
    unreachable!()
}
