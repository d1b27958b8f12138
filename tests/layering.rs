//! The laws of the house that a program can check: what each room may know, how long a file may be, and that nothing is
//! owned by nobody.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Production code.
const SOURCES: [&str; 5] =
    ["noex-actors/src", "noex-actors/macros/src", "noex-net/src", "noex-supervisor/src", "src"];
/// All there is in Rust.
const ALL: [&str; 8] = [
    "noex-actors",
    "noex-net",
    "noex-supervisor",
    "src",
    "examples",
    "tests",
    "benches/src",
    "benches/tests",
];
/// Crates, and which of the others each may know.
const DIRECTION: [(&str, &[&str]); 3] = [
    ("noex-actors", &["noex-macros"]),
    ("noex-net", &["noex-actors", "noex-macros"]),
    ("noex-supervisor", &["noex-net", "noex-actors", "noex-macros"]),
];

const PURE_ROOMS: [&str; 2] = ["machine", "wire"];
const NOT_PURE: [&str; 18] = [
    "actix",
    "tokio::",
    "std::net::Tcp",
    "std::fs",
    "std::thread",
    "std::env",
    "rand::",
    "getrandom",
    "tracing::",
    "async fn",
    "Instant::now",
    "SystemTime",
    "HashMap",
    "HashSet",
    "crate::actor",
    "crate::io",
    "Mutex",
    "Atomic",
];
const CLOCK: &str = "noex-actors/src/clock.rs";
const GLOBAL: [&str; 6] =
    ["static ", "pub static ", "pub(crate) static ", "pub(super) static ", "thread_local!", "lazy_static!"];
/// The only globals: synchronous scopes on the current thread, empty outside of them. One has the node that decodes, what it
/// decodes, and what is lent where is encoded; the other the trace of what runs. And which thread it is, which never changes.
const SCOPES: [(&str, &[&str]); 3] = [
    (
        "noex-actors/src/decoding.rs",
        &[
            "thread_local! {",
            "static NODE: RefCell<Vec<Node>> = const { RefCell::new(Vec::new()) };",
            "static BUFFER: RefCell<Option<Bytes>> = const { RefCell::new(None) };",
            "static LENDING: Cell<usize> = const { Cell::new(NOBODY) };",
            "static LENT: RefCell<Lent> = const { RefCell::new(Lent { offered: None, taken: None }) };",
        ],
    ),
    (
        "noex-actors/src/trace/scope.rs",
        &[
            "thread_local! {",
            "static INSIDE: Cell<bool> = const { Cell::new(false) };",
            "static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };",
        ],
    ),
    ("noex-net/src/io/here.rs", &["thread_local!(static HERE: ThreadId = thread::current().id());"]),
];
const MAX_LINES: usize = 400;
/// Spelled in two parts, so that this file does not hold them.
const LEFT_FOR_LATER: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("unimplem", "ented!(")];

struct File {
    /// From the root of the repository.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(root().join(path))
}

fn collect(dir: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
    Ok(())
}

fn files_in(dirs: &[&str]) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for dir in dirs {
        collect(&root().join(dir), &mut files)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Splits a file into its production lines and the modules that are compiled for tests only.
fn without_tests(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut production, mut test_modules) = (Vec::new(), Vec::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if !code.starts_with("#[cfg(test)]") && !code.starts_with("#[cfg(all(test") {
            production.push(line);
            continue;
        }
        let indent = line.len() - code.len();
        while lines.peek().is_some_and(|next| next.trim_start().starts_with("#[")) {
            lines.next();
        }
        for (at, item) in lines.by_ref().enumerate() {
            let words = item.trim();
            let module = words.strip_prefix("pub(crate) ").unwrap_or(words).strip_prefix("mod ");
            test_modules.extend(module.and_then(|module| module.strip_suffix(';')));
            let closes = item.len() - item.trim_start().len() == indent
                && (words.starts_with('}') || (at == 0 && words.ends_with([';', '}'])));
            if closes {
                break;
            }
        }
    }
    (production, test_modules)
}

