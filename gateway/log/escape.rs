//! Characters that no log line may hold: those that end a line, drive a terminal, or change the order in which text is
//! shown. They are written as `\uXXXX`.
//!
//! C1 controls (U+0080 to U+009F) drive terminals as ESC does, and bidirectional marks let one text be read as another
//! ("Trojan Source", <https://trojansource.codes>).

/// Reports characters that are written as `\uXXXX`.
pub(super) fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'
        // Arabic letter mark, left-to-right mark, right-to-left mark.
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        // Line and paragraph separator, embeddings and overrides.
        | '\u{2028}'..='\u{202e}'
        // Isolates.
        | '\u{2066}'..='\u{2069}')
}

/// Appends the inside of a JSON string.
pub(super) fn json_string(out: &mut Vec<u8>, text: &str) {
    copy(out, text, |character| match character {
        '"' => Replacement::Text(br#"\""#),
        '\\' => Replacement::Text(br"\\"),
        hidden if is_hidden(hidden) => Replacement::Code,
        _ => Replacement::None,
    });
}

/// Appends a line that is JSON already, without its `\n`: what is hidden can only stand inside a string.
pub(super) fn json_line(out: &mut Vec<u8>, line: &str) {
    copy(out, line, |character| if is_hidden(character) { Replacement::Code } else { Replacement::None });
}

/// Appends a line for people, without its last `\n`. Lines after the first are indented, so that none can be mistaken for a
/// line of its own. With `colours` ESC stays, which then is the formatter's: it has replaced every other.
pub(super) fn text_line(out: &mut Vec<u8>, line: &str, colours: bool) {
    copy(out, line, |character| match character {
        '\n' => Replacement::Text(b"\n    "),
        '\x1b' if colours => Replacement::None,
        hidden if is_hidden(hidden) => Replacement::Code,
        _ => Replacement::None,
    });
}

enum Replacement {
    None,
    Text(&'static [u8]),
    /// `\uXXXX`.
    Code,
}

fn copy(out: &mut Vec<u8>, text: &str, replacement: impl Fn(char) -> Replacement) {
    let mut copied = 0;
    for at in text.bytes().enumerate().filter(|(_, byte)| may_begin_one(*byte)).map(|(at, _)| at) {
        let character = text[at..].chars().next().expect("such a byte begins a character");
        let replacement = replacement(character);
        if matches!(replacement, Replacement::None) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        copied = at + character.len_utf8();
        match replacement {
            Replacement::Text(bytes) => out.extend_from_slice(bytes),
            _ => code(out, character),
        }
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
}

/// Reports bytes that may begin a character that is replaced: ASCII, or the first byte of U+0080 to U+00BF, U+0600 to
/// U+063F, or U+2000 to U+2FFF.
fn may_begin_one(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f | 0xc2 | 0xd8 | 0xe2)
}

/// All hidden characters have at most 16 bits.
fn code(out: &mut Vec<u8>, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(br"\u");
    let code = u32::from(character) as usize;
    out.extend([12, 8, 4, 0].map(|shift| HEX[code >> shift & 15]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>, &str), text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_for_people_stay_apart() {
        let line = "\x1b[2mnow\x1b[0m refused\n1 | a\u{202e}b\n\u{9b}2Jforged";
        assert_eq!(
            written(|out, line| text_line(out, line, true), line),
            "\x1b[2mnow\x1b[0m refused\n    1 | a\\u202eb\n    \\u009b2Jforged"
        );
        assert_eq!(written(|out, line| text_line(out, line, false), "\x1b[2mnow\r"), "\\u001b[2mnow\\u000d");
    }

    #[test]
    fn every_character_is_seen() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = character.to_string();
            let replaced = written(json_string, &text) != text;
            assert_eq!(replaced, is_hidden(character) || matches!(character, '"' | '\\'), "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn json_says_what_it_said(text in any::<String>(), mark in 0x2000_u32..0x2070) {
            let text = format!("{text}{}", char::from_u32(mark).unwrap());
            let string = format!("\"{}\"", written(json_string, &text));
            let line = written(json_line, &serde_json::to_string(&text).unwrap());
            for json in [string, line] {
                prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
                prop_assert!(!json.chars().any(is_hidden), "{:?}", json);
            }
        }
    }
}
