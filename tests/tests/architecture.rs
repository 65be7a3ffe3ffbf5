//! ARCHITECTURE.md is held against the code: who depends on whom, and the order of the stages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use jtav_testkit::workspace_root;
use serde_json::Value;

use circles::{Sources, circles, of_production};
use lengths::lines_of_code;

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/lengths.rs"]
mod lengths;

/// Folders whose packages may use anything (ADR 44).
const EXEMPT: [&str; 3] = ["tests", "load-tests", "crates/testkit"];

struct Package {
    name: String,
    folder: PathBuf,
    dependencies: BTreeSet<String>,
}

fn is_exempt(package: &Package) -> bool {
    EXEMPT.iter().any(|folder| package.folder == Path::new(folder))
}

/// The packages of the workspace with their direct dependencies of every kind.
fn packages() -> Result<Vec<Package>> {
    let root = workspace_root();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(&root)
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a name");
    let packages = metadata["packages"].as_array().context("packages")?.iter().map(|package| {
        let manifest = PathBuf::from(text(&package["manifest_path"])?);
        let folder = manifest.parent().context("a folder")?.strip_prefix(&root)?.to_owned();
        let dependencies = package["dependencies"].as_array().context("dependencies")?;
        let dependencies = dependencies.iter().map(|dependency| text(&dependency["name"])).collect::<Result<_>>()?;
        Ok(Package { name: text(&package["name"])?, folder, dependencies })
    });
    packages.collect()
}

/// Heavy dependencies and the packages that may name them (ADR 44). The bans in deny.toml say the same.
const HOMES: &[(&str, &[&str])] = &[
    // What serves speaks vectors: only what moves weights sees tensors beside the networks (ADR 5, 31).
    ("tch", &["jtav-model", "jtav-research", "jtav-training"]),
    ("torch-sys", &["jtav-model"]),
    ("openvino", &["jtav-engine"]),
    ("openvino-sys", &["jtav-engine"]),
    ("rdkafka", &["jtav-kafka"]),
    ("redis", &["jtav-store"]),
    ("symphonia", &["jtav-media-codecs"]),
    ("reqwest", &["jtav-console", "jtav-media"]),
    ("image", &["jtav-media-codecs", "jtav-picture"]),
    ("turbojpeg-sys", &["jtav-media-codecs"]),
    ("libwebp-sys", &["jtav-media-codecs"]),
];

#[test]
fn each_heavy_dependency_has_one_home() -> Result<()> {
    let packages = packages()?;
    for (dependency, homes) in HOMES {
        let mut users: Vec<&str> = packages
            .iter()
            .filter(|package| !is_exempt(package))
            .filter(|package| package.dependencies.contains(*dependency))
            .map(|package| package.name.as_str())
            .collect();
        users.sort_unstable();
        assert_eq!(users, *homes, "{dependency} is used by {users:?}, its home is {homes:?}");
    }
    Ok(())
}

#[test]
fn the_bans_of_cargo_deny_name_the_same_homes() -> Result<()> {
    let packages = packages()?;
    let (exempt, others): (Vec<&Package>, Vec<&Package>) = packages.iter().partition(|package| is_exempt(package));
    let names = |packages: &[&Package]| packages.iter().map(|package| package.name.clone()).collect::<BTreeSet<_>>();
    let (exempt, others) = (names(&exempt), names(&others));
    let rules: toml::Table = read("deny.toml")?.parse()?;
    let bans = rules["bans"]["deny"].as_array().context("bans.deny")?;
    let mut banned = BTreeSet::new();
    for ban in bans {
        let name = ban["name"].as_str().context("a name")?;
        let wrappers = ban["wrappers"].as_array().context("wrappers")?.iter().filter_map(toml::Value::as_str);
        let (ours, foreign): (BTreeSet<&str>, BTreeSet<&str>) =
            wrappers.partition(|wrapper| wrapper.starts_with("jtav-"));
        let homes = HOMES.iter().find(|(dependency, _)| *dependency == name).map(|(_, homes)| *homes);
        let homes: BTreeSet<&str> =
            homes.with_context(|| format!("deny.toml bans {name}, which has no home"))?.iter().copied().collect();
        let unknown: Vec<&&str> = ours.iter().filter(|w| !exempt.contains(**w) && !others.contains(**w)).collect();
        assert!(unknown.is_empty(), "deny.toml, {name}: there is no package {unknown:?}");
        let listed: BTreeSet<&str> = ours.into_iter().filter(|wrapper| !exempt.contains(*wrapper)).collect();
        assert_eq!(listed, homes, "deny.toml, {name}");
        // A library of others stands between us and one of these only where it is one of these itself.
        assert!(foreign.iter().all(|wrapper| HOMES.iter().any(|(home, _)| home == wrapper)), "{name}: {foreign:?}");
        banned.insert(name);
    }
    assert_eq!(banned, HOMES.iter().map(|(dependency, _)| *dependency).collect());
    Ok(())
}

