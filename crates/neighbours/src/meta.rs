//! Label, certainty, language and state of a row in 32 bits, so that a filter is one comparison.

use jtav_schemas::Label;

const LANG_MASK: u32 = (1 << 15) - 1;
const LABEL_SHIFT: u32 = 15;
const LABEL_MASK: u32 = 0b11 << LABEL_SHIFT;
const CERTAIN: u32 = 1 << 17;
const HAS_EVENT_TIME: u32 = 1 << 18;
const DEAD: u32 = 1 << 31;

/// As the module says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta(u32);

impl Meta {
    /// A language that is none of ISO 639's codes is kept as none.
    pub(crate) fn new(label: Label, certain: bool, lang: Option<&str>, has_event_time: bool) -> Self {
        let flag = |bit, is_set| if is_set { bit } else { 0 };
        let lang = lang.and_then(lang_bits).unwrap_or_default();
        Meta(lang | label_bits(label) | flag(CERTAIN, certain) | flag(HAS_EVENT_TIME, has_event_time))
    }

    pub(crate) fn label(self) -> Label {
        let place = (self.0 & LABEL_MASK) >> LABEL_SHIFT;
        Label::ALL.get(place as usize).copied().unwrap_or(Label::Neutral)
    }

    pub(crate) fn certain(self) -> bool {
        self.0 & CERTAIN != 0
    }

    pub(crate) fn has_event_time(self) -> bool {
        self.0 & HAS_EVENT_TIME != 0
    }

    pub(crate) fn lang(self) -> Option<String> {
        let letters = [10, 5, 0].map(|shift| (self.0 & LANG_MASK) >> shift & 0b1_1111);
        let lang: String =
            letters.into_iter().filter(|letter| *letter > 0).map(|letter| (b'a' + letter as u8 - 1) as char).collect();
        (!lang.is_empty()).then_some(lang)
    }

    pub(crate) fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    pub(crate) fn dead(self) -> Self {
        Meta(self.0 | DEAD)
    }
}

/// What a row must be to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    mask: u32,
    bits: u32,
}

impl Wanted {
    /// `None` where no row can be so: a language that is none.
    pub(crate) fn new(label: Option<Label>, certain: Option<bool>, lang: Option<&str>) -> Option<Self> {
        let mut wanted = Wanted { mask: DEAD, bits: 0 };
        let mut ask = |mask, bits| {
            wanted.mask |= mask;
            wanted.bits |= bits;
        };
        if let Some(label) = label {
            ask(LABEL_MASK, label_bits(label));
        }
        if let Some(certain) = certain {
            ask(CERTAIN, if certain { CERTAIN } else { 0 });
        }
        if let Some(lang) = lang {
            ask(LANG_MASK, lang_bits(lang)?);
        }
        Some(wanted)
    }

    pub(crate) fn takes(self, meta: Meta) -> bool {
        meta.0 & self.mask == self.bits
    }
}

fn label_bits(label: Label) -> u32 {
    let place = match label {
        Label::Negative => 0,
        Label::Neutral => 1,
        Label::Positive => 2,
    };
    place << LABEL_SHIFT
}

/// Two or three letters, 5 bits each.
fn lang_bits(lang: &str) -> Option<u32> {
    let is_code = matches!(lang.len(), 2 | 3) && lang.bytes().all(|byte| byte.is_ascii_lowercase());
    is_code.then(|| lang.bytes().fold(0, |bits, byte| bits << 5 | u32::from(byte - b'a' + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_is_found_by_each_of_its_parts() {
        for label in Label::ALL {
            for certain in [false, true] {
                for lang in [None, Some("en"), Some("zxx"), Some("aa")] {
                    let meta = Meta::new(label, certain, lang, certain);
                    assert_eq!((meta.label(), meta.certain(), meta.has_event_time()), (label, certain, certain));
                    assert_eq!(meta.lang().as_deref(), lang);
                    assert!(Wanted::new(Some(label), Some(certain), lang).unwrap().takes(meta));
                    assert!(!Wanted::new(None, Some(!certain), None).unwrap().takes(meta));
                    assert!(!Wanted::new(None, None, Some("qq")).unwrap().takes(meta));
                    assert!(!Wanted::new(None, None, None).unwrap().takes(meta.dead()));
                    assert!(meta.dead().is_dead() && !meta.is_dead());
                }
            }
        }
    }

    #[test]
    fn a_language_that_is_no_code_is_none_and_nothing_is_in_it() {
        for lang in ["", "e", "engl", "EN", "é", "e1"] {
            assert_eq!(Meta::new(Label::Neutral, false, Some(lang), false).lang(), None);
            assert!(Wanted::new(None, None, Some(lang)).is_none());
        }
    }
}
