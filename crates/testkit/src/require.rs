use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::root::workspace_root;

/// Whether test `name` can have a real broker and a real store. If not, it says so on stderr and in the file
/// `JTAV_SKIP_LOG` (cargo hides what a passing test prints), and the test should return.
///
/// # Panics
/// Under `JTAV_REQUIRE_REAL=1`, where a skipped test is a failed one.
pub fn require_real(name: &str) -> bool {
    real_parts().map_err(|reason| skip(name, &reason)).is_ok()
}

/// As [`require_real`], for a browser and what drives it.
///
/// # Panics
/// Under `JTAV_REQUIRE_REAL=1`, where a skipped test is a failed one.
pub fn require_browser(name: &str) -> bool {
    browser().map_err(|reason| skip(name, &reason)).is_ok()
}

/// As [`require_real`], for a redis-server with vector sets: where it is.
///
/// # Panics
/// Under `JTAV_REQUIRE_REAL=1`, where a skipped test is a failed one.
pub fn require_redis8(name: &str) -> Option<PathBuf> {
    let script = || Command::new(workspace_root().join("scripts/redis8.sh"));
    let program = || {
        // Does nothing where the program is there.
        runs("redis-server 8", script().arg("fetch"))?;
        let said = script().arg("path").output().map_err(|error| error.to_string())?;
        let program = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
        runs("redis-server 8", Command::new(&program).arg("--version"))?;
        Ok(program)
    };
    program().map_err(|reason: String| skip(name, &reason)).ok()
}

fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {reason}; `make setup` installs it");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("JTAV_SKIP_LOG") {
        let written = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
    assert!(!std::env::var("JTAV_REQUIRE_REAL").is_ok_and(|value| value == "1"), "JTAV_REQUIRE_REAL=1, but {line}");
}

fn real_parts() -> Result<(), String> {
    runs("java", Command::new("java").arg("-version"))?;
    runs("redis-server", Command::new("redis-server").arg("--version"))?;
    // Does nothing where the jars are there.
    runs("Apache Kafka", Command::new(workspace_root().join("scripts/kafka-local.sh")).arg("fetch"))
}

fn browser() -> Result<(), String> {
    runs("chromium", Command::new("chromium").arg("--version"))?;
    runs("chromedriver", Command::new("chromedriver").arg("--version"))
}

fn runs(what: &str, command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
