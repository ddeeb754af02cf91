//! Collects the fields of a body that cannot be used.

use crate::api::{ApiError, FieldFault};

/// The fields at fault so far.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldFault>);

impl Faults {
    /// Notes a fault. `info` is what the field must be, without its value.
    pub(super) fn push(&mut self, field: &str, info: &str) {
        self.0.push(FieldFault { field: field.to_owned(), info: info.to_owned() });
    }

    /// The value, or `None` with its fault noted.
    pub(super) fn check<T, E: ToString>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.push(field, &error.to_string())).ok()
    }

    /// Whether a value is accepted; if not, its fault is noted.
    pub(super) fn accept(&mut self, field: &str, is_valid: bool, info: &str) -> bool {
        if !is_valid {
            self.push(field, info);
        }
        is_valid
    }

    /// The refusal of the request, if there are faults.
    pub(super) fn end(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::InvalidFields(self.0)) }
    }
}
