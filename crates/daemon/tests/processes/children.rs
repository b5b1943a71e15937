//! later
crate::tests! {}
pub(crate) fn child(_: std::env::Args) -> ! {
    unreachable!()
}
