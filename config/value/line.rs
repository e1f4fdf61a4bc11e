//! Lines of text for people, and the labels of versions.

/// Whether a text is one line of 1 to 1024 characters.
pub(crate) fn is_line(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= 1024 && !text.contains(char::is_control)
}

/// Whether a text can be a label: a line that is no version.
pub(crate) fn is_label(text: &str) -> bool {
    is_line(text) && !text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('$') && !text.contains([':', ' '])
}