/// Whoever decodes (a worker, the trainer, a fuzzer) gets decoders, and nothing that runs, fetches or counts.
#[test]
fn media_codecs_stand_on_no_runtime_no_web_and_no_metrics() -> Result<()> {
    const NONE_OF: [&str; 5] = ["actix", "reqwest", "tokio", "jtav-pipeline", "jtav-telemetry"];
    let below = all_below("jtav-media-codecs")?;
    assert!(below.contains("symphonia") && below.contains("serde_derive"), "{below:?}");
    let wrong: Vec<&str> = NONE_OF.into_iter().filter(|name| below.contains(*name)).collect();
    assert!(wrong.is_empty(), "jtav-media-codecs stands on {wrong:?}");
    Ok(())
}

/// What a package needs to be built, directly or through others.
fn all_below(package: &str) -> Result<BTreeSet<String>> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--offline", "--format-version", "1", "--filter-platform", &platform])
        .current_dir(workspace_root())
        .output()?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let list = |value: &Value| value.as_array().cloned().context("a list");
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a name");
    let packages = list(&metadata["packages"])?;
    let names = packages.iter().map(|package| Ok((text(&package["id"])?, text(&package["name"])?)));
    let names: BTreeMap<String, String> = names.collect::<Result<_>>()?;
    let mut needs = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"])? {
        let mut ids = Vec::new();
        for dependency in list(&node["deps"])? {
            if list(&dependency["dep_kinds"])?.iter().any(|kind| kind["kind"] != "dev") {
                ids.push(text(&dependency["pkg"])?);
            }
        }
        needs.insert(text(&node["id"])?, ids);
    }
    let (mut below, mut next) = (BTreeSet::new(), Vec::new());
    next.extend(names.iter().filter(|(_, name)| *name == package).map(|(id, _)| id));
    ensure!(next.len() == 1, "{} packages are called {package}", next.len());
    while let Some(id) = next.pop() {
        next.extend(needs.get(id).into_iter().flatten().filter(|id| below.insert((*id).clone())));
    }
    Ok(below.iter().filter_map(|id| names.get(id).cloned()).collect())
}

/// An image that serves carries neither the trainer nor the paper's rivals, nor what only they ask for.
#[test]
fn what_serves_is_built_without_training_and_research() -> Result<()> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--offline", "--package", "jtav", "--no-default-features"])
        .args(["--prefix", "none", "--format", "{p}", "--edges", "normal,build"])
        // It would add up the features of the whole workspace.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .current_dir(workspace_root())
        .output()?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    let carried: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(carried.contains("jtav-model"), "{carried:?}");
    for research in ["jtav-training", "jtav-trainer", "jtav-research", "fasttext", "finalfusion"] {
        assert!(!carried.contains(research), "`jtav run` would carry {research}");
    }
    Ok(())
}

/// Features of the dependencies are the union of what is asked for, and one that only a test asks for would have the
/// same dependency, and all that stands on it, compiled twice: once for the program and once for the tests.
#[test]
fn a_dependency_has_the_same_features_in_the_program_and_in_the_tests() -> Result<()> {
    let resolved = |edges: &str| -> Result<BTreeSet<String>> {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["tree", "--offline", "--workspace", "--prefix", "none", "--format", "{p} {f}", "--edges", edges])
            .current_dir(workspace_root())
            .output()?;
        ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect())
    };
    let (program, tests) = (resolved("normal,build")?, resolved("normal,build,dev")?);
    let changed: Vec<&String> = program.difference(&tests).collect();
    assert!(changed.is_empty(), "tests add features to {changed:?}; ask for them in the workspace's dependencies");
    Ok(())
}

#[test]
fn no_actor_depends_on_another() -> Result<()> {
    let packages = packages()?;
    let actors: Vec<&Package> = packages.iter().filter(|package| package.folder.starts_with("actors")).collect();
    assert!(actors.len() >= 8, "only {} actors were found", actors.len());
    for actor in &actors {
        let others: Vec<&str> = actors
            .iter()
            .map(|other| other.name.as_str())
            .filter(|other| actor.dependencies.contains(*other))
            .collect();
        assert!(others.is_empty(), "{} depends on {others:?}", actor.name);
    }
    Ok(())
}

