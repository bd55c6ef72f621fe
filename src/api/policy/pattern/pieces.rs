//! The pieces of a pattern, and how they are kept. A policy may be nothing but wildcards, and parsed policies are cached
//! by the lengths of their texts, so a piece takes eight bytes, and the texts of all pieces are one string.

use super::{InvalidVariable, Variables};
use std::iter::repeat_n;

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// A number of `?` in a row.
    Ones(usize),
    /// `*`
    Many,
    Variable {
        /// The key in lower case.
        key: &'a str,
        default: Option<&'a str>,
    },
}

/// A piece as it is kept: its kind, and the length of its text or the number of its `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Text(u32),
    Ones(u32),
    Many,
    /// The key of a variable.
    Key(u32),
    /// The default of the variable whose key is before it.
    Default(u32),
}

/// The pieces of a pattern, or of a segment of one. No two texts, `*` or runs of `?` follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// The texts, keys and defaults of the pieces, one after the other.
    text: Box<str>,
    kept: Box<[Kept]>,
}

impl Pieces {
    /// Parses a pattern.
    pub fn parse(text: &str, variables: Variables) -> Result<Self, InvalidVariable> {
        let mut found = PiecesBuilder::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if variables == Variables::Replaced && rest.starts_with("${") {
                rest = found.push_variable(&rest[2..])?;
                continue;
            }
            let (this, after) = rest.split_at(next.len_utf8());
            found.push(match next {
                '*' => Piece::Many,
                '?' => Piece::Ones(1),
                _ => Piece::Text(this),
            });
            rest = after;
        }
        Ok(found.finish())
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { text: &self.text, kept: &self.kept }
    }

    /// Returns the number of pieces, where a default counts as one.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Returns whether there are neither wildcards nor variables.
    pub fn is_fixed(&self) -> bool {
        self.kept.iter().all(|kept| matches!(kept, Kept::Text(_)))
    }

    pub fn ends_in_many(&self) -> bool {
        self.kept.last() == Some(&Kept::Many)
    }

    /// Returns the keys of the variables, in lower case.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.iter().filter_map(|piece| match piece {
            Piece::Variable { key, .. } => Some(key),
            Piece::Text(_) | Piece::Ones(_) | Piece::Many => None,
        })
    }

    /// Returns the pieces as they were written; `None` if there is a variable.
    pub fn written(&self) -> Option<String> {
        let mut whole = String::new();
        for piece in self.iter() {
            match piece {
                Piece::Text(text) => whole.push_str(text),
                Piece::Ones(count) => whole.extend(repeat_n('?', count)),
                Piece::Many => whole.push('*'),
                Piece::Variable { .. } => return None,
            }
        }
        Some(whole)
    }

    /// Returns the pieces with their texts in lower case.
    pub fn lowercase(&self) -> Self {
        let mut lower = PiecesBuilder::default();
        for piece in self.iter() {
            match piece {
                Piece::Text(text) => lower.push(Piece::Text(&text.to_lowercase())),
                other => lower.push(other),
            }
        }
        lower.finish()
    }
}

pub(super) struct Iter<'a> {
    /// The texts of the pieces in `kept`.
    text: &'a str,
    kept: &'a [Kept],
}

impl<'a> Iter<'a> {
    fn take_text(&mut self, bytes: u32) -> &'a str {
        let (taken, rest) = self.text.split_at(bytes as usize);
        self.text = rest;
        taken
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (first, rest) = self.kept.split_first()?;
        self.kept = rest;
        Some(match *first {
            // A default is taken with the key before it.
            Kept::Text(bytes) | Kept::Default(bytes) => Piece::Text(self.take_text(bytes)),
            Kept::Ones(count) => Piece::Ones(count as usize),
            Kept::Many => Piece::Many,
            Kept::Key(bytes) => {
                let key = self.take_text(bytes);
                let Some((Kept::Default(bytes), rest)) = self.kept.split_first() else {
                    return Some(Piece::Variable { key, default: None });
                };
                self.kept = rest;
                Piece::Variable { key, default: Some(self.take_text(*bytes)) }
            }
        })
    }
}

/// Puts pieces together.
#[derive(Default)]
pub(super) struct PiecesBuilder {
    text: String,
    kept: Vec<Kept>,
}

