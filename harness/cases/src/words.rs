//! Nearest words: what somebody who mistyped probably meant.

/// The number of single-letter insertions, deletions, replacements and swaps of neighbours
/// between two words (optimal string alignment).
#[must_use]
pub fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let width = right.len() + 1;
    let mut rows = vec![0usize; (left.len() + 1) * width];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            rows[i * width + j] = if i == 0 {
                j
            } else if j == 0 {
                i
            } else {
                let cost = usize::from(left[i - 1] != right[j - 1]);
                let mut best = (rows[(i - 1) * width + j] + 1)
                    .min(rows[i * width + j - 1] + 1)
                    .min(rows[(i - 1) * width + j - 1] + cost);
                if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                    best = best.min(rows[(i - 2) * width + j - 2] + 1);
                }
                best
            };
        }
    }
    rows[left.len() * width + right.len()]
}

/// The candidates close enough to `word` to be worth suggesting, nearest first, at most `limit`.
///
/// Case is ignored. A candidate that contains the word, or is contained in it, counts as near too.
#[must_use]
pub fn near<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    let lower = word.to_lowercase();
    // A long hostile word would cost quadratic time and cannot be a typing mistake anyway.
    if lower.is_empty() || lower.len() > 120 {
        return Vec::new();
    }
    let allowed = (lower.chars().count() / 3).clamp(1, 6);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let steps = distance(&lower, &other);
            if steps <= allowed {
                return Some((steps, candidate));
            }
            let inside = lower.len() >= 3 && other.contains(&lower) || other.len() >= 3 && lower.contains(&other);
            inside.then_some((allowed + steps, candidate))
        })
        .collect();
    found.sort();
    found.dedup();
    found.truncate(limit);
    found.into_iter().map(|(_, word)| word).collect()
}

/// The one nearest candidate, if any is near.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(word, candidates, 1).first().copied()
}

/// A help text: the nearest word, then the whole list when it is short enough to read.
#[must_use]
pub fn suggest(word: &str, candidates: &[&str]) -> Option<String> {
    if candidates.is_empty() {
        return None;
    }
    let mut parts = Vec::new();
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        parts.push(format!("did you mean `{near}`?"));
    }
    if candidates.len() <= 60 {
        let list: Vec<String> = candidates.iter().map(|word| format!("`{word}`")).collect();
        parts.push(format!("known here: {}", list.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_neighbours_is_one_mistake() {
        assert_eq!(distance("exepct", "expect"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn near_words_come_nearest_first_and_far_ones_not_at_all() {
        assert_eq!(near("exepct", ["expect", "except", "push"], 3), ["expect", "except"]);
        assert_eq!(nearest("zzz", ["expect", "push"]), None);
        assert_eq!(
            nearest("lost-last", ["push.lost-last-ack", "reg.initial"]),
            Some("push.lost-last-ack")
        );
    }
}
