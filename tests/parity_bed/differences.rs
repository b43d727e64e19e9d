//! Where mcompose differs from docker compose 2.40.3 on purpose: the one list.

pub struct Deliberate {
    pub section: &'static str,
    pub case: &'static str,
    pub reason: &'static str,
}

/// A case of this list that is no longer different fails the test.
pub const DELIBERATE: &[Deliberate] = &[];

impl Deliberate {
    pub fn find(section: &str, case: &str) -> Option<&'static Self> {
        DELIBERATE.iter().find(|difference| difference.section == section && difference.case == case)
    }
}
