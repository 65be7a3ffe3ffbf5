//! Looks for a deletion in a value that is no post.

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A post to erase.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    pub id: String,
    /// 0 where the record has none that can be read.
    pub revision: u64,
}

/// A deletion if `text` begins with an object that has a string as `id` and `true` as `deleted`: of what follows the two,
/// damage included, nothing counts. Given more than once, one `true` is enough, and two different ids are none.
pub(super) fn find(text: &str) -> Option<Deletion> {
    // A number beyond every type ends the reading. It can be passed over, but not before it is known that it is one.
    [true, false].into_iter().find_map(|with_revision| {
        let mut seen = Seen::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        // Where it stops makes no difference.
        let _ = Skim { seen: &mut seen, with_revision }.deserialize(&mut reader);
        seen.deletion()
    })
}

#[derive(Default)]
struct Seen {
    id: Option<String>,
    has_other_id: bool,
    is_deleted: bool,
    revision: u64,
}

impl Seen {
    fn deletion(self) -> Option<Deletion> {
        let id = self.id.filter(|_| self.is_deleted && !self.has_other_id)?;
        Some(Deletion { id, revision: self.revision })
    }

    fn id(&mut self, found: Loose) {
        let Loose::Text(id) = found else {
            self.has_other_id = true;
            return;
        };
        match &self.id {
            None => self.id = Some(id),
            Some(first) => self.has_other_id |= *first != id,
        }
    }
}

struct Skim<'a> {
    seen: &'a mut Seen,
    with_revision: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Id,
    Revision,
    Deleted,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Skim<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Skim<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            match name {
                Name::Id => self.seen.id(map.next_value()?),
                Name::Deleted => self.seen.is_deleted |= map.next_value::<Loose>()? == Loose::True,
                Name::Revision if self.with_revision => {
                    if let Loose::Whole(revision) = map.next_value()? {
                        self.seen.revision = self.seen.revision.max(revision);
                    }
                }
                Name::Revision | Name::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A value of any type, of which three are of interest.
#[derive(PartialEq)]
enum Loose {
    Text(String),
    True,
    Whole(u64),
    Other,
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
        Ok(Loose::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(if value { Loose::True } else { Loose::Other })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose::Whole(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Other)
    }

    // What is passed over is passed over without recursion, however deep.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Loose, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}