impl PiecesBuilder {
    /// Appends a piece; one of the kind of the last is joined with it. Two `*` in a row match the same as one.
    pub fn push(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Text("") => {}
            Piece::Text(text) => {
                let bytes = self.push_text(text);
                match self.kept.last_mut() {
                    Some(Kept::Text(before)) => *before += bytes,
                    _ => self.kept.push(Kept::Text(bytes)),
                }
            }
            Piece::Ones(count) => match self.kept.last_mut() {
                Some(Kept::Ones(before)) => *before += short(count),
                _ => self.kept.push(Kept::Ones(short(count))),
            },
            Piece::Many if self.kept.last() == Some(&Kept::Many) => {}
            Piece::Many => self.kept.push(Kept::Many),
            Piece::Variable { key, default } => {
                let bytes = self.push_text(key);
                self.kept.push(Kept::Key(bytes));
                if let Some(default) = default {
                    let bytes = self.push_text(default);
                    self.kept.push(Kept::Default(bytes));
                }
            }
        }
    }

    fn push_text(&mut self, text: &str) -> u32 {
        self.text.push_str(text);
        short(text.len())
    }

    /// Parses a variable from the text after `${`, appends it, and returns the rest of the text. `*}`, `?}` and `$}`
    /// stand for those characters; `key}` and `key, 'default'}` are variables.
    fn push_variable<'a>(&mut self, inside: &'a str) -> Result<&'a str, InvalidVariable> {
        for special in ["*", "?", "$"] {
            if let Some(rest) = inside.strip_prefix(special).and_then(|rest| rest.strip_prefix('}')) {
                self.push(Piece::Text(special));
                return Ok(rest);
            }
        }
        let end = inside.find([',', '}']).ok_or(InvalidVariable)?;
        let key = inside[..end].trim().to_lowercase();
        if key.is_empty() || key.contains(['$', '{', '\'']) {
            return Err(InvalidVariable);
        }
        let rest = &inside[end..];
        if let Some(rest) = rest.strip_prefix('}') {
            self.push(Piece::Variable { key: &key, default: None });
            return Ok(rest);
        }
        let quoted = rest[1..].trim_start().strip_prefix('\'').ok_or(InvalidVariable)?;
        let (default, rest) = quoted.split_once('\'').ok_or(InvalidVariable)?;
        let rest = rest.trim_start().strip_prefix('}').ok_or(InvalidVariable)?;
        self.push(Piece::Variable { key: &key, default: Some(default) });
        Ok(rest)
    }

    pub fn finish(self) -> Pieces {
        Pieces { text: self.text.into_boxed_str(), kept: self.kept.into_boxed_slice() }
    }
}

fn short(length: usize) -> u32 {
    u32::try_from(length).expect("a policy is much shorter")
}

#[cfg(test)]
mod tests {
    use super::{Kept, Piece, Pieces, PiecesBuilder, Variables};

    fn parsed(text: &str) -> Pieces {
        Pieces::parse(text, Variables::Replaced).expect("a valid pattern")
    }

    #[test]
    fn a_pattern_is_parsed_to_texts_wildcards_and_variables() {
        let of = parsed("a?b${*}??***${ Key }${x, 'De'}c");
        let expected = [
            Piece::Text("a"),
            Piece::Ones(1),
            Piece::Text("b*"),
            Piece::Ones(2),
            Piece::Many,
            Piece::Variable { key: "key", default: None },
            Piece::Variable { key: "x", default: Some("De") },
            Piece::Text("c"),
        ];
        assert_eq!(of.iter().collect::<Vec<_>>(), expected);
        assert_eq!(of.written(), None);
        assert_eq!(parsed("A?é??*").written().as_deref(), Some("A?é??*"));
        assert_eq!(parsed("AB?É").lowercase(), parsed("ab?é"));
        let mut again = PiecesBuilder::default();
        of.iter().for_each(|piece| again.push(piece));
        assert_eq!(again.finish(), of);
    }

    #[test]
    fn a_parsed_pattern_takes_few_bytes_for_each_character() {
        for pattern in
            ["?".repeat(6_000), "*".repeat(6_000), "*a".repeat(3_000), "?a".repeat(3_000), "${a}".repeat(1_500)]
        {
            let of = parsed(&pattern);
            let bytes = of.text.len() + size_of_val(&*of.kept);
            assert!(bytes <= 9 * pattern.len(), "{bytes} bytes for {}...", &pattern[..8]);
        }
        assert_eq!((size_of::<Kept>(), parsed(&"?".repeat(6_000)).len()), (8, 1));
    }
}
