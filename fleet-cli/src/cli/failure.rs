//! Which errors are the caller's, and which exit code they have.

use std::process::ExitCode;

use crate::client::ClientError;
use crate::folder::FolderError;
use crate::setup::{PlanError, SetupError};

/// Something about the call or the settings that the caller has to change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// 2 where the caller has to change something, 1 for all else.
pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let usage = error.chain().any(|cause| {
        cause.is::<Usage>()
            || cause.is::<PlanError>()
            || cause.is::<FolderError>()
            || cause.downcast_ref::<SetupError>().is_some_and(SetupError::is_usage)
            || cause.downcast_ref::<ClientError>().is_some_and(ClientError::is_usage)
    });
    ExitCode::from(if usage { 2 } else { 1 })
}
