//! The rules of time that orders follow.

use schemas::api::Policies;

/// Policies in force, with the version that orders remember.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// 0: the defaults.
    pub(crate) version: u64,
    pub(crate) policies: &'a Policies,
}

#[derive(Default)]
pub(crate) struct PolicyBook {
    defaults: Policies,
}

impl PolicyBook {
    pub(crate) fn in_force(&self) -> InForce<'_> {
        InForce { version: 0, policies: &self.defaults }
    }
}
