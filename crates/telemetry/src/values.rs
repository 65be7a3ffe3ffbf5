//! What labels can be, in text.

use std::borrow::Cow;

/// What a label can be.
pub trait ValuesOf: Sized {
    /// One value as it stands on `/metrics`.
    fn text(self) -> Cow<'static, str>;

    /// All values, where there is a list.
    fn known() -> Option<Vec<&'static str>>;
}

/// Labels whose values are not known before: a partition, a version, what a library calls an error. Bounded all the same.
macro_rules! unlisted {
    ($($type:ty: $value:ident => $text:expr;)*) => {
        $(impl ValuesOf for $type {
            fn text(self) -> Cow<'static, str> {
                let $value = self;
                $text
            }

            fn known() -> Option<Vec<&'static str>> {
                None
            }
        })*
    };
}

unlisted! {
    i32: number => Cow::Owned(number.to_string());
    &'static str: text => Cow::Borrowed(text);
    String: text => Cow::Owned(text);
}

impl ValuesOf for bool {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(if self { "true" } else { "false" })
    }

    fn known() -> Option<Vec<&'static str>> {
        Some(vec!["false", "true"])
    }
}