#[test]
fn libraries_know_neither_actors_nor_services() -> Result<()> {
    let packages = packages()?;
    let above: BTreeMap<&str, &Path> = packages
        .iter()
        .filter(|package| package.folder.starts_with("actors") || package.folder.starts_with("services"))
        .map(|package| (package.name.as_str(), package.folder.as_path()))
        .collect();
    for package in &packages {
        let allowed = |dependency: &str| match above.get(dependency) {
            None => true,
            Some(_) if is_exempt(package) => true,
            Some(_) => package.folder.starts_with("services"),
        };
        let wrong: Vec<&String> = package.dependencies.iter().filter(|dependency| !allowed(dependency)).collect();
        assert!(wrong.is_empty(), "{} depends on {wrong:?}, which stand above it", package.name);
    }
    Ok(())
}

#[test]
fn every_folder_of_code_is_a_member_of_the_workspace() -> Result<()> {
    let root = workspace_root();
    let members: BTreeSet<PathBuf> = packages()?.into_iter().map(|package| package.folder).collect();
    let mut folders: BTreeSet<PathBuf> = ["schemas", "tests", "load-tests"].map(PathBuf::from).into();
    for parent in ["services", "actors", "crates"] {
        for entry in std::fs::read_dir(root.join(parent))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.insert(Path::new(parent).join(entry.file_name()));
            }
        }
    }
    assert_eq!(members, folders);
    Ok(())
}

/// Links from one crate to another are addresses of pages, which rustdoc does not check.
#[test]
fn the_front_page_of_the_documentation_links_every_crate_and_no_other() -> Result<()> {
    let source = read("services/jtav/src/main.rs")?;
    let page = source.lines().take_while(|line| line.starts_with("//!"));
    let linked: Vec<String> = page
        .flat_map(|line| line.split("](../").skip(1))
        .filter_map(|rest| rest.split_once("/index.html)"))
        .map(|(name, _)| name.replace('_', "-"))
        .collect();
    let crates = packages()?.into_iter().map(|package| package.name).filter(|name| name != "jtav");
    assert_eq!(linked.iter().cloned().collect::<BTreeSet<_>>(), crates.collect());
    assert_eq!(linked.iter().collect::<BTreeSet<_>>().len(), linked.len(), "one is linked twice: {linked:?}");
    // The boxes come in the order of the diagram; what the page calls media is fetch and decode.
    let boxes = stages_of_diagram()?.into_iter().filter_map(|stage| match stage {
        "fetch" => Some("media"),
        "decode" => None,
        stage => Some(stage),
    });
    let place = |name: &str| linked.iter().position(|linked| linked == &format!("jtav-{name}"));
    // The text encoder stands beside the media in the diagram; the page keeps the encoders together.
    let (encoders, spine): (Vec<&str>, Vec<&str>) = boxes.partition(|name| name.ends_with("-encoder"));
    assert!(spine.iter().map(|name| place(name)).is_sorted(), "{spine:?} in {linked:?}");
    assert!(encoders.iter().map(|name| place(name)).is_sorted(), "{encoders:?} in {linked:?}");
    Ok(())
}

#[test]
fn no_files_of_a_crate_import_one_another_in_a_circle() -> Result<()> {
    let mut found = Vec::new();
    for package in packages()? {
        for circle in circles(&sources_of(&package)?) {
            found.push(format!("{}: {}", package.folder.display(), circle.join(", ")));
        }
    }
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
    Ok(())
}

/// STYLE.md, rule 9; `too_many_lines` of clippy holds the functions.
const MAX_LINES_OF_CODE: usize = 400;

