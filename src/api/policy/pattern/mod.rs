//! Patterns in policies: wildcards, policy variables, and ARNs, which are compared segment by segment (IAM User Guide,
//! "IAM policy elements: Variables and tags" and "IAM JSON policy elements: Resource"). The matching itself is in
//! `glob`.

mod glob;
mod pieces;

use super::context::Facts;
use pieces::{Piece, Pieces, PiecesBuilder};

/// The segments of `arn:partition:service:region:account:resource`. The last one may contain colons.
const ARN_SEGMENTS: usize = 6;

/// The error for a `${` that does not begin a valid variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVariable;

/// The interpretation of `${…}`: a variable under version 2012-10-17 in elements that allow variables, else literal
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variables {
    Replaced,
    Literal,
}

/// A pattern with wildcards and variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Pieces,
}

impl Pattern {
    pub fn parse(text: &str, variables: Variables) -> Result<Self, InvalidVariable> {
        Ok(Self { pieces: Pieces::parse(text, variables)? })
    }

    /// Returns whether the pattern has neither wildcards nor variables.
    pub fn is_fixed(&self) -> bool {
        self.pieces.is_fixed()
    }

    /// Returns the pattern as it was written; `None` if it has a variable.
    pub fn written(&self) -> Option<String> {
        self.pieces.written()
    }

    /// Returns whether the pattern matches the text. A variable without a value matches nothing.
    pub fn matches(&self, text: &str, facts: &Facts<'_>) -> bool {
        glob::matches(&self.pieces, text, facts)
    }

    /// Returns the pattern with variables replaced and wildcards taken literally. Returns `None` if a variable has no
    /// value, or if the result would be longer than `bytes_max` and so cannot equal the value that it is compared with.
    pub fn literal(&self, facts: &Facts<'_>, bytes_max: usize) -> Option<String> {
        glob::literal(&self.pieces, facts, bytes_max)
    }

    /// Returns the keys of the variables, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.variables()
    }

    /// Returns the pattern in lower case, for comparisons that ignore case.
    pub fn lowercase(self) -> Self {
        Self { pieces: self.pieces.lowercase() }
    }
}

/// A pattern of ARNs. A wildcard matches within one segment; a `*` at the end of the pattern matches all remaining
/// segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnPattern {
    /// The segments, one to six.
    segments: Box<[Pieces]>,
}

impl ArnPattern {
    pub fn parse(text: &str, variables: Variables) -> Result<Self, InvalidVariable> {
        let mut segments = vec![PiecesBuilder::default()];
        for piece in Pieces::parse(text, variables)?.iter() {
            match piece {
                Piece::Text(text) => push_split(&mut segments, text),
                other => last(&mut segments).push(other),
            }
        }
        Ok(Self { segments: segments.into_iter().map(PiecesBuilder::finish).collect() })
    }

    pub fn matches(&self, arn: &str, facts: &Facts<'_>) -> bool {
        let reaches_further = self.segments.last().is_some_and(Pieces::ends_in_many);
        if !facts.meter.charge(1) || self.segments.len() < ARN_SEGMENTS && !reaches_further {
            return false;
        }
        let mut parts = arn.splitn(self.segments.len(), ':');
        self.segments.iter().all(|pieces| {
            let part = parts.next();
            part.is_some_and(|part| glob::matches(pieces, part, facts))
        })
    }

    /// Returns the keys of the variables, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(|pieces| pieces.variables())
    }

    /// Returns whether all of these segments exist and have neither wildcards nor variables.
    pub fn is_fixed(&self, segments: &[usize]) -> bool {
        segments.iter().all(|at| self.segments.get(*at).is_some_and(Pieces::is_fixed))
    }

    pub fn all_fixed(&self) -> bool {
        self.is_fixed(&[0, 1, 2, 3, 4, 5])
    }

    /// Returns a segment as it was written; `None` if the segment does not exist or has a variable.
    pub fn segment(&self, at: usize) -> Option<String> {
        self.segments.get(at)?.written()
    }
}

fn last(segments: &mut Vec<PiecesBuilder>) -> &mut PiecesBuilder {
    if segments.is_empty() {
        segments.push(PiecesBuilder::default());
    }
    segments.last_mut().expect("one was pushed where there was none")
}

/// Appends a text without wildcards to the last segment; each colon begins the next segment, up to six.
fn push_split(segments: &mut Vec<PiecesBuilder>, text: &str) {
    let left = ARN_SEGMENTS + 1 - segments.len().min(ARN_SEGMENTS);
    for (at, part) in text.splitn(left, ':').enumerate() {
        if at > 0 {
            segments.push(PiecesBuilder::default());
        }
        last(segments).push(Piece::Text(part));
    }
}

#[cfg(test)]
mod tests {
    use super::{ArnPattern, InvalidVariable, Pattern, Variables};
    use crate::api::policy::context::{Budget, Context, Facts, Meter};

