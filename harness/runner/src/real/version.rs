//! Versions and ranges of versions, such as `>=2.12, <3`.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

/// A version: numbers with dots between, and perhaps a word after a hyphen, which makes it one before the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: Vec<u64>,
    before: Option<String>,
}

/// A text that is no version or no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no {1}")]
pub struct VersionError(String, &'static str);

impl FromStr for Version {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned(), "version such as 2.12.3");
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, before) = match text.split_once('-') {
            Some((numbers, before)) => (numbers, Some(before.to_owned())),
            None => (text, None),
        };
        let numbers = numbers
            .split('.')
            .map(|number| number.parse().map_err(|_| error()))
            .collect::<Result<_, _>>()?;
        Ok(Self { numbers, before })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))?;
        self.before.as_ref().map_or(Ok(()), |before| write!(f, "-{before}"))
    }
}

impl Version {
    fn number(&self, index: usize) -> u64 {
        self.numbers.get(index).copied().unwrap_or(0)
    }

    /// Numbers that are not there count as 0; a version before a release comes before it.
    fn compare(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let numbers = (0..length)
            .map(|i| self.number(i).cmp(&other.number(i)))
            .find(|order| order.is_ne());
        numbers.unwrap_or_else(|| match (&self.before, &other.before) {
            (None, None) => Ordering::Equal,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(two)) => one.cmp(two),
        })
    }

    fn starts_with(&self, other: &Self) -> bool {
        other
            .numbers
            .iter()
            .enumerate()
            .all(|(i, number)| self.number(i) == *number)
    }

    /// The first version above all that have these leading numbers.
    fn after(&self, leading: usize) -> Self {
        let mut numbers: Vec<u64> = (0..leading.max(1)).map(|i| self.number(i)).collect();
        if let Some(last) = numbers.last_mut() {
            *last = last.saturating_add(1);
        }
        Self { numbers, before: None }
    }
}

/// Comparisons that a version has to meet, all of them.
///
/// `=`, `<`, `<=`, `>`, `>=` compare; `^2.3` is up to the next first number that is not 0, `~2.3` up to the next second number; a bare
/// `2.12` is any version that begins so; `*` is any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Vec<(Comparison, Version)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Is,
    Less,
    AtMost,
    More,
    AtLeast,
    StartsWith,
    Caret,
    Tilde,
}

impl FromStr for Range {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned(), "range of versions such as >=2.12, <3");
        let signs = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            ("==", Comparison::Is),
            ("=", Comparison::Is),
            (">", Comparison::More),
            ("<", Comparison::Less),
            ("^", Comparison::Caret),
            ("~", Comparison::Tilde),
            ("", Comparison::StartsWith),
        ];
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim) {
            if part == "*" {
                continue;
            }
            let found = signs
                .iter()
                .find_map(|(sign, comparison)| Some((*comparison, part.strip_prefix(sign)?)));
            let (comparison, version) = found.ok_or_else(error)?;
            all.push((
                comparison,
                version
                    .trim()
                    .trim_end_matches(".x")
                    .trim_end_matches(".*")
                    .parse()
                    .map_err(|_| error())?,
            ));
        }
        Ok(Self(all))
    }
}

impl Range {
    /// Whether a version is in it.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().all(|(comparison, bound)| {
            let order = version.compare(bound);
            let below = |leading| version.compare(&bound.after(leading)).is_lt();
            match comparison {
                Comparison::Is => order.is_eq(),
                Comparison::Less => order.is_lt(),
                Comparison::AtMost => order.is_le(),
                Comparison::More => order.is_gt(),
                Comparison::AtLeast => order.is_ge(),
                Comparison::StartsWith => version.starts_with(bound),
                Comparison::Caret => {
                    let first = bound
                        .numbers
                        .iter()
                        .position(|number| *number != 0)
                        .unwrap_or(bound.numbers.len() - 1);
                    order.is_ge() && below(first + 1)
                }
                Comparison::Tilde => order.is_ge() && below(bound.numbers.len().min(2)),
            }
        })
    }
}

/// The version in the output of a program: the first version-like word, behind `after` if that is given.
#[must_use]
pub fn find(output: &str, after: Option<&str>) -> Option<Version> {
    let rest = match after {
        Some(after) => &output[output.find(after)? + after.len()..],
        None => output,
    };
    let mut words = rest.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')));
    words.find_map(|word| {
        let version: Version = word.trim_matches('.').parse().ok()?;
        (version.numbers.len() > 1 || after.is_some()).then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &str, version: &str) -> bool {
        range.parse::<Range>().unwrap().contains(&version.parse().unwrap())
    }

    #[test]
    fn the_ends_of_a_range_are_where_it_says() {
        assert!(holds(">=2.12, <3", "2.12") && holds(">=2.12, <3", "2.12.0") && holds(">=2.12, <3", "2.99.99"));
        assert!(!holds(">=2.12, <3", "2.11.9") && !holds(">=2.12, <3", "3.0"));
        assert!(holds("<=2.12.3", "2.12.3") && !holds("<=2.12.3", "2.12.4"));
        assert!(holds(">2", "2.0.1") && !holds(">2", "2.0.0"));
        assert!(holds("=2.12", "2.12.0") && !holds("==2.12", "2.12.1"));
    }

    #[test]
    fn a_bare_version_is_all_that_begin_so() {
        assert!(holds("2.12", "2.12.3") && holds("2.12.x", "2.12.3") && !holds("2.12", "2.120.0"));
        assert!(holds("*", "0.0.1"));
    }

    #[test]
    fn caret_and_tilde_stop_at_the_next_number() {
        assert!(holds("^2.3", "2.99") && !holds("^2.3", "3.0") && !holds("^2.3", "2.2.9"));
        assert!(holds("^0.3.1", "0.3.9") && !holds("^0.3.1", "0.4"));
        assert!(holds("~2.3.1", "2.3.9") && !holds("~2.3.1", "2.4"));
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_a_candidate_comes_before_its_release() {
        assert!(holds(">=2.9", "2.10") && holds("<3.0.0", "3.0.0-rc1") && !holds(">=3.0.0", "v3.0.0-rc1"));
        assert_eq!("v1.2-rc1+build".parse::<Version>().unwrap().to_string(), "1.2-rc1");
    }

    #[test]
    fn what_is_no_range_is_refused_by_name() {
        let error = ">=two".parse::<Range>().unwrap_err();
        assert_eq!(error.to_string(), "`>=two` is no range of versions such as >=2.12, <3");
        assert!("".parse::<Range>().is_err() && ">= 1,".parse::<Range>().is_err());
    }

    #[test]
    fn a_version_is_found_in_what_programs_print() {
        let find = |output, after| find(output, after).map(|version| version.to_string());
        assert_eq!(
            find("client 2024 version v2.12.3 (gcc 12.2)\n", None).as_deref(),
            Some("2.12.3")
        );
        assert_eq!(find("gcc 12.2, client: 7\n", Some("client:")).as_deref(), Some("7"));
        assert_eq!(find("{\"version\": \"2.12.3\"}", None).as_deref(), Some("2.12.3"));
        assert_eq!(find("no number", None), None);
        assert_eq!(find("1.0", Some("missing")), None);
    }
}
