//! Texts of policies that stand for many: wildcards, policy variables, and ARNs that are compared segment by segment
//! (IAM User Guide, "IAM policy elements: Variables and tags" and "IAM JSON policy elements: Resource"). A match takes
//! at most as many steps as the pattern is long, times the length of the text.

use super::context::Context;
use std::borrow::Cow;

/// `arn:partition:service:region:account:resource`; the last may hold colons.
const ARN_SEGMENTS: usize = 6;

/// `${` without a variable after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVariable;

/// Whether `${…}` is special: only under version 2012-10-17, and only in some elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variables {
    Replaced,
    Literal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `?`
    One,
    /// `*`
    Many,
    Variable {
        /// In lower case.
        key: String,
        default: Option<String>,
    },
}

/// A text with wildcards and variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    pub fn parse(text: &str, variables: Variables) -> Result<Self, InvalidVariable> {
        Ok(Self { pieces: pieces(text, variables)? })
    }

    /// Neither wildcard nor variable is in it.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// As it was written; `None` where a variable is in it.
    pub fn written(&self) -> Option<String> {
        written(&self.pieces)
    }

    /// Wildcards match; a variable without a value matches nothing.
    pub fn matches(&self, text: &str, context: &Context) -> bool {
        resolve(&self.pieces, context).is_some_and(|pieces| glob(&pieces, text))
    }

    /// The text with its variables replaced, in which wildcards stand for themselves.
    pub fn literal(&self, context: &Context) -> Option<String> {
        let pieces = resolve(&self.pieces, context)?;
        Some(pieces.iter().map(spelled).collect())
    }

    /// The same in lower case, for what is compared without regard to case.
    pub fn lowercase(self) -> Self {
        let lower = |piece| match piece {
            Piece::Text(text) => Piece::Text(text.to_lowercase()),
            other => other,
        };
        Self { pieces: self.pieces.into_iter().map(lower).collect() }
    }
}

/// A pattern of ARNs: wildcards stay within a segment, except that one at the end reaches to the end of the ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnPattern {
    /// One to six.
    segments: Vec<Vec<Piece>>,
}

impl ArnPattern {
    pub fn parse(text: &str, variables: Variables) -> Result<Self, InvalidVariable> {
        let mut segments = vec![Vec::new()];
        for piece in pieces(text, variables)? {
            match piece {
                Piece::Text(text) => push_split(&mut segments, &text),
                other => last(&mut segments).push(other),
            }
        }
        Ok(Self { segments })
    }

    pub fn matches(&self, arn: &str, context: &Context) -> bool {
        let reaches_further = self.segments.last().and_then(|pieces| pieces.last()) == Some(&Piece::Many);
        if self.segments.len() < ARN_SEGMENTS && !reaches_further {
            return false;
        }
        let mut parts = arn.splitn(self.segments.len(), ':');
        self.segments.iter().all(|pieces| {
            let part = parts.next();
            part.is_some_and(|part| resolve(pieces, context).is_some_and(|pieces| glob(&pieces, part)))
        })
    }

    /// Neither wildcard nor variable is in these of its segments; absent ones are not fixed.
    pub fn is_fixed(&self, segments: &[usize]) -> bool {
        let fixed = |pieces: &Vec<Piece>| pieces.iter().all(|piece| matches!(piece, Piece::Text(_)));
        segments.iter().all(|at| self.segments.get(*at).is_some_and(fixed))
    }

    pub fn all_fixed(&self) -> bool {
        self.is_fixed(&[0, 1, 2, 3, 4, 5])
    }

    /// One segment as it was written; `None` where there is no such segment, or a variable is in it.
    pub fn segment(&self, at: usize) -> Option<String> {
        written(self.segments.get(at)?)
    }
}

fn written(pieces: &[Piece]) -> Option<String> {
    let no_variable = pieces.iter().all(|piece| !matches!(piece, Piece::Variable { .. }));
    no_variable.then(|| pieces.iter().map(spelled).collect())
}

fn last(segments: &mut Vec<Vec<Piece>>) -> &mut Vec<Piece> {
    if segments.is_empty() {
        segments.push(Vec::new());
    }
    segments.last_mut().expect("one was pushed where there was none")
}

/// Adds a text that holds no wildcard, at whose colons segments end.
fn push_split(segments: &mut Vec<Vec<Piece>>, text: &str) {
    let left = ARN_SEGMENTS + 1 - segments.len().min(ARN_SEGMENTS);
    for (at, part) in text.splitn(left, ':').enumerate() {
        if at > 0 {
            segments.push(Vec::new());
        }
        if !part.is_empty() {
            last(segments).push(Piece::Text(part.to_owned()));
        }
    }
}

