//! Which labels a reader wants. Pure.

use jtav_schemas::{Label, Modality, SentimentV1};
use serde::Deserialize;
use utoipa::IntoParams;

/// Filters as they stand in an address; every one that is given must hold. Several values with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct FilterQuery {
    /// `negative`, `neutral`, `positive`.
    #[param(
        example = "negative,positive",
        pattern = "^((negative|neutral|positive)(,(negative|neutral|positive)){0,31})?$"
    )]
    pub label: Option<String>,
    /// Only labels that are certain, or only those that are not.
    pub certain: Option<bool>,
    /// Most probable mood: `Q1` to `Q4`.
    #[param(pattern = "^(Q[1-4](,Q[1-4]){0,31})?$")]
    pub mood: Option<String>,
    /// Parts that took part: `text`, `audio`, `image`; any of them.
    #[param(pattern = "^((text|audio|image)(,(text|audio|image)){0,31})?$")]
    pub modality: Option<String>,
    /// Languages of the text, ISO 639.
    #[param(example = "en", pattern = "^([a-z]{2,3}(,[a-z]{2,3}){0,31})?$")]
    pub lang: Option<String>,
}

/// Values of one filter that are looked at.
const MAX_VALUES: usize = 32;

/// Filters that have been read. Erasures pass every filter: a reader may have seen the post before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    labels: Vec<Label>,
    certain: Option<bool>,
    moods: Vec<String>,
    modalities: Vec<Modality>,
    langs: Vec<String>,
}

/// What filters look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Facets {
    label: Label,
    certain: bool,
    mood: Option<String>,
    modalities: [bool; Modality::ALL.len()],
    lang: Option<String>,
}

impl Facets {
    /// Of a record.
    pub fn of(sentiment: &SentimentV1) -> Self {
        Self {
            label: sentiment.label,
            certain: sentiment.certain,
            mood: sentiment.moods.first().map(|mood| mood.tag.clone()),
            modalities: Modality::ALL.map(|modality| sentiment.modalities.get(modality).is_present()),
            lang: sentiment.lang.clone(),
        }
    }

    /// Of a label that every test's filter lets through.
    #[cfg(test)]
    pub(crate) fn any() -> Self {
        let modalities = [true; Modality::ALL.len()];
        Self { label: Label::Positive, certain: true, mood: None, modalities, lang: None }
    }

    /// Whether it is certain.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// The label.
    pub fn label(&self) -> Label {
        self.label
    }
}

impl Filter {
    /// Reads an address's filters.
    ///
    /// # Errors
    /// Which value is none, and what it can be.
    pub fn read(query: &FilterQuery) -> Result<Self, String> {
        let mut filter = Self { certain: query.certain, ..Self::default() };
        for name in values(query.label.as_deref())? {
            let label = Label::from_name(name)
                .ok_or_else(|| format!("label `{name}` is none of negative, neutral, positive"))?;
            filter.labels.push(label);
        }
        for name in values(query.modality.as_deref())? {
            let modality = Modality::ALL
                .into_iter()
                .find(|modality| modality.as_str() == name)
                .ok_or_else(|| format!("modality `{name}` is none of text, audio, image"))?;
            filter.modalities.push(modality);
        }
        for tag in values(query.mood.as_deref())? {
            if !matches!(tag, "Q1" | "Q2" | "Q3" | "Q4") {
                return Err(format!("mood `{tag}` is none of Q1, Q2, Q3, Q4"));
            }
            filter.moods.push(tag.to_owned());
        }
        for code in values(query.lang.as_deref())? {
            if !jtav_schemas::is_language_code(code) {
                return Err(format!("lang `{code}` is no ISO 639 code such as en"));
            }
            filter.langs.push(code.to_owned());
        }
        Ok(filter)
    }

    /// Whether a label is wanted.
    pub fn wants(&self, facets: &Facets) -> bool {
        let any_part = |modality: &Modality| facets.modalities[*modality as usize];
        (self.labels.is_empty() || self.labels.contains(&facets.label))
            && self.certain.is_none_or(|certain| certain == facets.certain)
            && (self.moods.is_empty() || facets.mood.as_ref().is_some_and(|mood| self.moods.contains(mood)))
            && (self.modalities.is_empty() || self.modalities.iter().any(any_part))
            && (self.langs.is_empty() || facets.lang.as_ref().is_some_and(|lang| self.langs.contains(lang)))
    }
}

fn values(list: Option<&str>) -> Result<Vec<&str>, String> {
    let values: Vec<&str> = list
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .take(MAX_VALUES + 1)
        .collect();
    if values.len() > MAX_VALUES {
        return Err(format!("a filter takes at most {MAX_VALUES} values"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facets() -> Facets {
        Facets {
            label: Label::Positive,
            certain: true,
            mood: Some("Q1".to_owned()),
            modalities: [true, true, false],
            lang: Some("en".to_owned()),
        }
    }

    fn wants(query: FilterQuery) -> bool {
        Filter::read(&query).unwrap().wants(&facets())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_filter_that_is_given_must_hold_and_one_of_its_values_is_enough() {
        assert!(wants(FilterQuery::default()));
        assert!(wants(FilterQuery { label: some("negative, positive"), certain: Some(true), ..Default::default() }));
        assert!(!wants(FilterQuery { label: some("negative"), ..Default::default() }));
        assert!(!wants(FilterQuery { label: some("positive"), certain: Some(false), ..Default::default() }));
        assert!(wants(FilterQuery { modality: some("image,audio"), mood: some("Q1"), ..Default::default() }));
        assert!(!wants(FilterQuery { modality: some("image"), ..Default::default() }));
        assert!(wants(FilterQuery { lang: some("de,en"), ..Default::default() }));
        assert!(!wants(FilterQuery { lang: some("de"), ..Default::default() }));
        assert!(wants(FilterQuery { label: some(""), lang: some(","), ..Default::default() }), "empty is none");
    }

    #[test]
    fn a_value_that_is_none_is_refused_with_those_that_are() {
        for query in [
            FilterQuery { label: some("happy"), ..Default::default() },
            FilterQuery { modality: some("video"), ..Default::default() },
            FilterQuery { mood: some("Q5"), ..Default::default() },
            FilterQuery { lang: some("EN"), ..Default::default() },
            FilterQuery { label: some(&"positive,".repeat(33)), ..Default::default() },
        ] {
            assert!(Filter::read(&query).is_err(), "{query:?}");
        }
    }
}
