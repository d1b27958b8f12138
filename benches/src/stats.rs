//! Medians and percentiles.

/// The middle value, or the mean of the two in the middle; `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// The value below which `percent` of them lie; 0 of nothing. `sorted` ascends.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or(0)
}

/// Median over the rounds of `values[round] / base[round]`: what slowed a round slowed both.
#[must_use]
pub fn median_ratio(values: &[f64], base: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = values.iter().zip(base).map(|(value, base)| value / base).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_in_any_order() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn percentiles_stay_inside_the_values() {
        let hundred: Vec<u64> = (0..100).collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&hundred, 100), 99);
        assert_eq!(percentile(&[4], 99), 4);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round ran at a tenth of the speed for both.
        assert_eq!(median_ratio(&[50.0, 5.0, 60.0], &[100.0, 10.0, 100.0]), Some(0.5));
        assert_eq!(median_ratio(&[50.0], &[]), None);
    }
}
