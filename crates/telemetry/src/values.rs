//! What labels can be, in text.

use std::borrow::Cow;
use std::sync::LazyLock;

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
    i32: number => small_number(number);
    &'static str: text => Cow::Borrowed(text);
    String: text => Cow::Owned(text);
}

/// Partitions have small numbers, and one is named with every record.
fn small_number(number: i32) -> Cow<'static, str> {
    static SMALL: LazyLock<Vec<String>> = LazyLock::new(|| (0..1_024).map(|number: i32| number.to_string()).collect());
    match usize::try_from(number).ok().and_then(|number| SMALL.get(number)) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(number.to_string()),
    }
}

impl ValuesOf for bool {
    fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(if self { "true" } else { "false" })
    }

    fn known() -> Option<Vec<&'static str>> {
        Some(vec!["false", "true"])
    }
}
