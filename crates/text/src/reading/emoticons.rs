//! Faces made of punctuation, and what they show.

use super::characters::{is_of_word, mark};
use super::glyphs::Glyph;
use super::links::{begins_word, scheme_at};
use super::steps::looked_at;

/// Faces that follow no rule, longest first where one begins another.
const WHOLE: [(&str, &str); 14] = [
    ("¯\\_(ツ)_/¯", "person shrugging"),
    ("¯_(ツ)_/¯", "person shrugging"),
    ("ʕ•ᴥ•ʔ", "bear"),
    ("(╯°□°)╯", "angry table flip"),
    ("(ノಠ益ಠ)ノ", "angry table flip"),
    ("\\o/", "person cheering"),
    ("</3", "broken heart"),
    ("<\\3", "broken heart"),
    ("<3", "red heart"),
    ("♡", "red heart"),
    ("^^", "smiling face"),
    (">.<", "frustrated face"),
    ("><", "frustrated face"),
    ("=_=", "expressionless face"),
];
/// Faces that are read only where they stand alone: inside a sentence they are a bracket and a colon.
const REVERSED: [(&str, &str); 10] = [
    ("(:", "smiling face"),
    ("(-:", "smiling face"),
    ("(=", "smiling face"),
    ("(;", "winking face"),
    ("(-;", "winking face"),
    ("):", "frowning face"),
    (")-:", "frowning face"),
    (")':", "crying face"),
    ("D:", "anguished face"),
    ("D-:", "anguished face"),
];
const MAX_REVERSED: usize = 3;
/// A mouth of many lines (`-____-`) is still one.
const MAX_MOUTH: usize = 8;

/// Where the emoticon that begins at `at` ends, and what it shows.
pub(super) fn emoticon_at(chunk: &[Glyph], at: usize) -> Option<(usize, &'static str)> {
    let face = Face { chunk, at };
    let found = match face.c(0)? {
        ':' | ';' => face.sideways(0).or_else(|| face.pair()),
        '=' => face.sideways(0).or_else(|| face.whole()),
        '>' => face.sideways(1).or_else(|| face.pair()).or_else(|| face.whole()),
        '^' => face.pair().or_else(|| face.whole()),
        '-' | '*' | '@' | '.' | '¬' | 'ಠ' | 'ಥ' | '°' | '◕' | '•' | '・' => face.pair(),
        'x' | 'X' | 't' | 'T' | 'q' | 'Q' | 'o' | 'O' | '0' | 'u' | 'U' if face.is(1, |c| matches!(c, '_' | '.')) => {
            face.pair()
        }
        '(' | ')' | 'D' if at == 0 && chunk.len() <= MAX_REVERSED => face.reversed().or_else(|| face.whole()),
        '¯' | 'ʕ' | '\\' | '<' | '♡' | '(' => face.whole(),
        _ => None,
    };
    found.map(|(length, name)| (at + length, name))
}

/// What a lower-case word without stretching shows, if it is a face made of letters: `xD`, `XDDD`.
pub(super) fn emoticon_of_letters(word: &str) -> Option<&'static str> {
    matches!(word, "xd" | "xdd").then_some("laughing face")
}

/// A place where a face may begin; lengths are counted from it.
#[derive(Clone, Copy)]
struct Face<'a> {
    chunk: &'a [Glyph],
    at: usize,
}

