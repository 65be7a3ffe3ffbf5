//! `list`.

use anyhow::Result;
use jtav_testkit::workspace_root;

use crate::scenario::Scenario;

pub fn run() -> Result<()> {
    let folder = workspace_root().join("load-tests/scenarios");
    let mut names: Vec<String> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    for name in names {
        let scenario = Scenario::load(&folder, &name)?;
        println!("{name:8} {} ({} posts a second)", scenario.description, scenario.rate_per_second);
    }
    Ok(())
}
