//! Descriptions, as clouds write them and the model has them.

use crate::dialect::failure::{DialectFailure, FailureKind};
use crate::model::Field;
use crate::value::line::is_line;

/// Reads a description as a change of the one that is there: an absent one keeps it, an empty one removes it.
///
/// # Errors
/// The text is not one line of at most 1024 characters.
pub fn read_description(text: Option<&str>) -> Result<Field<String>, DialectFailure> {
    match text {
        None => Ok(Field::Keep),
        Some("") => Ok(Field::Reset),
        Some(text) if is_line(text) => Ok(Field::Set(text.to_owned())),
        Some(_) => {
            let message = "a description is one line of at most 1024 characters, without control characters";
            Err(DialectFailure::new(FailureKind::WrongParameter, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_a_line() {
        assert_eq!(read_description(None), Ok(Field::Keep));
        assert_eq!(read_description(Some("")), Ok(Field::Reset));
        assert_eq!(read_description(Some("a b")), Ok(Field::Set("a b".to_owned())));
        for text in ["a\nb", &"x".repeat(1025)] {
            assert_eq!(read_description(Some(text)).unwrap_err().kind, FailureKind::WrongParameter);
        }
    }
}