type Found = Option<(usize, &'static str)>;

impl Face<'_> {
    fn c(self, ahead: usize) -> Option<char> {
        looked_at(1);
        self.chunk.get(self.at + ahead).map(|glyph| glyph.c)
    }

    fn is(self, ahead: usize, wanted: impl Fn(char) -> bool) -> bool {
        self.c(ahead).is_some_and(wanted)
    }

    /// Whether no word touches the face before it.
    fn stands_free(self) -> bool {
        begins_word(self.chunk, self.at)
    }

    fn ends_free(self, length: usize) -> bool {
        let end = self.at + length;
        !self.is(length, |c| is_of_word(c) || mark(c).is_some()) || scheme_at(self.chunk, end)
    }

    /// Eyes above each other after `brows`, with or without a tear and a nose; any number of mouths (`:)))`).
    fn sideways(self, brows: usize) -> Found {
        let eyes = self.c(brows).filter(|c| matches!(c, ':' | ';' | '='))?;
        let mut length = brows + 1;
        let mut tear = false;
        let mut nose = false;
        while let Some(c) = self.c(length) {
            match c {
                '\'' if !tear => tear = true,
                '-' if !nose => nose = true,
                '^' | '~' if !nose && !tear => nose = true,
                _ => break,
            }
            length += 1;
        }
        let mouth = self.c(length)?;
        let name = expression(eyes, mouth, brows > 0, tear)?;
        let same = self.chunk[self.at + length..].iter().take_while(|glyph| glyph.c.eq_ignore_ascii_case(&mouth));
        let mouths = same.count();
        looked_at(mouths);
        length += mouths;
        // `key:/path`, `a=b`, `10:30`.
        let ambiguous =
            mouth.is_alphanumeric() || eyes == '=' || matches!(mouth, '/' | '\\' | '|' | '*' | '@' | '#' | '$');
        let free = self.ends_free(length) && (!ambiguous || self.stands_free());
        let is_path = mouth == '/' && mouths > 1;
        (free && !is_path).then_some((length, name))
    }

    /// Two equal eyes with a mouth between them: `^_^`, `T_T`, `o.O`.
    fn pair(self) -> Found {
        let eye = self.c(0)?.to_ascii_lowercase();
        let mouth = self.c(1)?;
        let lines = (1..=MAX_MOUTH).take_while(|&i| mouth == '_' && self.c(i) == Some('_')).count().max(1);
        let other = self.c(1 + lines)?.to_ascii_lowercase();
        let fits = match (eye, mouth) {
            ('t' | 'q' | 'o' | 'x' | 'u', '_' | '.') => other == eye || (eye, other) == ('o', '0'),
            ('0', '_') => matches!(other, '0' | 'o'),
            ('>', '_') => matches!(other, '<' | '>'),
            ('-' | '.' | '¬' | 'ಠ' | 'ಥ' | '@' | '*', '_') => other == eye,
            ('^', '_' | '.' | '-' | 'o' | 'w' | '▽' | '∇' | 'ω') => other == eye,
            ('-', '.') | (';' | '*', '_' | '-') => other == eye,
            ('◕' | '•' | '・' | '°', '‿' | 'ᴗ' | 'ω' | '∀' | '▽' | '◡') => other == eye,
            _ => false,
        };
        let length = 2 + lines;
        let free = self.stands_free() && self.ends_free(length);
        let next_differs = eye.is_alphanumeric() || self.c(length) != Some(eye);
        (fits && free && next_differs).then(|| (length, pair_expression(eye)))
    }

    fn whole(self) -> Found {
        let says = |face: &str| face.chars().enumerate().all(|(i, wanted)| self.c(i) == Some(wanted));
        let &(face, name) = WHOLE.iter().find(|(face, _)| says(face))?;
        let mut length = face.chars().count();
        // `<33333` is a bigger heart.
        if face.ends_with('3') {
            let more = self.chunk[self.at + length..].iter().take_while(|glyph| glyph.c == '3').count();
            looked_at(more);
            length += more;
        }
        let free = self.ends_free(length) && (self.stands_free() || !face.ends_with('3') || !self.follows_digit());
        free.then_some((length, name))
    }

    fn follows_digit(self) -> bool {
        self.at > 0 && self.chunk[self.at - 1].c.is_numeric()
    }

    fn reversed(self) -> Found {
        let length = self.chunk.len();
        let is_face =
            |face: &str| face.len() == length && face.chars().enumerate().all(|(i, wanted)| self.c(i) == Some(wanted));
        let found = REVERSED.iter().find(|(face, _)| is_face(face))?;
        Some((length, found.1))
    }
}

fn expression(eyes: char, mouth: char, angry: bool, tear: bool) -> Option<&'static str> {
    let mouth = mouth.to_ascii_lowercase();
    let (smiles, frowns) = (matches!(mouth, ')' | ']' | '}' | 'd'), matches!(mouth, '(' | '[' | '{' | 'c' | '<'));
    Some(match mouth {
        _ if tear && frowns => "crying face",
        _ if tear && smiles => "face with tears of joy",
        _ if tear => return None,
        _ if angry && smiles => "smiling face with horns",
        '/' | '\\' | '|' | 'o' | '@' if angry => "angry face",
        _ if angry && frowns => "angry face",
        _ if angry => return None,
        'p' if eyes == ';' => "winking face with tongue",
        '*' if eyes == ';' => "face blowing a kiss",
        '(' if eyes == ';' => "crying face",
        _ if eyes == ';' => return smiles.then_some("winking face"),
        'd' => "grinning face",
        _ if smiles => "smiling face",
        'p' | 'b' => "face with tongue",
        '(' | '[' | '{' => "frowning face",
        '/' | '\\' => "confused face",
        '|' => "neutral face",
        'o' | '0' => "surprised face",
        '*' => "kissing face",
        _ if eyes == '=' => return None,
        'c' | '<' => "frowning face",
        's' => "confused face",
        'x' | '#' => "face with closed mouth",
        '3' => "cat face",
        '@' => "angry face",
        '$' => "blushing face",
        _ => return None,
    })
}

fn pair_expression(eye: char) -> &'static str {
    match eye {
        't' | 'q' | ';' | 'ಥ' => "crying face",
        'o' | '0' => "surprised face",
        'x' | '@' => "dizzy face",
        'u' => "sad face",
        '*' => "starry eyed face",
        '>' => "frustrated face",
        '-' | '.' | '¬' => "expressionless face",
        'ಠ' => "disapproving face",
        _ => "smiling face",
    }
}
