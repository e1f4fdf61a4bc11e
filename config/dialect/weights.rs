//! Weights as clouds write them, decimals from 0 to 1, and as basis points.

use crate::value::weight::Weight;

/// The distance from a whole number of basis points within which a decimal was meant to be that number: sums such as 0.1 + 0.2 are
/// off by less than a millionth of this.
const NOISE: f64 = 1e-6;

/// Why a number is no weight. The message says what would be right.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum DecimalWeightError {
    /// Below 0, above 1, or no number.
    #[error("the weight {0} is not between 0 and 1")]
    Range(f64),
    /// A part of a basis point.
    #[error("the weight {0} is finer than 0.0001, a hundredth of a percent; it is not rounded")]
    TooFine(f64),
}

/// The weight of a decimal.
///
/// # Errors
/// One outside 0 to 1, and one with more than four decimals.
pub fn weight_of(decimal: f64) -> Result<Weight, DecimalWeightError> {
    if !(0.0..=1.0).contains(&decimal) {
        return Err(DecimalWeightError::Range(decimal));
    }
    let parts = decimal * f64::from(Weight::WHOLE);
    if (parts - parts.round()).abs() > NOISE {
        return Err(DecimalWeightError::TooFine(decimal));
    }
    Weight::new(parts.round() as u16).ok_or(DecimalWeightError::Range(decimal))
}

/// The decimal of a weight: what comes back is what went in.
#[must_use]
pub fn decimal_of(weight: Weight) -> f64 {
    f64::from(weight.basis_points()) / f64::from(Weight::WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_comes_back_as_it_went_in() {
        for parts in 0..=Weight::WHOLE {
            let weight = Weight::new(parts).unwrap();
            let text = serde_json::to_string(&decimal_of(weight)).unwrap();
            assert_eq!(weight_of(serde_json::from_str(&text).unwrap()), Ok(weight), "{text}");
            assert!(text.len() <= "0.0001".len(), "{text} is as short as somebody writes it");
        }
    }

    #[test]
    fn noise_of_floats_is_taken_and_what_is_finer_is_refused() {
        for (decimal, parts) in [(0.1 + 0.2, 3000), (1.0 - 0.9, 1000), (0.05, 500), (1.0, 10_000), (0.0001, 1)] {
            assert_eq!(weight_of(decimal).map(Weight::basis_points), Ok(parts), "{decimal}");
        }
        let fine = weight_of(0.00005).unwrap_err();
        assert_eq!(
            fine.to_string(),
            "the weight 0.00005 is finer than 0.0001, a hundredth of a percent; it is not rounded"
        );
        for decimal in [0.12345, 0.333_333, 0.000_100_1] {
            assert_eq!(weight_of(decimal), Err(DecimalWeightError::TooFine(decimal)));
        }
        for decimal in [-0.1, 1.5, 1.000_01, f64::INFINITY] {
            assert_eq!(weight_of(decimal), Err(DecimalWeightError::Range(decimal)));
        }
        assert!(weight_of(f64::NAN).is_err());
    }
}
