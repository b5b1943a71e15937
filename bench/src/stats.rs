//! Medians and quartiles. Means are no use where another program may run in between.

/// The middle of some figures and the spread of their middle half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Median and quartiles, interpolated between neighbours; `None` of nothing.
pub(crate) fn spread(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let above = place.ceil() as usize;
        sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
    };
    Some(Spread { median: at(0.5), low: at(0.25), high: at(0.75) })
}

/// The median alone.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    spread(figures).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_figures() {
        assert_eq!(
            spread([4.0, 1.0, 3.0, 2.0]),
            Some(Spread { median: 2.5, low: 1.75, high: 3.25 })
        );
        assert_eq!(median([5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(spread([]), None);
        assert_eq!(median([f64::NAN, 7.0]), Some(7.0));
    }
}
