//! Every input that a fuzzer found fault with, and every seed that it starts from, through the functions that are fuzzed
//! (`fuzz/README.md`).

use std::panic::catch_unwind;
use std::path::PathBuf;

use anyhow::Result;
use jtav_testkit::workspace_root;

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

fn inputs(folder: &str, target: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace_root().join("fuzz").join(folder).join(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    inputs.sort();
    Ok(inputs)
}

#[test]
fn no_input_that_a_fuzzer_found_does_harm_again() -> Result<()> {
    let mut harmful = Vec::new();
    for (name, target) in targets::ALL {
        let seeds = inputs("corpus", name)?;
        assert!(seeds.len() >= 5, "{name} has {} seeds", seeds.len());
        for path in seeds.into_iter().chain(inputs("regressions", name)?) {
            let bytes = std::fs::read(&path)?;
            if catch_unwind(|| target(&bytes)).is_err() {
                harmful.push(path);
            }
        }
    }
    assert!(harmful.is_empty(), "{harmful:#?}");
    Ok(())
}