#[test]
fn no_file_of_production_code_is_longer_than_400_lines_of_code() -> Result<()> {
    let (mut files, mut found) = (0, Vec::new());
    for package in packages()? {
        for (name, text) in of_production(&sources_of(&package)?) {
            files += 1;
            let lines = lines_of_code(text);
            if lines > MAX_LINES_OF_CODE {
                found.push(format!("{}/src/{name}: {lines}", package.folder.display()));
            }
        }
    }
    ensure!(files > 200, "only {files} files were found");
    assert!(found.is_empty(), "more than {MAX_LINES_OF_CODE} lines:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn neither_comments_nor_blank_lines_nor_modules_of_tests_are_lines_of_code() {
    let text = "//! Doc.\n\nmod a;\n#[cfg(test)]\nmod a_tests;\n\n/// Doc.\nfn f() {\n    // Why.\n    g(); // Here.\n}\n\n\
                #[cfg(test)]\n#[path = \"x.rs\"]\nmod tests {\n    fn t() {}\n}\nconst LAST: u8 = 1;\n";
    assert_eq!(lines_of_code(text), 5);
}

/// The files below `src` of a package.
fn sources_of(package: &Package) -> Result<Sources> {
    let source = workspace_root().join(&package.folder).join("src");
    let mut sources = Sources::new();
    collect_sources(&source, &source, &mut sources)?;
    Ok(sources)
}

fn collect_sources(root: &Path, folder: &Path, sources: &mut Sources) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect_sources(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root)?.to_str().context("a name")?.to_owned();
            sources.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn made_up(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_circle_is_found_through_other_files_re_exports_and_paths_in_the_code() {
    let tree = made_up(&[
        ("lib.rs", "mod a; mod b; mod deep; mod d; pub use a::A; pub use deep::Deep;"),
        ("a.rs", "use crate::b::{self, B};\npub struct A(B);"),
        ("b.rs", "use crate::{Deep, other::Thing};\npub struct B(Deep);"),
        ("deep/mod.rs", "mod inner;\npub use inner::Deep;"),
        ("deep/inner.rs", "pub struct Deep(Option<Box<crate::A>>);"),
        ("d.rs", "use super::a::A;\npub fn d(_: A) {}"),
    ]);
    assert_eq!(circles(&tree), [["a.rs", "b.rs", "deep/inner.rs"]]);
}

#[test]
fn tests_comments_strings_and_re_exports_make_no_circle() {
    let tree = made_up(&[
        ("lib.rs", "mod a;\nmod b;\nmod parent;\npub use a::A;"),
        ("a.rs", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; fn t() { let _ = '{'; } }"),
        ("a_tests.rs", "use crate::b::B;"),
        ("b.rs", "use crate::A;\n// use crate::c::C;\npub struct B(A);\npub const SAYS: &str = \"crate::parent::P\";"),
        ("parent.rs", "mod child;\npub use child::Child;\npub struct P<'a>(&'a str);"),
        ("parent/child.rs", "use super::P;\nuse crate::b::B;\npub struct Child<'a>(P<'a>, B);"),
    ]);
    assert_eq!(circles(&tree), Vec::<Vec<String>>::new());
    let imports = circles::imports(&tree);
    assert_eq!(Vec::from_iter(&imports["parent/child.rs"]), ["b.rs", "parent.rs"]);
}

#[test]
fn a_module_and_its_child_that_use_one_another_are_a_circle() {
    let tree = made_up(&[
        ("main.rs", "mod parent;\nfn main() { parent::run(); }"),
        ("parent/mod.rs", "mod child;\npub struct P;\npub fn run() { child::work(&P) }"),
        ("parent/child.rs", "use super::P;\npub fn work(_: &P) {}"),
    ]);
    assert_eq!(circles(&tree), [["parent/child.rs", "parent/mod.rs"]]);
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(workspace_root().join(path)).with_context(|| path.to_owned())
}

/// The lines of the picture in ARCHITECTURE.md.
fn diagram() -> Result<Vec<String>> {
    let text = read("ARCHITECTURE.md")?;
    let block = text.split("```").nth(1).context("the first code block is the diagram")?;
    Ok(block.lines().map(str::to_owned).collect())
}

/// The `.rs` files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// A limit has its value in the settings, or with the box that nobody sets it for; one that is made up for a test would be a
/// second home for it.
#[test]
fn nothing_that_serves_is_made_of_the_limits_of_tests() -> Result<()> {
    let mut files = Vec::new();
    for package in packages()?.iter().filter(|package| !EXEMPT.iter().any(|folder| package.folder == Path::new(folder)))
    {
        sources(&workspace_root().join(&package.folder).join("src"), &mut files)?;
    }
    ensure!(files.len() > 200, "only {} files were found", files.len());
    for file in files.iter().filter(|file| !file.to_string_lossy().ends_with("tests.rs")) {
        let text = std::fs::read_to_string(file)?;
        let serves = text.split("#[cfg(test)]").next().unwrap_or_default();
        let made_here = serves.contains("fn for_tests(");
        assert!(made_here || !serves.contains("::for_tests("), "{} uses limits of tests", file.display());
    }
    Ok(())
}

const STAGES: [&str; 9] =
    ["ingest", "router", "text-encoder", "fetch", "decode", "audio-encoder", "image-encoder", "fusion", "publisher"];

/// The stages of the diagram from left to right, and from top to bottom where they stand above each other.
fn stages_of_diagram() -> Result<Vec<&'static str>> {
    let lines = diagram()?;
    let mut places = Vec::new();
    for stage in STAGES {
        let found: Vec<(usize, usize)> = lines
            .iter()
            .enumerate()
            // Columns are characters: the arrows are longer in bytes.
            .filter_map(|(row, line)| Some((line[..line.find(stage)?].chars().count(), row)))
            .collect();
        ensure!(found.len() == 1, "{stage} stands {} times in the diagram", found.len());
        places.push((found[0], stage));
    }
    places.sort_unstable();
    Ok(places.into_iter().map(|(_, stage)| stage).collect())
}

#[test]
fn the_function_that_labels_a_post_reads_like_the_diagram() -> Result<()> {
    let source = read("actors/router/src/pipeline.rs")?;
    let mut found = Vec::new();
    collect_stages(&source, "label_post", &mut BTreeSet::new(), &mut found)?;
    let expected: Vec<&str> =
        stages_of_diagram()?.into_iter().filter(|stage| !["ingest", "router"].contains(stage)).collect();
    assert_eq!(found, expected);
    Ok(())
}

/// The stages that a function names, in order, with those of the functions of the same file where it calls them first.
fn collect_stages(source: &str, function: &str, seen: &mut BTreeSet<String>, found: &mut Vec<String>) -> Result<()> {
    const STAGE: &str = "Stage::";
    seen.insert(function.to_owned());
    let body = body_of(source, function)?;
    let local: Vec<&str> = source.split("fn ").skip(1).filter_map(|rest| identifier(rest)).collect();
    let starts_word = |at: usize| !body[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
    for (at, _) in body.char_indices().filter(|(at, _)| starts_word(*at)) {
        if let Some(name) = body[at..].strip_prefix(STAGE).and_then(identifier) {
            let name = kebab(name);
            if !found.contains(&name) {
                found.push(name);
            }
        } else if let Some(name) = identifier(&body[at..])
            && body[at + name.len()..].starts_with('(')
            && local.contains(&name)
            && !seen.contains(name)
        {
            collect_stages(source, name, seen, found)?;
        }
    }
    Ok(())
}

/// From the function's name to the line that closes it; rustfmt puts its brace at the margin, or at that of its `impl`.
fn body_of<'a>(source: &'a str, function: &str) -> Result<&'a str> {
    let start = source.find(&format!("fn {function}")).with_context(|| format!("there is no function {function}"))?;
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let margin = source[line_start..].len() - source[line_start..].trim_start().len();
    let close = format!("\n{}}}", " ".repeat(margin));
    let rest = &source[start + "fn ".len() + function.len()..];
    Ok(&rest[..rest.find(&close).with_context(|| format!("{function} does not end"))?])
}