fn pieces(text: &str, variables: Variables) -> Result<Vec<Piece>, InvalidVariable> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if variables == Variables::Replaced && rest.starts_with("${") {
            let (variable, after) = variable(&rest[2..])?;
            match variable {
                Piece::Text(text) => plain.push_str(&text),
                other => push(&mut found, &mut plain, other),
            }
            rest = after;
            continue;
        }
        match next {
            '*' => push(&mut found, &mut plain, Piece::Many),
            '?' => push(&mut found, &mut plain, Piece::One),
            other => plain.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    if !plain.is_empty() {
        found.push(Piece::Text(plain));
    }
    Ok(found)
}

fn push(found: &mut Vec<Piece>, plain: &mut String, piece: Piece) {
    if !plain.is_empty() {
        found.push(Piece::Text(std::mem::take(plain)));
    }
    // Two in a row match what one does.
    if piece != Piece::Many || found.last() != Some(&Piece::Many) {
        found.push(piece);
    }
}

/// What follows `${`, and what is after its end: `*}`, `?}` and `$}` are those characters, `key}` and `key, 'default'}`
/// are variables.
fn variable(inside: &str) -> Result<(Piece, &str), InvalidVariable> {
    for special in ["*", "?", "$"] {
        if let Some(rest) = inside.strip_prefix(special).and_then(|rest| rest.strip_prefix('}')) {
            return Ok((Piece::Text(special.to_owned()), rest));
        }
    }
    let end = inside.find([',', '}']).ok_or(InvalidVariable)?;
    let key = inside[..end].trim().to_lowercase();
    if key.is_empty() || key.contains(['$', '{', '\'']) {
        return Err(InvalidVariable);
    }
    let rest = &inside[end..];
    if let Some(rest) = rest.strip_prefix('}') {
        return Ok((Piece::Variable { key, default: None }, rest));
    }
    let quoted = rest[1..].trim_start().strip_prefix('\'').ok_or(InvalidVariable)?;
    let (default, rest) = quoted.split_once('\'').ok_or(InvalidVariable)?;
    let rest = rest.trim_start().strip_prefix('}').ok_or(InvalidVariable)?;
    Ok((Piece::Variable { key, default: Some(default.to_owned()) }, rest))
}

fn spelled(piece: &Piece) -> &str {
    match piece {
        Piece::Text(text) => text,
        Piece::One => "?",
        Piece::Many => "*",
        Piece::Variable { .. } => "",
    }
}

/// The pieces with values in place of variables; `None` if one has neither a value nor a default.
fn resolve<'a>(pieces: &'a [Piece], context: &Context) -> Option<Cow<'a, [Piece]>> {
    let value = |piece: &Piece| match piece {
        Piece::Variable { key, default } => {
            let value = context.single(key).or(default.as_deref())?;
            Some(Piece::Text(value.to_owned()))
        }
        other => Some(other.clone()),
    };
    if pieces.iter().all(|piece| !matches!(piece, Piece::Variable { .. })) {
        return Some(Cow::Borrowed(pieces));
    }
    pieces.iter().map(value).collect::<Option<Vec<_>>>().map(Cow::Owned)
}

/// A place in pieces: which one, and how many bytes of its text are behind.
#[derive(Clone, Copy, Default)]
struct Place {
    piece: usize,
    byte: usize,
}

enum Symbol {
    Exactly(char),
    One,
    Many,
}

/// What the pattern asks for next, and the place after it.
fn symbol(pieces: &[Piece], mut place: Place) -> Option<(Symbol, Place)> {
    loop {
        let after = Place { piece: place.piece + 1, byte: 0 };
        match pieces.get(place.piece)? {
            Piece::One => return Some((Symbol::One, after)),
            Piece::Many => return Some((Symbol::Many, after)),
            // Variables were replaced before.
            Piece::Variable { .. } => place = after,
            Piece::Text(text) => match text[place.byte..].chars().next() {
                Some(next) => {
                    let byte = place.byte + next.len_utf8();
                    return Some((Symbol::Exactly(next), Place { byte, ..place }));
                }
                None => place = after,
            },
        }
    }
}

