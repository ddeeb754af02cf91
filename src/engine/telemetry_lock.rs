//! Sets `ORT_DISABLE_TELEMETRY=1`: a second protection, in case a library with a telemetry client is loaded.
//!
//! ONNX Runtime reads the variable once, while it is loaded. Only a process with one thread may change its environment,
//! and a library does not know when that is the case. So the system's loader sets the variable before `main`, in the
//! server, the commands, the tests and every program that links this crate. [`confirm`] checks it again before ONNX
//! Runtime is loaded.

use super::LoadError;

pub(super) const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// The loader calls the functions in this section before `main`.
#[used]
#[expect(unsafe_code, reason = "the section holds pointers to functions of this type only")]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func,mod_init_funcs"))]
static BEFORE_MAIN: extern "C" fn() = set;

extern "C" fn set() {
    #[expect(
        unsafe_code,
        reason = "before `main` the process has one thread, so no other thread reads the environment: this crate is linked \
                  into programs, never loaded at run time (its only crate types are `rlib` and `bin`)"
    )]
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
}

/// Checks that the variable is set.
///
/// # Errors
/// [`LoadError::TelemetryOn`] when it is not: it was unset, or this platform does not run [`set`].
#[expect(clippy::disallowed_methods, reason = "it is not configuration: no value but 1 is accepted")]
pub(super) fn confirm() -> Result<(), LoadError> {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "1") { Ok(()) } else { Err(LoadError::TelemetryOn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_set_before_main() {
        assert!(confirm().is_ok());
    }
}
