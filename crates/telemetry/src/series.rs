//! One series of a metric: the metric with a value for each of its labels. Which of `inc`, `set` and `observe` it has is
//! a matter of its type, so that a gauge cannot be counted nor a label be forgotten.

use std::borrow::Cow;
use std::marker::PhantomData;

/// Most labels that a metric has.
const MAX_LABELS: usize = 3;

/// A metric and where its labels lie, all of them in the program itself.
pub(crate) type SeriesKey = (usize, [(usize, usize); MAX_LABELS]);

/// A number that only rises.
#[derive(Debug, Clone, Copy)]
pub struct Counter;

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge;

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub struct Histogram;

/// One series, made by the functions of [`Metric`](crate::Metric). Its methods write to [`global`](crate::global); those of
/// [`Telemetry`](crate::Telemetry) write to another set.
#[derive(Debug, Clone)]
#[must_use = "nothing is counted before `inc`, `add`, `set` or `observe`"]
pub struct Series<K> {
    /// Place of the metric in the catalogue.
    pub(crate) place: usize,
    values: [Cow<'static, str>; MAX_LABELS],
    count: usize,
    kind: PhantomData<K>,
}

impl<K> Series<K> {
    pub(crate) fn new<const N: usize>(place: usize, given: [Cow<'static, str>; N]) -> Self {
        const { assert!(N <= MAX_LABELS, "a metric has more labels than a series has room for") };
        let mut values = [const { Cow::Borrowed("") }; MAX_LABELS];
        for (place, value) in values.iter_mut().zip(given) {
            *place = value;
        }
        Self { place, values, count: N, kind: PhantomData }
    }

    /// What tells this series from every other without reading its labels: none where one was made for the occasion.
    pub(crate) fn key(&self) -> Option<SeriesKey> {
        let mut labels = [(0, 0); MAX_LABELS];
        for (label, value) in labels.iter_mut().zip(&self.values) {
            let Cow::Borrowed(text) = value else { return None };
            *label = (text.as_ptr().addr(), text.len());
        }
        Some((self.place, labels))
    }

    /// Calls `then` with the values of the labels.
    pub(crate) fn with_values<T>(&self, then: impl FnOnce(&[&str]) -> T) -> T {
        let values = self.values.each_ref().map(AsRef::as_ref);
        then(&values[..self.count])
    }
}
