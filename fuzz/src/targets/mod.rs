//! One function for each target: any bytes in, and a panic where something that must always hold does not.

mod addresses;
mod media;
mod records;
mod texts;

pub use addresses::url_policy;
pub use media::{audio, image};
pub use records::{dead_letter_reader, post_json, schema_round_trip};
pub use texts::text_reader;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 7] = [
    ("image", image),
    ("audio", audio),
    ("url_policy", url_policy),
    ("post_json", post_json),
    ("schema_round_trip", schema_round_trip),
    ("dead_letter_reader", dead_letter_reader),
    ("text_reader", text_reader),
];
