//! Revisions as AWS shows them: UUIDs that say nothing.

use sha2::{Digest, Sha256};

/// The id of one thing at one revision of one store. Another store, thing or revision has another id.
#[must_use]
pub fn revision_id(store: &str, name: &str, revision: u64) -> String {
    let mut hash = Sha256::new();
    for part in [store, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(revision.to_be_bytes());
    let mut bytes: [u8; 16] = std::array::from_fn({
        let hash = hash.finalize();
        move |at| hash[at]
    });
    // Version 8 and the variant of RFC 9562: its bits mean what we say.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_a_uuid_and_differ() {
        let id = revision_id("a", "alias/shop/prod", 7);
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        assert!(id.as_bytes()[14] == b'8' && matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_eq!(id, revision_id("a", "alias/shop/prod", 7));
        for other in [
            revision_id("b", "alias/shop/prod", 7),
            revision_id("a", "alias/shop/test", 7),
            revision_id("a", "alias/shop/prod", 8),
            revision_id("aa", "lias/shop/prod", 7),
        ] {
            assert_ne!(id, other);
        }
    }
}
