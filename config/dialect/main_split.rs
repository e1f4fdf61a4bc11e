//! The one main version that clouds know, read from and written into an alias.
//!
//! Written, it is the alias's `stable`. Read, it is `stable` if that has a part in the split, also one of 0, and else the version with
//! the largest weight, of equals the lower number.

use crate::model::{Alias, AliasPatch, Field};
use crate::value::name::VersionId;
use crate::value::weight::{Split, SplitError, Weight};

/// A split as clouds see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MainSplit {
    /// The version that has what the others do not.
    pub main: VersionId,
    /// The others. Clouds write one at most; more come from elsewhere.
    pub additional: Vec<(VersionId, Weight)>,
}

/// Why versions and weights are no split. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MainSplitError {
    /// The main version has a weight too.
    #[error(
        "version {0} is the main version, and cannot be an additional one too: name another version, or give no weights"
    )]
    MainTwice(VersionId),
    /// The others have more than there is.
    #[error("the additional versions have {0} % together; leave the main version something, or 0")]
    Above(u32),
    /// No split for another reason.
    #[error(transparent)]
    Split(#[from] SplitError),
}

impl MainSplit {
    /// Everything to one version.
    #[must_use]
    pub fn whole(main: VersionId) -> Self {
        Self { main, additional: Vec::new() }
    }

    /// The split of an alias, as requests see it.
    #[must_use]
    pub fn of(alias: &Alias) -> Self {
        let has_part = |version: &VersionId| alias.split.parts().iter().any(|(part, _)| part == version);
        let main = alias.stable.filter(has_part).unwrap_or_else(|| alias.split.largest());
        let additional = alias.split.parts().iter().filter(|(version, _)| *version != main);
        Self { main, additional: additional.copied().collect() }
    }

    /// The same with another main version, which takes what the one before had.
    ///
    /// # Errors
    /// It is one of the additional ones.
    pub fn moved_to(self, main: VersionId) -> Result<Self, MainSplitError> {
        let moved = Self { main, ..self };
        moved.split().map(|_| moved)
    }

    /// The split that is written.
    ///
    /// # Errors
    /// Why it is none.
    pub fn split(&self) -> Result<Split, MainSplitError> {
        if self.additional.iter().any(|(version, _)| *version == self.main) {
            return Err(MainSplitError::MainTwice(self.main));
        }
        let given: u32 = self.additional.iter().map(|(_, weight)| u32::from(weight.basis_points())).sum();
        let rest = u16::try_from(given).ok().and_then(|given| Weight::WHOLE.checked_sub(given));
        let rest = rest.and_then(Weight::new).ok_or(MainSplitError::Above(given / 100))?;
        Ok(Split::new(self.additional.iter().copied().chain([(self.main, rest)]))?)
    }

    /// The edit that gives it to an alias: its split and its stable version, and nothing else.
    ///
    /// # Errors
    /// Why it is no split.
    pub fn patch(&self) -> Result<AliasPatch, MainSplitError> {
        Ok(AliasPatch { split: Some(self.split()?), stable: Field::Set(self.main), ..AliasPatch::default() })
    }

    /// A new alias with it.
    ///
    /// # Errors
    /// Why it is no split.
    pub fn alias(&self) -> Result<Alias, MainSplitError> {
        Ok(Alias { stable: Some(self.main), ..Alias::new(self.split()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> VersionId {
        text.parse().unwrap()
    }

    fn of(main: &str, additional: &[(&str, u16)]) -> MainSplit {
        let additional = additional.iter().map(|(number, parts)| (version(number), Weight::new(*parts).unwrap()));
        MainSplit { main: version(main), additional: additional.collect() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (split, text) in [
            (of("1", &[]), "1: 100"),
            (of("1", &[("2", 500)]), "1: 95, 2: 5"),
            (of("1", &[("2", 10_000)]), "1: 0, 2: 100"),
            (of("2", &[("1", 5_000)]), "1: 50, 2: 50"),
            (of("1", &[("2", 0)]), "1: 100, 2: 0"),
            (of("$LATEST", &[("2", 500)]), "2: 5, $LATEST: 95"),
        ] {
            let alias = split.alias().unwrap();
            assert_eq!((alias.split.to_string().as_str(), MainSplit::of(&alias)), (text, split.clone()));
            let patched = Alias::new(Split::whole(version("7"))).patched(&split.patch().unwrap());
            assert_eq!(MainSplit::of(&patched), split, "{text}");
        }
    }

    #[test]
    fn without_stable_the_largest_is_the_main_version() {
        let shares = |text: &str| of(text, &[]).main;
        let split =
            Split::new([(shares("1"), Weight::new(3_000).unwrap()), (shares("2"), Weight::new(7_000).unwrap())]);
        let mut alias = Alias::new(split.unwrap());
        assert_eq!(MainSplit::of(&alias), of("2", &[("1", 3_000)]));
        alias.stable = Some(version("1"));
        assert_eq!(MainSplit::of(&alias), of("1", &[("2", 7_000)]));
        alias.stable = Some(version("9"));
        assert_eq!(MainSplit::of(&alias).main, version("2"), "what has no part is not the main version");
        let equal = Split::new([1, 2].map(|n| (VersionId::number(n).unwrap(), Weight::new(5_000).unwrap())));
        assert_eq!(MainSplit::of(&Alias::new(equal.unwrap())).main, version("1"));
    }

    #[test]
    fn weights_that_are_kept_must_fit() {
        let kept = of("1", &[("2", 500)]);
        assert_eq!(kept.clone().moved_to(version("3")), Ok(of("3", &[("2", 500)])));
        let twice = kept.moved_to(version("2")).unwrap_err();
        assert!(twice.to_string().starts_with("version 2 is the main version"), "{twice}");
        assert_eq!(of("1", &[("2", 6_000), ("3", 5_000)]).split(), Err(MainSplitError::Above(110)));
    }
}