/// The files, or folders, in which a module of `parent` may stand.
fn homes_of(parent: &str, module: &str) -> [String; 2] {
    let (dir, name) = parent.rsplit_once('/').unwrap_or(("", parent));
    let dir = match name {
        "mod.rs" | "lib.rs" | "main.rs" => dir.to_owned(),
        _ => format!("{dir}/{}", name.trim_end_matches(".rs")),
    };
    [format!("{dir}/{module}.rs"), format!("{dir}/{module}/")]
}

/// Path and production lines of every file that is not for tests alone.
fn production() -> io::Result<Vec<(String, Vec<String>)>> {
    let files = files_in(&SOURCES)?;
    let mut tests = BTreeSet::new();
    for file in &files {
        let modules = without_tests(&file.text).1;
        tests.extend(modules.into_iter().flat_map(|module| homes_of(&file.path, module)));
    }
    let is_test = |path: &str| {
        tests.iter().any(|home| path == home || (home.ends_with('/') && path.starts_with(home.as_str())))
    };
    let production = files.iter().filter(|file| !is_test(&file.path)).map(|file| {
        let lines = without_tests(&file.text).0.into_iter().map(str::to_owned).collect();
        (file.path.clone(), lines)
    });
    Ok(production.collect())
}

fn code(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().map(|line| line.trim()).filter(|line| !line.starts_with("//"))
}