fn identifier(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
    }
    text
}

#[test]
fn the_function_that_starts_the_boxes_reads_like_the_diagram_from_its_end() -> Result<()> {
    let source = read("services/feed-processor/src/topology.rs")?;
    let mut started = starts(&source, "Pipeline")?;
    started.reverse();
    // The line with the boxes that stand one behind the other.
    let lines = diagram()?;
    let spine = lines.iter().find(|line| line.contains("ingest ─►")).context("the middle line of the diagram")?;
    let mut expected = vec![
        (spine.find("ingest"), "ingest"),
        (spine.find("router"), "router"),
        (spine.find("media:"), "media"),
        (spine.find("audio-encoder"), "encoders"),
        (spine.find("fusion"), "fusion"),
        (spine.find("publisher"), "publisher"),
    ];
    assert!(expected.iter().all(|(at, _)| at.is_some()), "a box is missing in: {spine}");
    expected.sort_unstable();
    let expected: Vec<&str> = expected.into_iter().map(|(_, name)| name).collect();
    assert_eq!(started, expected, "topology.rs, read backwards");
    Ok(())
}

/// What `start` of a type starts, in order; `start` of another type of the file is taken in where it is called, and so is a
/// function that calls one.
fn starts<'a>(source: &'a str, type_name: &str) -> Result<Vec<&'a str>> {
    let block = format!("impl {type_name} {{");
    let at = source.find(&block).with_context(|| format!("there is no `{block}`"))?;
    starts_in(source, body_of(&source[at..], "start(")?)
}

