//! Texts that belong to an alias and are written by Weir alone: JSON.

use serde::{Deserialize, Serialize};

use crate::model::{Alias, EarlierSplit, Layer, Past, Shield};
use crate::text::format::format_alias;
use crate::text::parse::{Env, Parsed, parse_alias};
use crate::text::problem::Problem;
use crate::value::name::VersionId;
use crate::value::weight::Weight;

#[derive(Serialize, Deserialize)]
struct StoredLayer {
    rollout: String,
    stable: String,
    candidate: String,
    weight: u16,
    shield: Option<String>,
    salt: Option<String>,
    #[serde(default)]
    is_rebased: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredPast {
    is_back: bool,
    splits: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
}

pub(super) fn layer_text(layer: &Layer) -> String {
    let stored = StoredLayer {
        rollout: layer.rollout.to_string(),
        stable: layer.stable.to_string(),
        candidate: layer.candidate.to_string(),
        weight: layer.weight.basis_points(),
        shield: layer.shield.map(|shield| shield.as_str().to_owned()),
        salt: layer.salt.clone(),
        is_rebased: layer.is_rebased,
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

pub(super) fn past_text(past: &Past) -> String {
    let text = |earlier: &EarlierSplit| format_alias(&earlier.restored(&Alias::new(earlier.split.clone())));
    let stored = StoredPast {
        is_back: past.is_back,
        splits: past.splits.iter().map(text).collect(),
        dropped: past.dropped.map(|rollout| rollout.to_string()),
    };
    serde_json::to_string(&stored).expect("texts are JSON")
}

pub(super) fn read_layer(path: &str, text: &str) -> Parsed<Layer> {
    let read = || {
        let stored: StoredLayer = serde_json::from_str(text).ok()?;
        let shield = match &stored.shield {
            Some(word) => Some(Shield::WORDS.iter().find(|(other, _)| other == word)?.1),
            None => None,
        };
        let stable: VersionId = stored.stable.parse().ok()?;
        let candidate = stored.candidate.parse().ok()?;
        // Two that are one are no split.
        if stable == VersionId::Number(candidate) {
            return None;
        }
        Some(Layer {
            rollout: stored.rollout.parse().ok()?,
            stable,
            candidate,
            weight: Weight::new(stored.weight)?,
            shield,
            salt: stored.salt,
            is_rebased: stored.is_rebased,
        })
    };
    read().map(|layer| (layer, Vec::new())).ok_or_else(|| damaged(path, "the stored layer of a rollout"))
}

pub(super) fn read_past(path: &str, text: &str, env: Env<'_>) -> Parsed<Past> {
    let stored: StoredPast = serde_json::from_str(text).map_err(|_| damaged(path, "the stored past of the alias"))?;
    let aliases = stored.splits.iter().map(|text| parse_alias(path, text, env));
    let aliases = aliases.collect::<Result<Vec<_>, _>>()?;
    let splits = aliases.iter().map(|(alias, _)| EarlierSplit::of(alias)).collect();
    let dropped = stored.dropped.map(|id| id.parse().map_err(|_| damaged(path, "the stored past of the alias")));
    Ok((Past { splits, is_back: stored.is_back, dropped: dropped.transpose()? }, Vec::new()))
}

fn damaged(path: &str, what: &str) -> Vec<Problem> {
    vec![Problem::error(path, format!("{what} is damaged"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::name::RolloutId;

    #[test]
    fn layers_and_pasts_are_read_back() {
        let layer = Layer {
            rollout: RolloutId(12),
            stable: "$LATEST".parse().unwrap(),
            candidate: 3.try_into().unwrap(),
            weight: Weight::new(525).unwrap(),
            shield: Some(Shield::AnyServerError),
            salt: Some("train-r12".into()),
            is_rebased: true,
        };
        for layer in [Layer { shield: None, salt: None, ..layer.clone() }, layer] {
            assert_eq!(read_layer("", &layer_text(&layer)).unwrap().0, layer);
        }
        let alias = |text: &str| parse_alias("", text, &|_| None).unwrap().0;
        let mut past = Past::default();
        for (number, text) in ["{split: {1: 100}}", "{split: {1: 80, 2: 20}, stable: 1}"].into_iter().enumerate() {
            past = past.with(&alias(text));
            assert_eq!(read_past("", &past_text(&past), &|_| None).unwrap().0, past);
            assert_eq!(past.splits.len(), number + 1);
        }
        past.dropped = Some(RolloutId(12));
        assert_eq!(read_past("", &past_text(&past), &|_| None).unwrap().0, past);
        for number in 1..40 {
            past = past.with(&alias(&format!("{{split: {{{number}: 100}}}}")));
        }
        let kept: Vec<String> = past.splits.iter().map(|earlier| earlier.split.to_string()).collect();
        assert_eq!((kept.len(), &*kept[0], &*kept[15]), (Past::KEPT, "24: 100", "39: 100"));
    }

    #[test]
    fn a_damaged_text_is_a_problem_that_names_its_alias() {
        let path = "functions.shop.aliases.prod";
        let same = r#"{"rollout":"r12","stable":"1","candidate":"1","weight":1,"shield":null,"salt":null}"#;
        let id = r#"{"rollout":"12","stable":"1","candidate":"2","weight":1,"shield":null,"salt":null}"#;
        for text in ["", "{}", id, same] {
            assert_eq!(read_layer(path, text).unwrap_err()[0].path, path, "{text}");
        }
        for text in [r#"{"is_back":true}"#, r#"{"is_back":true,"splits":[],"dropped":"12"}"#] {
            assert_eq!(read_past(path, text, &|_| None).unwrap_err()[0].path, path, "{text}");
        }
    }
}
