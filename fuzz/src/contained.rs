//! Panics that the program itself catches. A decoder's panic costs one post a reason code and no more, so it does not stop
//! the fuzzer; it is kept all the same, once for each place in the code, in the folder that `JTAV_FUZZ_CONTAINED` names.
//! A panic that nobody catches ends the process, as any other crash does.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A panic, and where it happened.
struct Caught {
    place: String,
    report: String,
}

thread_local! {
    static CAUGHT: RefCell<Vec<Caught>> = const { RefCell::new(Vec::new()) };
    static KNOWN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Takes the place of libFuzzer's hook, which ends the process at every panic.
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
        let new = KNOWN.with_borrow(|known| !known.contains(&place));
        let report = if new { format!("{info}\n{}", Backtrace::force_capture()) } else { String::new() };
        CAUGHT.with_borrow_mut(|caught| caught.push(Caught { place, report }));
    }));
}

/// One run of a target.
pub fn run(bytes: &[u8], target: fn(&[u8])) {
    CAUGHT.with_borrow_mut(Vec::clear);
    let ended = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let caught = CAUGHT.take();
    if ended.is_err() {
        caught.iter().for_each(|caught| eprintln!("NOT CONTAINED at {}\n{}", caught.place, caught.report));
        std::process::abort();
    }
    for Caught { place, report } in caught {
        if KNOWN.with_borrow_mut(|known| known.insert(place.clone())) {
            keep(bytes, &place, &report);
        }
    }
}

fn keep(bytes: &[u8], place: &str, report: &str) {
    eprintln!("CONTAINED panic at {place}");
    let Some(folder) = std::env::var_os("JTAV_FUZZ_CONTAINED").map(PathBuf::from) else { return };
    // Package and file, without the folders of this machine.
    let (folders, file) = place.rsplit_once("/src/").unwrap_or(("", place));
    let name = format!("{}-{file}", folders.rsplit('/').next().unwrap_or_default());
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(80).collect();
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(&name), bytes))
        .and_then(|()| std::fs::write(folder.join(format!("{name}.txt")), format!("{place}\n{report}")));
    if let Err(error) = kept {
        eprintln!("{}: {error}", folder.display());
    }
}