    /// Runs a comparison with these condition keys; returns the result and the steps charged.
    fn asked(context: &Context, ask: impl FnOnce(&Facts<'_>) -> bool) -> (bool, u64) {
        let budget = Budget::default();
        let meter = Meter::of(&budget);
        let answer = ask(&Facts::of(context, &Context::default(), &meter));
        drop(meter);
        (answer, budget.spent())
    }

    fn like(pattern: &str, text: &str) -> bool {
        let pattern = Pattern::parse(pattern, Variables::Literal).expect("nothing is special but wildcards");
        asked(&Context::default(), |facts| pattern.matches(text, facts)).0
    }

    fn arn(pattern: &str, text: &str) -> bool {
        let pattern = ArnPattern::parse(pattern, Variables::Literal).expect("nothing is special but wildcards");
        asked(&Context::default(), |facts| pattern.matches(text, facts)).0
    }

    fn with(pattern: &str, text: &str) -> bool {
        let context = Context::from_iter([("aws:username", "al*ce"), ("many", "a"), ("many", "b")]);
        let pattern = Pattern::parse(pattern, Variables::Replaced).expect("a valid pattern");
        asked(&context, |facts| pattern.matches(text, facts)).0
    }

    #[test]
    fn a_star_matches_any_number_of_characters_and_a_question_mark_one() {
        assert!(like("*", "") && like("a*", "a") && like("a*c", "abbc") && like("a*b*c", "a-b-b-c") && like("?", "é"));
        assert!(!like("?", "") && !like("a?c", "ac") && !like("a*c", "acd") && !like("", "a") && !like("a*b", "a"));
        assert!(like("*aab", "aaaab") && like("**a**", "bab"));
    }

    #[test]
    fn a_wildcard_matches_within_one_segment_of_an_arn() {
        assert!(arn("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c"));
        assert!(!arn("arn:*:s3:::bucket", "arn:aws:x:s3:::bucket") && !arn("arn:aws:s3:::b", "arn:aws:s3:::b:c"));
        assert!(arn("*", "arn:aws:s3:::b") && arn("arn:aws:*", "arn:aws:s3:::b") && !arn("arn:aws:s3", "arn:aws:s3"));
        assert!(arn("arn:aws:iam::*:role/a", "arn:aws:iam::1:role/a"));
    }

    #[test]
    fn wildcards_in_the_value_of_a_variable_are_literal() {
        assert!(with("home/${aws:username}/*", "home/al*ce/x") && !with("home/${aws:username}/*", "home/alice/x"));
        assert!(
            with("${ AWS:UserName }", "al*ce") && with("${none, 'de*f'}", "de*f") && !with("${none, 'de*f'}", "def")
        );
    }

    #[test]
    fn a_variable_with_no_value_or_several_matches_nothing() {
        assert!(!with("${none}", "") && !with("*${none}*", "anything") && !with("${many}", "a"));
        assert!(with("${many,'x'}", "x"));
    }

    #[test]
    fn escaped_wildcards_stand_for_themselves() {
        assert!(with("a${*}b", "a*b") && !with("a${*}b", "axb") && with("${?}", "?") && with("${$}{x}", "${x}"));
    }

    #[test]
    fn a_malformed_variable_is_refused_where_variables_are_replaced() {
        for text in ["${", "${aws:username", "${}", "${a, b}", "${a, 'b}", "${a, 'b' c}", "${${a}}"] {
            assert_eq!(Pattern::parse(text, Variables::Replaced), Err(InvalidVariable), "{text}");
            assert!(like(text, text));
        }
    }

    #[test]
    fn a_question_mark_matches_a_whole_character_and_not_a_byte() {
        assert!(like("*?é?*", "aébc") && like("*a?c*", "ab-aéc-") && like("*??", "éà") && like("?*?", "éà"));
        assert!(!like("*a?c*", "abbc") && !like("*???*", "éà") && !like("?*?", "é") && !like("*a??b*", "a€b"));
        assert!(like("*a?b*x*", "a€bx") && !like("*a?b*€b*", "a€b") && like("*?*?*", "éà"));
        let long = format!("{}?{}", "a".repeat(100), "b".repeat(100));
        let text = format!("{}é{}", "a".repeat(150), "b".repeat(101));
        assert!(like(&format!("*{long}*"), &text) && !like(&format!("*{long}c*"), &format!("{text}d")));
    }

    /// The worst cases take a few steps for each byte, however long the pattern is.
    #[test]
    fn the_steps_of_matching_are_linear_in_pattern_and_text() {
        let text = "a".repeat(8000);
        let patterns = [
            "a*".repeat(4000) + "b",
            format!("*{}b*", "a".repeat(4000)),
            format!("*{}b{}*", "a".repeat(2000), "a".repeat(2000)),
            "*a".repeat(4000) + "b",
            "ab*".repeat(2000),
        ];
        for pattern in patterns {
            let parsed = Pattern::parse(&pattern, Variables::Literal).expect("nothing is special but wildcards");
            let (matched, steps) = asked(&Context::default(), |facts| parsed.matches(&text, facts));
            let linear = 32 * (pattern.len() + text.len()) as u64;
            assert!(!matched && steps <= linear, "{steps} steps for {}...", &pattern[..20]);
        }
    }

    /// A run with a `?` costs two steps for each byte of the text and each 64 states of the run.
    #[test]
    fn a_run_with_question_marks_costs_two_steps_per_64_states() {
        let text = "a".repeat(8000);
        for pattern in [format!("*?{}b*", "a".repeat(4000)), format!("*{}b*", "a?".repeat(2000))] {
            let parsed = Pattern::parse(&pattern, Variables::Literal).expect("nothing is special but wildcards");
            let (matched, steps) = asked(&Context::default(), |facts| parsed.matches(&text, facts));
            assert!(!matched && steps <= 3 * 8000 * (4001 / 64 + 1), "{steps} steps");
        }
    }

    #[test]
    fn a_pattern_longer_than_the_text_after_substitution_is_not_built() {
        let context = Context::from_iter([("aws:useragent", "a".repeat(8000))]);
        for text in ["${aws:useragent}".repeat(1000), "*${aws:useragent}?".repeat(1000)] {
            let pattern = Pattern::parse(&text, Variables::Replaced).expect("a valid pattern");
            let ask =
                |facts: &Facts<'_>| pattern.matches(&"a".repeat(8000), facts) || pattern.literal(facts, 8000).is_some();
            let (matched, steps) = asked(&context, ask);
            assert!(!matched && steps < 20_000, "{steps} steps");
        }
    }
}
