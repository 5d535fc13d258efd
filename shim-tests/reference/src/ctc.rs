//! Connectionist temporal classification: the sum over all paths.

/// P(labels) of one example: probabilities `[steps, alphabet]`, every path of one symbol a step walked;
/// `alphabet^steps` of them. Symbol 0 is the blank.
pub fn probability(probabilities: &[f64], alphabet: usize, labels: &[usize]) -> f64 {
    let steps = probabilities.len().checked_div(alphabet).unwrap_or(0);
    let mut total = 0.0;
    let mut path = vec![0; steps];
    loop {
        if spelled(&path) == labels {
            total += path
                .iter()
                .enumerate()
                .map(|(t, &symbol)| probabilities[t * alphabet + symbol])
                .product::<f64>();
        }
        let Some(position) = path.iter().position(|&symbol| symbol + 1 < alphabet) else { return total };
        path[position] += 1;
        path[..position].fill(0);
    }
}

/// What a path spells: repeated symbols once, then without blanks.
fn spelled(path: &[usize]) -> Vec<usize> {
    let mut labels = path.to_vec();
    labels.dedup();
    labels.retain(|&symbol| symbol != 0);
    labels
}

/// The same probability by following how many labels are spelled so far, which takes long sequences too.
///
/// `ends[k]` is the probability of having spelled k labels with the k-th as the last symbol, `blanks[k]` of
/// having done so with a blank as the last.
pub fn probability_by_prefixes(probabilities: &[f64], alphabet: usize, labels: &[usize]) -> f64 {
    let count = labels.len();
    let (mut ends, mut blanks) = (vec![0.0; count + 1], vec![0.0; count + 1]);
    blanks[0] = 1.0;
    for y in probabilities.chunks_exact(alphabet.max(1)) {
        let (before_ends, before_blanks) = (ends.clone(), blanks.clone());
        for k in 0..=count {
            blanks[k] = y[0] * (before_blanks[k] + before_ends[k]);
            if k > 0 {
                let repeated = k > 1 && labels[k - 1] == labels[k - 2];
                let from_label = if repeated { 0.0 } else { before_ends[k - 1] };
                ends[k] = y[labels[k - 1]] * (before_ends[k] + before_blanks[k - 1] + from_label);
            }
        }
    }
    ends[count] + blanks[count]
}

/// Softmax of each row of `[steps, alphabet]`.
pub fn softmax(activations: &[f64], alphabet: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|value| (value - most).exp()).sum();
        row.iter().map(|value| (value - most).exp() / sum).collect::<Vec<_>>()
    };
    activations.chunks_exact(alphabet.max(1)).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_of_two_symbols_by_hand() {
        let y = [0.25, 0.75, 0.5, 0.5];
        assert_eq!(probability(&y, 2, &[1]), 0.25 * 0.5 + 0.75 * 0.5 + 0.75 * 0.5);
        assert_eq!(probability(&y, 2, &[]), 0.25 * 0.5);
        assert_eq!(probability(&y, 2, &[1, 1]), 0.0);
        assert_eq!(probability(&[], 2, &[]), 1.0);
    }

    #[test]
    fn prefixes_and_paths_agree() {
        let y = softmax(&[0.3, -1.0, 2.0, 0.5, 0.1, -0.2, 1.0, 0.0, -0.7, 0.4, 0.9, 0.2, 0.6, -0.3, 1.1], 3);
        for labels in [&[][..], &[1], &[2, 2], &[1, 2, 1], &[2, 2, 1], &[1, 1, 1], &[1, 1, 1, 1]] {
            let (paths, prefixes) = (probability(&y, 3, labels), probability_by_prefixes(&y, 3, labels));
            assert!((paths - prefixes).abs() < 1e-15, "{labels:?}: {paths} and {prefixes}");
        }
    }
}
