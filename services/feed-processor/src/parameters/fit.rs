use anyhow::Context as _;

/// The value of a setting for something that takes four bytes.
///
/// # Errors
/// More than that, with the name of the setting.
pub(super) fn fit(setting: &str, value: u64) -> anyhow::Result<u32> {
    u32::try_from(value).with_context(|| format!("{setting} is {value} and must be at most {}", u32::MAX))
}
