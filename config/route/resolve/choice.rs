//! Steps 2 to 5: from what is asked for to a version.

use super::way;
use super::{Draw, Headers, IssuedKey, Past, Reason, RequestHead, Resolution, Routed, Unresolved};
use crate::model::{KeySource, OnMissingKey};
use crate::route::head::Scratch;
use crate::route::table::{Alias, AliasIndex, Function, Pointed, Preferred, Table, UpstreamIndex};
use crate::value::bucket;
use crate::value::name::VersionId;

pub(super) fn choose<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    way: &Routed,
    draw: &mut D,
) -> Result<Resolution, Unresolved> {
    let (index, overridden) = match way.pointed {
        Pointed::Version(version) => return named(table, way, version, Reason::Direct),
        pointed => match way::overridden(table, head, way.function) {
            Some(Pointed::Version(version)) => return named(table, way, version, Reason::Override),
            Some(Pointed::Alias(alias)) => (Some(alias), true),
            Some(Pointed::Missing) => (None, true),
            Some(Pointed::Broken) => return Err(Unresolved::Unreadable(way.via)),
            None => match pointed {
                Pointed::Alias(alias) => (Some(alias), false),
                Pointed::Broken => return Err(Unresolved::Unreadable(way.via)),
                Pointed::Version(_) | Pointed::Missing => (None, false),
            },
        },
    };
    let function = table.function(way.function).ok_or(Unresolved::NoFunction(way.via))?;
    let missing = Unresolved::NoAlias(way.via, way.function, way.stage);
    let index = index.ok_or(missing)?;
    let alias = table.alias(index).filter(|alias| alias.function == way.function).ok_or(missing)?;
    let request = Request { head, function, alias, index, way };
    let (version, reason, issued) = request.choose(draw)?;
    let upstream = request.upstream(version)?;
    let mut resolution = Resolution {
        routed: *way,
        alias: Some(index),
        version,
        upstream,
        spare: if overridden { None } else { request.spare(draw, version) },
        fallback_from: None,
        reason,
        overridden,
        issued,
    };
    if alias.fallback
        && let Some((version, upstream)) = resolution.spare
        && !draw.healthy(resolution.upstream)
    {
        resolution.fallback_from = Some(resolution.version);
        (resolution.version, resolution.upstream, resolution.spare) = (version, upstream, None);
    }
    Ok(resolution)
}

/// Chooses as [`choose`] did in the past: the decisions that stand on what the request held are taken from what is told of it.
pub(super) fn again<H: Headers + ?Sized, D: Draw>(
    table: &Table,
    head: &RequestHead<'_, H>,
    way: &Routed,
    past: &Past<'_>,
    draw: &mut D,
) -> Result<Resolution, String> {
    match (past.reason, way.pointed) {
        (Reason::Direct, Pointed::Version(version)) => {
            return named(table, way, version, Reason::Direct).map_err(|unresolved| unresolved.to_string());
        }
        (Reason::Direct, _) => return Err("the way in names no version".to_owned()),
        (Reason::Override, _) => {
            return named(table, way, past.version, Reason::Override).map_err(|unresolved| unresolved.to_string());
        }
        _ => {}
    }
    let function = table.function(way.function).ok_or("there is no such function")?;
    let pointed = if let Pointed::Alias(alias) = way.pointed { Some(alias) } else { None };
    let index = past.alias.map_or(pointed, |name| function.alias(name.as_str()));
    let (index, alias) = index.and_then(|index| Some((index, table.alias(index)?))).ok_or("there is no such alias")?;
    let request = Request { head, function, alias, index, way };
    let version = request.version_again(past)?;
    let upstream = request.upstream(version).map_err(|unresolved| unresolved.to_string())?;
    let overridden = pointed != Some(index);
    Ok(Resolution {
        routed: *way,
        alias: Some(index),
        version,
        upstream,
        spare: if overridden { None } else { request.spare(draw, version) },
        fallback_from: None,
        reason: past.reason,
        overridden,
        issued: None,
    })
}

/// A version that was named: nobody stands in for it.
fn named(table: &Table, way: &Routed, version: VersionId, reason: Reason) -> Result<Resolution, Unresolved> {
    let function = table.function(way.function).ok_or(Unresolved::NoFunction(way.via))?;
    let missing = Unresolved::NoVersion(way.via, way.function, way.stage, version);
    Ok(Resolution {
        routed: *way,
        alias: None,
        version,
        upstream: function.upstream(version, way.stage).ok_or(missing)?,
        spare: None,
        fallback_from: None,
        reason,
        overridden: reason == Reason::Override,
        issued: None,
    })
}

/// A request that reached an alias.
struct Request<'a, H: ?Sized> {
    head: &'a RequestHead<'a, H>,
    function: &'a Function,
    alias: &'a Alias,
    index: AliasIndex,
    way: &'a Routed,
}

/// What a key source gives.
enum Key {
    Bucket(u16),
    Issued(u16, IssuedKey),
    None,
}