fn starts_in<'a>(source: &'a str, body: &'a str) -> Result<Vec<&'a str>> {
    let mut started = Vec::new();
    for (at, found) in body.match_indices("start") {
        let after = &body[at + found.len()..];
        if let Some(owner) = body[..at].strip_suffix("::").filter(|_| after.starts_with('(')) {
            let owner = owner.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            if source.contains(&format!("impl {owner} {{")) {
                started.extend(starts(source, owner)?);
            }
        } else if let Some(name) = after.strip_prefix('_').and_then(identifier) {
            let inside = body_of(source, &format!("start_{name}(")).unwrap_or_default();
            if inside.contains("Boxes::start(") {
                started.extend(starts_in(source, inside)?);
            } else {
                started.push(name);
            }
        }
    }
    Ok(started)
}

#[test]
fn the_table_of_boxes_names_them_in_flow_order_with_folders_that_exist() -> Result<()> {
    let text = read("ARCHITECTURE.md")?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("| box |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| row[1].rsplit(' ').next().unwrap_or_default()).collect();
    // Within the encoders' row of the flow the table keeps the order of the modalities, after the media.
    let expected = [
        "ingest",
        "router",
        "fetch",
        "decode",
        "text-encoder",
        "audio-encoder",
        "image-encoder",
        "fusion",
        "publisher",
    ];
    assert_eq!(names, expected);
    assert_eq!(BTreeSet::from(expected), stages_of_diagram()?.into_iter().collect());
    let folders: BTreeSet<PathBuf> = rows
        .iter()
        .map(|row| {
            let (_, link) = row[2].split_once('(').context("a link")?;
            let link = Path::new(link.trim_end_matches(')'));
            ensure!(workspace_root().join(link).is_dir(), "{} is no folder", link.display());
            // An actor of two boxes has a folder for each.
            Ok(link.iter().take(2).collect())
        })
        .collect::<Result<_>>()?;
    let actors: BTreeSet<PathBuf> =
        packages()?.into_iter().map(|package| package.folder).filter(|folder| folder.starts_with("actors")).collect();
    assert_eq!(folders, actors);
    Ok(())
}

/// Room, function and file of each row of a walk.
type Step = (String, String, String);

/// The walks of docs/walks.md by title.
fn walks(page: &str) -> Vec<(String, Vec<Step>)> {
    let step = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let room = cells.next()?.to_owned();
        let (function, rest) = cells.next()?.strip_prefix("[`")?.split_once("`](../")?;
        Some((room, function.to_owned(), rest.strip_suffix(')')?.to_owned()))
    };
    let walks = page.split("\n## ").skip(1).filter_map(|walk| walk.split_once('\n'));
    walks.map(|(title, text)| (title.to_owned(), text.lines().filter_map(step).collect())).collect()
}

#[test]
fn the_walks_of_a_post_a_medium_and_an_offset_enter_each_room_once_and_in_the_order_of_the_diagram() -> Result<()> {
    let order = stages_of_diagram()?;
    let walks = walks(&read("docs/walks.md")?);
    assert_eq!(walks.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(), ["A post", "A medium", "An offset"]);
    for (title, steps) in &walks {
        ensure!(steps.len() > 5, "{title} has {} steps", steps.len());
        for (_, function, file) in steps {
            let source = read(file)?;
            let is_there = source
                .match_indices(&format!("fn {function}"))
                .any(|(at, found)| !source[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(is_there, "{title}: {file} has no function `{function}`");
        }
        let mut rooms: Vec<&str> = steps.iter().map(|(room, ..)| room.as_str()).collect();
        rooms.dedup();
        assert_eq!(rooms.iter().collect::<BTreeSet<_>>().len(), rooms.len(), "{title} enters a room twice: {rooms:?}");
        let places: Vec<usize> = rooms.iter().filter_map(|room| order.iter().position(|stage| stage == room)).collect();
        assert!(places.is_sorted(), "{title}: {rooms:?} is not the order of {order:?}");
    }
    Ok(())
}

#[test]
fn a_walk_is_read_with_its_rooms_functions_and_files() {
    let page =
        "# Page\n\n## A post\n\n| room | function | what |\n|---|---|---|\n| ingest | [`read`](../a/b.rs) | x |\n";
    let step = ("ingest".to_owned(), "read".to_owned(), "a/b.rs".to_owned());
    assert_eq!(walks(page), [("A post".to_owned(), vec![step])]);
}
