//! One series of a metric: the metric with a value for each of its labels. Which of `inc`, `set` and `observe` it has is
//! a matter of its type, so that a gauge cannot be counted nor a label be forgotten.

use std::borrow::Cow;
use std::marker::PhantomData;

use crate::{Metric, global};

/// Most labels that a metric has.
const MAX_LABELS: usize = 3;

/// What a label can be.
pub trait ValuesOf: Sized {
    /// One value as it stands on `/metrics`.
    fn text(self) -> Cow<'static, str>;

    /// All values, where there is a list.
    fn known() -> Option<Vec<&'static str>>;
}

/// A number that only rises.
#[derive(Debug, Clone, Copy)]
pub struct Counter;

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge;

/// A distribution.
#[derive(Debug, Clone, Copy)]
pub struct Histogram;

/// One series, made by the functions of [`Metric`]. Its methods write to [`global`]; those of
/// [`Telemetry`](crate::Telemetry) write to another set.
#[derive(Debug, Clone)]
#[must_use = "nothing is counted before `inc`, `add`, `set` or `observe`"]
pub struct Series<K> {
    pub(crate) metric: Metric,
    values: [Cow<'static, str>; MAX_LABELS],
    count: usize,
    kind: PhantomData<K>,
}

impl<K> Series<K> {
    pub(crate) fn new<const N: usize>(metric: Metric, given: [Cow<'static, str>; N]) -> Self {
        const { assert!(N <= MAX_LABELS, "a metric has more labels than a series has room for") };
        let mut values = [const { Cow::Borrowed("") }; MAX_LABELS];
        for (place, value) in values.iter_mut().zip(given) {
            *place = value;
        }
        Self { metric, values, count: N, kind: PhantomData }
    }

    /// Calls `then` with the values of the labels.
    pub(crate) fn with_values<T>(&self, then: impl FnOnce(&[&str]) -> T) -> T {
        let values = self.values.each_ref().map(AsRef::as_ref);
        then(&values[..self.count])
    }

    /// Removes it, for example of a partition that is no longer owned.
    pub fn remove(&self) {
        global().remove(self);
    }
}

impl Series<Counter> {
    /// Adds 1.
    pub fn inc(&self) {
        global().inc(self);
    }

    /// Adds an amount, which is not negative.
    pub fn add(&self, amount: f64) {
        global().add(self, amount);
    }

    /// What has been counted; 0 where nothing was.
    pub fn value(&self) -> f64 {
        global().value(self)
    }
}

impl Series<Gauge> {
    /// Sets it.
    pub fn set(&self, value: f64) {
        global().set(self, value);
    }

    /// Moves it up, or down by a negative amount.
    pub fn shift(&self, amount: f64) {
        global().shift(self, amount);
    }

    /// Where it stands; 0 where it was never set.
    pub fn value(&self) -> f64 {
        global().value(self)
    }
}

impl Series<Histogram> {
    /// Adds an observation.
    pub fn observe(&self, value: f64) {
        global().observe(self, value);
    }
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