impl<H: Headers + ?Sized> Request<'_, H> {
    fn choose<D: Draw>(&self, draw: &mut D) -> Result<(VersionId, Reason, Option<IssuedKey>), Unresolved> {
        let alias = self.alias;
        if alias.keyless {
            let (version, reason) = self.slot(draw)?;
            return Ok((version, reason, None));
        }
        let model = &*alias.model;
        for (number, rule) in (0..).zip(&model.rules) {
            if rule.when.matches(self.head, alias.salt) {
                return Ok((rule.version, Reason::Rule(number), None));
            }
        }
        let (bucket, issued) = match self.key(draw) {
            Key::Bucket(bucket) => (bucket, None),
            Key::Issued(bucket, key) => (bucket, Some(key)),
            Key::None if model.key.is_empty() || model.on_missing_key == OnMissingKey::Slot => {
                let (version, reason) = self.slot(draw)?;
                return Ok((version, reason, None));
            }
            Key::None if model.on_missing_key == OnMissingKey::Stable => {
                return Ok((model.stable_version(), Reason::Stable, None));
            }
            Key::None => return Err(Unresolved::MissingKey(self.way.via, self.index)),
        };
        Ok((model.buckets.version(bucket), Reason::Bucket(bucket), issued))
    }

    fn version_again(&self, past: &Past<'_>) -> Result<VersionId, String> {
        let (alias, model) = (self.alias, &*self.alias.model);
        match past.reason {
            Reason::Rule(number) => {
                let rule = model.rules.get(number as usize).map(|rule| rule.version);
                rule.ok_or_else(|| format!("alias `{}` has no rule {}", alias.name, u64::from(number) + 1))
            }
            Reason::Bucket(bucket) => Ok(model.buckets.version(bucket)),
            Reason::Slot(slot) => {
                let version = alias.version_of_slot(&self.function.name, past.owed, slot);
                version.ok_or_else(|| format!("alias `{}` draws no slots", alias.name))
            }
            Reason::Stable => Ok(model.stable.unwrap_or_else(|| model.split.largest())),
            Reason::Only => match *alias.preference {
                [only] => Ok(only.version),
                _ => Err(format!("alias `{}` has more than one version above weight 0", alias.name)),
            },
            Reason::Random | Reason::Direct | Reason::Override => Ok(past.version),
        }
    }

    /// The bucket of the first key source that is present; else that of a key that is issued, if a source issues.
    fn key<D: Draw>(&self, draw: &mut D) -> Key {
        let bucket_of = |key: &[u8]| bucket::bucket(bucket::key_hash(self.alias.salt, key));
        let mut issues = None;
        for (number, source) in (0..).zip(&self.alias.model.key) {
            let mut scratch = Scratch::new();
            let key = match source {
                KeySource::Header(name) => self.head.headers.get(name),
                KeySource::Cookie(name) => self.head.cookie(name),
                KeySource::Query(name) => self.head.parameter(name).map(|value| scratch.decode(value)),
                KeySource::ClientAddress => Some(scratch.address(self.head.client)),
                KeySource::IssueCookie { name, .. } => {
                    issues = issues.or(Some(number));
                    self.head.cookie(name)
                }
            };
            if let Some(key) = key.filter(|key| !key.is_empty()) {
                return Key::Bucket(bucket_of(key));
            }
        }
        let Some(source) = issues else { return Key::None };
        let bits = u128::from(draw.random()) << 64 | u128::from(draw.random());
        let key = IssuedKey { bits, source };
        Key::Issued(bucket_of(&key.text()), key)
    }

    fn slot<D: Draw>(&self, draw: &mut D) -> Result<(VersionId, Reason), Unresolved> {
        let alias = self.alias;
        match &alias.slots {
            Some(slots) => {
                // So that a slot is never drawn in vain.
                for preferred in &alias.preference {
                    self.runs(preferred).ok_or_else(|| self.missing(preferred.version))?;
                }
                let cursor = draw.slot(self.index);
                Ok((alias.at(slots, cursor), Reason::Slot(cursor)))
            }
            None => match *alias.preference {
                [only] => Ok((only.version, Reason::Only)),
                _ => Ok((alias.random(draw.random()), Reason::Random)),
            },
        }
    }

    fn upstream(&self, version: VersionId) -> Result<UpstreamIndex, Unresolved> {
        let preferred = self.alias.preference.iter().find(|preferred| preferred.version == version);
        let known = preferred.and_then(|preferred| preferred.upstream);
        known.or_else(|| self.function.upstream(version, self.way.stage)).ok_or_else(|| self.missing(version))
    }

    /// Where a preferred version runs for this request.
    fn runs(&self, preferred: &Preferred) -> Option<UpstreamIndex> {
        preferred.upstream.or_else(|| self.function.upstream(preferred.version, self.way.stage))
    }

    fn missing(&self, version: VersionId) -> Unresolved {
        Unresolved::NoVersion(self.way.via, self.way.function, self.way.stage, version)
    }

    /// The first healthy version in the order of preference but this one.
    fn spare<D: Draw>(&self, draw: &D, chosen: VersionId) -> Option<(VersionId, UpstreamIndex)> {
        let others = self.alias.preference.iter().filter(|preferred| preferred.version != chosen);
        others
            .filter_map(|preferred| Some((preferred.version, self.runs(preferred)?)))
            .find(|&(_, upstream)| draw.healthy(upstream))
    }
}
