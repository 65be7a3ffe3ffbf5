/// Adds a [`std::time::Duration`] getter for each `_ms` or `_seconds` field.
macro_rules! durations {
    ($section:ty { $($getter:ident: $unit:ident($field:ident)),+ $(,)? }) => {
        impl $section {
            $(
                #[doc = concat!("`", stringify!($field), "` as a duration.")]
                pub fn $getter(&self) -> std::time::Duration {
                    std::time::Duration::$unit(self.$field)
                }
            )+
        }
    };
}

pub(super) use durations;