#[test]
fn no_file_is_longer_than_a_person_can_hold() -> io::Result<()> {
    let all = production()?;
    assert!(all.len() > 50, "only {} files were found", all.len());
    let long: Vec<String> = all
        .iter()
        .filter(|(_, lines)| lines.len() > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {} lines", lines.len()))
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines of production code:\n{}", long.join("\n"));
    Ok(())
}

#[test]
fn machines_and_wire_know_no_clock_no_io_and_no_chance() -> io::Result<()> {
    let mut broken = Vec::new();
    let mut pure_files = 0;
    for (path, lines) in production()? {
        if !PURE_ROOMS.iter().any(|room| path.contains(&format!("/{room}/"))) {
            continue;
        }
        pure_files += 1;
        for line in code(&lines) {
            if let Some(word) = NOT_PURE.iter().find(|word| line.contains(**word)) {
                broken.push(format!("{path}: {word}: {line}"));
            }
        }
    }
    assert!(pure_files > 20, "only {pure_files} files were found");
    assert!(broken.is_empty(), "what decides must be pure:\n{}", broken.join("\n"));
    Ok(())
}

/// A test that pauses time pauses noex with it: so every `Instant` is tokio's.
#[test]
fn wall_time_is_read_in_one_room_and_instants_can_be_paused() -> io::Result<()> {
    let (mut wall, mut instants) = (Vec::new(), Vec::new());
    for (path, lines) in production()? {
        let text: String = code(&lines).flat_map(|line| [line, " "]).collect();
        if text.contains("SystemTime::now(") {
            wall.push(path.clone());
        }
        let mut imports = text.split("use std::").skip(1).filter_map(|rest| rest.split(';').next());
        if text.contains("std::time::Instant") || imports.any(|import| import.contains("Instant")) {
            instants.push(path);
        }
    }
    assert_eq!(wall, [CLOCK], "everything else is told the time");
    assert!(instants.is_empty(), "instants of std cannot be paused: {instants:?}");
    Ok(())
}

#[test]
fn nothing_is_global_but_the_scopes_of_a_thread() -> io::Result<()> {
    let mut globals = Vec::new();
    for (path, lines) in production()? {
        for line in code(&lines).filter(|line| GLOBAL.iter().any(|word| line.starts_with(word))) {
            globals.push((path.clone(), line.to_owned()));
        }
    }
    let scopes = SCOPES
        .iter()
        .flat_map(|(path, lines)| lines.iter().map(|line| ((*path).to_owned(), (*line).to_owned())));
    assert_eq!(globals, scopes.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn crates_know_only_what_is_below_them() -> io::Result<()> {
    let mut broken = Vec::new();
    for (name, below) in DIRECTION {
        let manifest = read(&format!("{name}/Cargo.toml"))?;
        for line in manifest.lines().map(str::trim).filter(|line| line.starts_with("noex")) {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or(line);
            // Its own tests may ask a crate for more features of itself.
            if dependency != name && !below.contains(&dependency) {
                broken.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

#[test]
fn nothing_is_left_for_later() -> io::Result<()> {
    let mut markers = Vec::new();
    for File { path, text } in files_in(&ALL)? {
        for (at, line) in text.lines().enumerate() {
            if LEFT_FOR_LATER.iter().any(|marker| line.contains(marker)) {
                markers.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(markers.is_empty(), "what is not built is absent:\n{}", markers.join("\n"));
    Ok(())
}

#[test]
fn ci_and_the_workflow_run_the_same_commands() -> io::Result<()> {
    let (script, workflow) = (read(".ci/run")?, read(".github/workflows/ci.yml")?);
    let steps: Vec<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("step "))
        .filter_map(|step| step.find("cargo ").and_then(|at| step.get(at..)))
        .collect();
    assert_eq!(steps.len(), 14, "{steps:?}");
    for entry in fs::read_dir(root().join("examples"))? {
        let name = entry?.file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        // A node to deploy runs until it is told to stop: the black box tests do that. `support` holds its modules.
        let runs = steps.iter().any(|step| step.contains(&format!("--example {name}")));
        assert!(runs || ["node", "support"].contains(&name.as_str()), "nobody runs the example {name}");
    }
    for step in steps {
        assert!(
            workflow.lines().any(|line| line.trim() == format!("run: {step}")),
            "not in the workflow: {step}"
        );
    }
    Ok(())
}

#[test]
fn the_documents_link_to_what_is_there() -> io::Result<()> {
    let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "CHANGELOG.md".to_owned()];
    for dir in ["docs", "docs/adr"] {
        for entry in fs::read_dir(root().join(dir))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                documents.push(format!("{dir}/{name}"));
            }
        }
    }
    let mut dead = Vec::new();
    for document in documents {
        let text = read(&document)?;
        let dir = root().join(&document).parent().map(Path::to_path_buf).unwrap_or_default();
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            let path = target.split('#').next().unwrap_or(target);
            if !path.is_empty() && !path.contains("://") && !dir.join(path).exists() {
                dead.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    Ok(())
}

#[test]
fn every_test_that_the_semantics_name_is_there() -> io::Result<()> {
    let text = read("docs/semantics.md")?;
    let (mut named, mut missing) = (0, Vec::new());
    let tables = text
        .split("| Test | In |\n")
        .skip(1)
        .flat_map(|rest| rest.lines().take_while(|line| line.starts_with('|')));
    for row in tables.filter(|line| line.starts_with("| `")) {
        let words: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let (Some(test), Some(file)) = (words.first(), words.last()) else { continue };
        named += 1;
        if !read(file).is_ok_and(|code| code.contains(&format!("fn {test}("))) {
            missing.push(format!("{test} in {file}"));
        }
    }
    assert!(named > 30, "only {named} tests were found");
    assert!(missing.is_empty(), "promises without their tests:\n{}", missing.join("\n"));
    Ok(())
}

/// The programs of the README, letter by letter: so they compile, and the first one runs.
#[rustfmt::skip]
#[expect(clippy::print_stdout, reason = "programs of the README print")]
mod readme {
pub(super) mod counter {
use noex::prelude::*;

struct Counter(i64);

#[behavior]
impl Counter {
    #[init] fn new(start: i64) -> Result<Self, ExitReason> { Ok(Counter(start)) }
    #[call] fn add(&mut self, n: i64) -> i64 { self.0 += n; self.0 }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::start().await?;
    let counter = node.spawn::<Counter>(40).await?;
    println!("{}", counter.add(2).await?); // 42
    node.stop().await;
    Ok(())
}
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> { main() }
}
mod cluster {
use noex::prelude::*;

struct Counter(i64);

#[behavior(name = "counter")]
impl Counter {
    #[init] fn new(start: i64) -> Result<Self, ExitReason> { Ok(Counter(start)) }
    #[call] fn add(&mut self, n: i64) -> i64 { self.0 += n; self.0 }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("CLUSTER_SECRET").ok();
    let config = ClusterConfig::builder("a").seed("b@10.0.0.2:4369").secret(secret).build()?;
    let cluster = Cluster::builder(config).behavior::<Counter>().start().await?;
    cluster.wait_for_nodes(2).await?;
    let supervisor = DistributedSupervisor::builder()
        .name("counters")
        .node_selector(NodeSelector::RoundRobin)
        .children((1..=3).map(|n| DistributedChildSpec::new::<Counter>(format!("counter-{n}"), 0)))
        .start(&cluster).await?;
    println!("{}", cluster.global().via::<Counter>("counter-2").add(1).await?);
    supervisor.stop().await?;
    cluster.stop().await;
    Ok(())
}
}
}

#[test]
fn the_programs_of_the_readme_are_those_that_compile_here() -> Result<(), Box<dyn std::error::Error>> {
    let (text, here) = (read("README.md")?, include_str!("layering.rs"));
    let programs: Vec<&str> =
        text.split("```rust").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(programs.len(), 2);
    for program in programs {
        let (_, code) = program.split_once('\n').ok_or("a program without a line")?;
        assert!(here.contains(code), "not a module of this file:\n{code}");
    }
    readme::counter::run()
}

#[test]
fn the_split_leaves_tests_out_and_code_in() {
    let text = "mod a;\n#[cfg(test)]\nmod sim;\nuse x;\n#[cfg(test)]\nuse y::{\n    z,\n};\nfn f() {}\n\
                #[cfg(test)]\nmod tests {\n    fn t() {}\n}\nfn g() {}\n";
    let (lines, modules) = without_tests(text);
    assert_eq!(lines, ["mod a;", "use x;", "fn f() {}", "fn g() {}"]);
    assert_eq!(modules, ["sim"]);
    assert_eq!(homes_of("a/mod.rs", "sim"), ["a/sim.rs", "a/sim/"]);
    assert_eq!(homes_of("a/b.rs", "sim"), ["a/b/sim.rs", "a/b/sim/"]);
}

/// A page that names a test which is not there promises what nothing holds.
#[test]
fn tests_that_the_docs_name_are_there() -> io::Result<()> {
    let files = files_in(&ALL)?;
    let names: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| file.text.split("fn ").skip(1))
        .filter_map(|rest| rest.split(['(', '<']).next())
        .collect();
    let (mut named, mut missing) = (0, Vec::new());
    for entry in fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for word in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let (name, is_cut) = word.strip_suffix('…').map_or((word, false), |name| (name, true));
            let is_test = name.bytes().filter(|byte| *byte == b'_').count() >= 4
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if !is_test {
                continue;
            }
            named += 1;
            let is_there =
                names.contains(name) || is_cut && names.iter().any(|known| known.starts_with(name));
            if !is_there {
                missing.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(named > 50, "{named}");
    assert!(missing.is_empty(), "{missing:#?}");
    Ok(())
}

/// A variant that the page leaves out is one of which nobody knows whether it ran.
#[test]
fn every_error_of_an_operation_stands_on_the_page_of_errors() -> io::Result<()> {
    let page = read("docs/errors.md")?;
    let sources = [read("noex-actors/src/error.rs")?, read("noex-actors/src/error/start.rs")?].concat();
    let pages = [
        ("CallError", "call", ""),
        ("CastError", "cast", ""),
        ("SpawnError", "spawn", ""),
        ("StartError", "spawn", "Start"),
    ];
    let (mut seen, mut missing) = (0, Vec::new());
    for (name, section, within) in pages {
        let (_, rest) = sources.split_once(&format!("pub enum {name} {{\n")).unwrap_or_default();
        let variants = rest.lines().take_while(|line| *line != "}").filter_map(|line| {
            let word = line.strip_prefix("    ")?.split(['(', ' ', ',']).next()?;
            word.starts_with(char::is_uppercase).then_some(word)
        });
        let (_, rest) = page.split_once(&format!("\n## `{section}`\n")).unwrap_or_default();
        let table = rest.split("\n## ").next().unwrap_or_default();
        for variant in variants {
            seen += 1;
            let row =
                if within.is_empty() { format!("| `{variant}") } else { format!("| `{within}({variant})") };
            // Of what a start on another node may fail with there is a row each, and none for all.
            if !table.contains(&row) {
                missing.push(format!("{name}::{variant}"));
            }
        }
    }
    assert!(seen > 35, "{seen}");
    assert!(missing.is_empty(), "not in docs/errors.md: {missing:?}");
    Ok(())
}
