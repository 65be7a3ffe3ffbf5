//! Which characters are the same, which are none, and which look alike.

use unicode_normalization::char::is_combining_mark;

/// Nothing that a reader sees, wherever it stands: fillers, directions, selectors, tags, and controls. The two joiners
/// are not among them ([`is_joiner`]).
pub(super) fn is_invisible(c: char) -> bool {
    let code = u32::from(c);
    if code < 0xAD {
        return c.is_control() && !c.is_whitespace();
    }
    matches!(code,
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B | 0x200E..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
        | 0x1D173..=0x1D17A | 0x1BCA0..=0x1BCA3 | 0x1F3FB..=0x1F3FF | 0xE0000..=0xE0FFF)
}

/// Zero-width non-joiner and joiner.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Letters whose form, and with it a word's meaning, a joiner decides: Arabic and Syriac ones, those of India and its
/// neighbours, Mongolian ones.
pub(super) fn takes_joiners(c: char) -> bool {
    matches!(u32::from(c),
        0x620..=0x7FF | 0x840..=0x86A | 0x8A0..=0xDFF | 0xF00..=0x109F | 0x1780..=0x18AF | 0x1B00..=0x1BBF
        | 0xA840..=0xA8FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFC | 0x11000..=0x11FFF)
}

/// How marks that are stacked on a letter are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Accents of no script of its own: what "zalgo" is made of.
    Accent,
    /// Strokes through a letter and rings around it: decoration.
    Overlay,
    /// Vowels, tones and points of a script.
    OfScript,
}

/// `None` for what is no mark.
pub(super) fn mark(c: char) -> Option<Mark> {
    match u32::from(c) {
        0..0x300 => None,
        0x334..=0x338 | 0x488..=0x489 | 0x20D0..=0x20FF => Some(Mark::Overlay),
        0x300..=0x36F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0xFE20..=0xFE2F => Some(Mark::Accent),
        _ => is_combining_mark(c).then_some(Mark::OfScript),
    }
}

/// Parts of a Korean syllable, which are composed to one character though none is a mark.
pub(super) fn is_jamo(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x11FF | 0x3131..=0x318E | 0xA960..=0xA97C | 0xD7B0..=0xD7FB | 0xFFA1..=0xFFDC)
}

/// Half-width voiced marks of kana, which are composed with the letter before them.
pub(super) fn is_voiced_mark(c: char) -> bool {
    matches!(c, '\u{FF9E}' | '\u{FF9F}')
}

/// One character for all that are meant as it: apostrophes, dashes, sentence marks, letters in rings and boxes, small
/// capitals, digits in discs. What it leaves alone may still be changed by NFKC, and what NFKC makes is folded again.
pub(super) fn folded(c: char) -> char {
    if c.is_ascii() {
        return if c == '`' { '\'' } else { c };
    }
    match c {
        '’' | '‘' | '‛' | '´' | '′' | 'ʼ' | 'ʻ' | 'ʹ' | 'ˈ' | 'ʾ' | 'ʿ' | '＇' | '｀' | '‵' | 'Ꞌ' | 'ꞌ' => {
            '\''
        }
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '⁃' | '﹘' | '﹣' | '－' => '-',
        '。' | '｡' | '۔' | '।' | '॥' | '։' | '።' | '។' => '.',
        '、' | '､' | '،' | '՝' | '᠂' | '፣' => ',',
        '؟' | '⸮' | '‽' | '՞' | '፧' => '?',
        '؛' => ';',
        '՜' => '!',
        // The one letter whose small form is two characters.
        'İ' => 'I',
        '\u{2800}' => ' ',
        _ => letter_of_style(c),
    }
}

/// Latin letters that only look different and that NFKC leaves alone.
fn letter_of_style(c: char) -> char {
    let code = u32::from(c);
    let from = |first: u32| char::from(b'A' + ((code - first) % 26) as u8);
    match code {
        0x1F150..=0x1F169 => from(0x1F150),
        0x1F170..=0x1F189 => from(0x1F170),
        0x1F1E6..=0x1F1FF => from(0x1F1E6),
        0x2776..=0x2793 => digit(code - 0x2776),
        0x1A6 | 0x262..=0x2AF | 0x1D00..=0x1D7F | 0xA730..=0xA7AF => twin(SMALL_CAPITALS, c).unwrap_or(c),
        _ => c,
    }
}

/// Digits in discs, each row from one to ten. Ten is no digit.
fn digit(place: u32) -> char {
    char::from_digit(place % 10 + 1, 10).unwrap_or('·')
}

const SMALL_CAPITALS: &str = "ᴀaƦRꞮIʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢz";

/// The Latin letter that a Cyrillic or Greek one looks like. Where a small letter has one, so has its capital: a word is
/// the same in both cases.
pub(super) fn latin_twin(c: char) -> Option<char> {
    const TWINS: &str = "аaеeоoрpсcуyхxіiјjѕsһhҺHԁdԀDԛqԚQԝwԜWкkАAВBЕEКKМMНHОOРPСCТTУYХXІIЈJЅSԌGѴVѵv\
                         οoαaνvρpιiυuχxκkεeτtηnΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX";
    twin(TWINS, c)
}

/// The Cyrillic letter that a Latin one looks like.
pub(super) fn cyrillic_twin(c: char) -> Option<char> {
    const TWINS: &str = "aаeеoоpрcсyуxхiіkкAАBВEЕKКMМHНOОPРCСTТYУXХIІ";
    twin(TWINS, c)
}

/// Looks `c` up in pairs of characters.
fn twin(pairs: &str, c: char) -> Option<char> {
    let mut pairs = pairs.chars();
    while let (Some(from), Some(to)) = (pairs.next(), pairs.next()) {
        if from == c {
            return Some(to);
        }
    }
    None
}

/// What a letter's script is, as far as look-alikes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Latin,
    Cyrillic,
    Greek,
    Other,
}

/// `Other` for digits and marks too.
pub(super) fn script(c: char) -> Script {
    match u32::from(c) {
        0x41..=0x5A
        | 0x61..=0x7A
        | 0xC0..=0x2AF
        | 0x1D00..=0x1DBF
        | 0x1E00..=0x1EFF
        | 0x2C60..=0x2C7F
        | 0xA720..=0xA7FF
        | 0xAB30..=0xAB6F => Script::Latin,
        0x400..=0x52F | 0x1C80..=0x1C8F | 0xA640..=0xA69F => Script::Cyrillic,
        0x370..=0x3FF | 0x1F00..=0x1FFF => Script::Greek,
        _ => Script::Other,
    }
}

/// Letters that end a link or a word of other letters before them, and behind which a word begins: those of scripts that
/// put no blanks between words (Unicode's word boundaries are asked for them), Korean ones (whose endings follow names and links without a blank), and historic ones.
pub(super) fn lacks_blanks(c: char) -> bool {
    matches!(u32::from(c), 0xE00..=0xEFF | 0x1000..=0x109F | 0x1100..=0x11FF | 0x1780..=0x17FF | 0x1950..=0x19FF
        | 0x1A20..=0x1AAF | 0x2E80..=0xA4CF | 0xA960..=0xA9DF | 0xAA60..=0xAADF | 0xAC00..=0xD7FF | 0xF900..=0xFAFF
        | 0x10000..=0x3FFFF)
}

/// Whether a word ends between two letters because only the first is of a script without blanks.
pub(super) fn part(before: char, here: char) -> bool {
    lacks_blanks(before) && !lacks_blanks(here)
}

/// Letters and digits that touch what stands beside them.
pub(super) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() && !lacks_blanks(c)
}
