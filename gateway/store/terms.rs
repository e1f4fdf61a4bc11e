//! Terms: who leads, as a store in this process knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::Term;

/// The terms of a store, by name.
#[derive(Debug, Default)]
pub(super) struct Terms(BTreeMap<Arc<str>, Led>);

#[derive(Debug)]
struct Led {
    term: Term,
    holder: String,
    /// The moment from which on others may lead; `None`: nobody else ever does.
    until: Option<Instant>,
}

impl Terms {
    /// The term of `holder`, renewed or new, unless somebody else leads at `now`.
    pub(super) fn lead(&mut self, name: &str, holder: &str, now: Instant, until: Option<Instant>) -> Option<Term> {
        let led = self.0.get_mut(name);
        let epoch = match led {
            Some(led) if led.holder == holder => {
                led.until = until;
                return Some(led.term.clone());
            }
            Some(led) if led.until.is_none_or(|until| now < until) => return None,
            Some(led) => led.term.epoch + 1,
            None => 1,
        };
        let name: Arc<str> = name.into();
        let term = Term { name: Arc::clone(&name), epoch };
        self.0.insert(name, Led { term: term.clone(), holder: holder.to_owned(), until });
        Some(term)
    }

    /// Whether somebody else leads by now.
    pub(super) fn is_over(&self, term: &Term) -> bool {
        self.0.get(&term.name).is_none_or(|led| led.term != *term)
    }
}
