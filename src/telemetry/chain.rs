//! An error with its causes on one line.

use std::error::Error;

/// The error and its causes, outermost first. A cause that the text before it repeats is left out.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] std::fmt::Error);

    #[test]
    fn causes_follow_and_are_not_repeated() {
        assert_eq!(error_chain(&Outer(Inner(std::fmt::Error))), format!("outer: inner: {}", std::fmt::Error));
    }
}