/// On a mismatch only the last `*` takes one character more, so that no pattern costs more than its length for each
/// character of the text.
fn glob(pieces: &[Piece], text: &str) -> bool {
    let mut place = Place::default();
    let mut rest = text;
    let mut retry: Option<(Place, &str)> = None;
    loop {
        let next = rest.chars().next();
        let proceeded = match (symbol(pieces, place), next) {
            (None, None) => return true,
            (Some((Symbol::Many, after)), _) => {
                retry = Some((after, rest));
                place = after;
                continue;
            }
            (Some((Symbol::One, after)), Some(_)) => Some(after),
            (Some((Symbol::Exactly(wanted), after)), Some(found)) if wanted == found => Some(after),
            _ => None,
        };
        if let (Some(after), Some(found)) = (proceeded, next) {
            place = after;
            rest = &rest[found.len_utf8()..];
            continue;
        }
        let Some((after, from)) = retry else { return false };
        let Some(taken) = from.chars().next() else { return false };
        let from = &from[taken.len_utf8()..];
        retry = Some((after, from));
        place = after;
        rest = from;
    }
}

#[cfg(test)]
mod tests {
    use super::{ArnPattern, InvalidVariable, Pattern, Variables};
    use crate::api::policy::context::Context;

    fn like(pattern: &str, text: &str) -> bool {
        let pattern = Pattern::parse(pattern, Variables::Literal).expect("nothing is special but wildcards");
        pattern.matches(text, &Context::default())
    }

    fn arn(pattern: &str, text: &str) -> bool {
        let pattern = ArnPattern::parse(pattern, Variables::Literal).expect("nothing is special but wildcards");
        pattern.matches(text, &Context::default())
    }

    fn with(pattern: &str, text: &str) -> bool {
        let context = Context::from_iter([("aws:username", "al*ce"), ("many", "a"), ("many", "b")]);
        Pattern::parse(pattern, Variables::Replaced).expect("a valid pattern").matches(text, &context)
    }

    #[test]
    fn a_star_matches_any_number_of_characters_and_a_question_mark_one() {
        assert!(like("*", "") && like("a*", "a") && like("a*c", "abbc") && like("a*b*c", "a-b-b-c") && like("?", "é"));
        assert!(!like("?", "") && !like("a?c", "ac") && !like("a*c", "acd") && !like("", "a") && !like("a*b", "a"));
        assert!(like("*aab", "aaaab") && like("**a**", "bab"));
    }

    #[test]
    fn a_wildcard_stays_within_its_segment_of_an_arn() {
        assert!(arn("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b:c"));
        assert!(!arn("arn:*:s3:::bucket", "arn:aws:x:s3:::bucket") && !arn("arn:aws:s3:::b", "arn:aws:s3:::b:c"));
        assert!(arn("*", "arn:aws:s3:::b") && arn("arn:aws:*", "arn:aws:s3:::b") && !arn("arn:aws:s3", "arn:aws:s3"));
        assert!(arn("arn:aws:iam::*:role/a", "arn:aws:iam::1:role/a"));
    }

    #[test]
    fn the_value_of_a_variable_is_no_pattern() {
        assert!(with("home/${aws:username}/*", "home/al*ce/x") && !with("home/${aws:username}/*", "home/alice/x"));
        assert!(
            with("${ AWS:UserName }", "al*ce") && with("${none, 'de*f'}", "de*f") && !with("${none, 'de*f'}", "def")
        );
    }

    #[test]
    fn a_variable_without_one_value_matches_nothing() {
        assert!(!with("${none}", "") && !with("*${none}*", "anything") && !with("${many}", "a"));
        assert!(with("${many,'x'}", "x"));
    }

    #[test]
    fn escaped_wildcards_stand_for_themselves() {
        assert!(with("a${*}b", "a*b") && !with("a${*}b", "axb") && with("${?}", "?") && with("${$}{x}", "${x}"));
    }

    #[test]
    fn what_is_no_variable_is_refused_under_the_version_that_has_them() {
        for text in ["${", "${aws:username", "${}", "${a, b}", "${a, 'b}", "${a, 'b' c}", "${${a}}"] {
            assert_eq!(Pattern::parse(text, Variables::Replaced), Err(InvalidVariable), "{text}");
            assert!(like(text, text));
        }
    }

    #[test]
    fn a_long_pattern_of_stars_is_answered_at_once() {
        let pattern = "a*".repeat(4000);
        assert!(!like(&pattern, &"a".repeat(3000)));
        assert!(like(&format!("{pattern}b"), &format!("{}b", "a".repeat(4000))));
    }
}
