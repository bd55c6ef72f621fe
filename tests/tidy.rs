//! The test of the style rules: layers, sizes of files and functions, forbidden constructs, and the width and links of
//! documents. Each rule is a function of a file's path and text; the tests at the end prove it with a planted
//! violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 69;
const FOLDER_FILES_MAX: usize = 12;
const DOCUMENT_COLUMNS_MAX: usize = 100;

/// The modules that each top-level module may import, besides itself. `host` and `main` may import all.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("limits", &[]),
    ("metrics", &[]),
    ("ambient", &["types"]),
    ("config", &["limits", "setting_file", "types"]),
    ("dev", &["ambient", "config", "health_command", "output"]),
    ("fuzzing", &["actors", "api", "net", "sigv4", "storage"]),
    ("health_command", &[]),
    ("hot_paths", &["api", "limits", "sigv4", "storage", "types"]),
    ("logging", &["config"]),
    ("defects", &[]),
    ("output", &[]),
    ("panics", &[]),
    ("setting_file", &["limits"]),
    ("sigv4", &[]),
    ("traces", &["ambient", "limits", "metrics", "types"]),
    ("storage", &["ambient", "defects", "limits", "metrics", "types"]),
    ("net", &["ambient", "limits", "metrics", "traces", "types"]),
    ("actors", &["ambient", "defects", "limits", "metrics", "net", "storage", "traces", "types"]),
    ("admin", &["ambient", "api", "config", "net", "sigv4", "storage", "types"]),
    ("api", &["actors", "ambient", "limits", "metrics", "panics", "setting_file", "sigv4", "traces", "types"]),
];

/// Words that must not occur in a layer: sockets and protocols in the lower layers.
const FOREIGN_WORDS: &[(&str, &[&str])] = &[
    ("storage", &["actix", "actix_web", "s3s", "TcpStream", "TcpListener", "UdpSocket"]),
    ("net", &["actix", "actix_web", "s3s"]),
    ("actors", &["actix_web", "s3s"]),
];
const SURROUNDINGS: &[&str] = &["SystemTime", "std::time::Instant", "rand::", "std::fs", "std::env"];
const MAY_USE_SURROUNDINGS: &[&str] = &["src/storage/disk/", "src/storage/identity/lock.rs", "src/storage/kv/fjall"];

/// Files that may have statics: metrics belong to the process, a planted defect to a thread.
const MAY_HAVE_STATICS: &[&str] = &["src/metrics/mod.rs", "src/defects.rs"];

/// Files that are compiled only for tests, but are not called `tests`.
const ONLY_FOR_TESTS: &[&str] = &[
    "src/actors/drives/test_host.rs",
    "src/actors/request/test_hosts.rs",
    "src/actors/request/test_nodes.rs",
    "src/actors/request/test_world.rs",
    "src/hot_paths.rs",
    "src/storage/kv/conformance.rs",
];

/// What the repository has at its top.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benches",
    "compose.yaml",
    "deny.toml",
    "docker-entrypoint.sh",
    "docs",
    "grafana",
    "rustfmt.toml",
    "src",
    "tests",
];

/// Requirements that a test or a benchmark must name.
const REQUIREMENTS: &[&str] = &[
    "W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12", "W13", "W14", "W15", "W16", "P1", "P2",
    "P3", "P4", "P5", "P6", "P7", "P8", "P9", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "C10", "C11",
    "C12", "M1", "M2", "M3", "M4", "F1", "F2", "F3", "F4", "F5", "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9",
    "T1", "T2", "T3", "T4",
];

/// A file: its path from the repository's root, and its content.
struct File {
    path: String,
    text: String,
    /// The text with comments and the insides of literals blanked.
    code: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    fn is_test(&self) -> bool {
        !self.path.starts_with("src/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("/fuzzing")
            || ONLY_FOR_TESTS.contains(&self.path.as_str())
    }

    /// Returns the top-level module that the file belongs to.
    fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Returns the offset of the file's own tests.
    fn tests_at(&self) -> usize {
        self.code.find("#[cfg(test)]\nmod tests {").unwrap_or(self.code.len())
    }

    /// Returns the code before the file's own tests.
    fn own_code(&self) -> &str {
        &self.code[..self.tests_at()]
    }

    /// Returns the text of the file's tests, which is all of the text if the file is a test.
    fn tests(&self) -> &str {
        if self.is_test() { &self.text } else { &self.text[self.tests_at()..] }
    }
}

fn violation(file: &File, at: usize, what: &str) -> String {
    let line = file.code[..at].matches('\n').count() + 1;
    format!("{}:{line}: {what}", file.path)
}

/// Blanks comments and the content of string and character literals; offsets and lines stay the same.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8(out).expect("only whole characters are blanked")
}

/// Returns the end of the comment or literal that begins at `at`, or `at` if none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let find = |from: usize, what: &[u8]| {
        rest[from..]
            .windows(what.len())
            .position(|window| window == what)
            .map_or(bytes.len(), |found| at + from + found)
    };
    if rest.starts_with(b"//") {
        return find(2, b"\n");
    }
    if rest.starts_with(b"/*") {
        return (find(2, b"*/") + 2).min(bytes.len());
    }
    let within_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest[0] == b'r' && (!within_word || bytes[at - 1] == b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            return (find(2 + hashes, &close) + close.len()).min(bytes.len());
        }
    }
    match rest {
        [b'"', ..] => quoted_end(bytes, at + 1),
        [b'\'', b'\\', ..] => find(3, b"'") + 1,
        [b'\'', b, ..] if *b >= 0x80 => find(1, b"'") + 1,
        [b'\'', _, b'\'', ..] => at + 3,
        _ => at,
    }
}

fn quoted_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Returns the offsets at which a word occurs as a whole word.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + word.len()).copied();
        let ends_in_word = word.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
        !(before.is_some_and(is_word_byte) || ends_in_word && after.is_some_and(is_word_byte))
    })
}

fn check_header(file: &File) -> Vec<String> {
    if file.text.starts_with("//! ") {
        vec![]
    } else {
        vec![violation(file, 0, "begins without a //! line that says what it owns")]
    }
}

fn check_length(file: &File) -> Vec<String> {
    let lines = file.own_code().lines().count();
    if file.is_test() || lines <= FILE_LINES_MAX {
        return vec![];
    }
    vec![violation(file, 0, &format!("{lines} lines, at most {FILE_LINES_MAX} are allowed"))]
}

fn check_functions(file: &File) -> Vec<String> {
    let code = file.own_code();
    let mut found = Vec::new();
    for at in words(code, "fn").filter(|_| !file.is_test()) {
        let lines = function_lines(&code[at..]);
        if lines > FUNCTION_LINES_MAX {
            let what = format!("a function of {lines} lines, at most {FUNCTION_LINES_MAX} are allowed");
            found.push(violation(file, at, &what));
        }
    }
    found
}

/// Returns the number of lines from `fn` to the brace that closes its body; 0 if it has no body.
fn function_lines(code: &str) -> usize {
    let mut depth = 0;
    let mut nested = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested -= 1,
            b';' if depth == 0 && nested == 0 => return 0,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth <= 0 {
                    return code[..at].matches('\n').count() + 1;
                }
            }
            _ => {}
        }
    }
    0
}

fn check_layers(file: &File) -> Vec<String> {
    let Some(layer) = file.layer() else { return vec![] };
    let mut found = Vec::new();
    if let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) {
        for (at, module) in crate_paths(&file.code) {
            if module != layer && LAYERS.iter().any(|(name, _)| *name == module) && !allowed.contains(&module) {
                found.push(violation(file, at, &format!("{layer} imports {module}")));
            }
            if module == "host" {
                found.push(violation(file, at, &format!("{layer} imports host")));
            }
        }
    } else if !matches!(layer, "lib" | "main" | "host") {
        found.push(violation(file, 0, &format!("{layer} is in no layer; add it to the table of layers")));
    }
    let foreign = FOREIGN_WORDS.iter().filter(|(name, _)| *name == layer).flat_map(|(_, foreign)| foreign.iter());
    for word in foreign {
        found.extend(words(&file.code, word).map(|at| violation(file, at, &format!("{word} in {layer}"))));
    }
    found
}

/// Returns the top-level modules in `crate::` paths, including those in braces.
fn crate_paths(code: &str) -> Vec<(usize, &str)> {
    paths_below(code, "crate::")
}

/// Returns the names that follow a prefix of paths, including those in braces.
fn paths_below<'a>(code: &'a str, prefix: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for at in words(code, prefix) {
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            for part in group.split_inclusive([',', '{', '}']) {
                if depth == 0 {
                    found.push((at, ident(part.trim_start())));
                }
                depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
                if depth < 0 {
                    break;
                }
            }
        } else {
            found.push((at, ident(rest)));
        }
    }
    found
}

fn ident(text: &str) -> &str {
    &text[..text.bytes().position(|byte| !is_word_byte(byte)).unwrap_or(text.len())]
}

/// Checks that time, randomness and files come in through traits.
fn check_surroundings(file: &File) -> Vec<String> {
    let simulated = matches!(file.layer(), Some("storage" | "actors"));
    if !simulated || file.is_test() || MAY_USE_SURROUNDINGS.iter().any(|allowed| file.path.starts_with(allowed)) {
        return vec![];
    }
    let code = file.own_code();
    let at = |word: &&'static str| words(code, word).map(|at| (at, *word)).collect::<Vec<_>>();
    SURROUNDINGS
        .iter()
        .flat_map(at)
        .map(|(at, word)| violation(file, at, &format!("{word} where a simulation must reach")))
        .collect()
}

fn check_forbidden(file: &File) -> Vec<String> {
    let mut found: Vec<String> =
        file.code.match_indices("::*").map(|(at, _)| violation(file, at, "a glob import")).collect();
    for word in ["todo!", "unimplemented!", "dbg!"] {
        found.extend(words(&file.code, word).map(|at| violation(file, at, word)));
    }
    for at in words(&file.code, "unsafe") {
        let before = &file.text[..at];
        let near = before.lines().rev().take(4).any(|line| line.contains("SAFETY:"));
        if !near {
            found.push(violation(file, at, "unsafe without a SAFETY comment"));
        }
    }
    found
}

/// Checks that nothing panics when an output cannot be written.
fn check_prints(file: &File) -> Vec<String> {
    if file.is_test() {
        return vec![];
    }
    let at = |word: &&'static str| words(file.own_code(), word).map(|at| (at, *word)).collect::<Vec<_>>();
    let found = ["print!", "println!", "eprint!", "eprintln!"].iter().flat_map(at);
    found.map(|(at, word)| violation(file, at, &format!("{word} panics if nobody reads it"))).collect()
}

fn check_statics(file: &File) -> Vec<String> {
    let allowed = file.is_test() || MAY_HAVE_STATICS.contains(&file.path.as_str());
    let is_lifetime = |at: &usize| at.checked_sub(1).is_some_and(|before| file.code.as_bytes()[before] == b'\'');
    // The allocator and task-local values are allowed.
    let is_fit = |at: &usize| {
        let before = file.code[..*at].trim_end();
        before.ends_with("#[global_allocator]") || before.ends_with("task_local! {")
    };
    let statics = words(file.own_code(), "static").filter(|at| !allowed && !is_lifetime(at) && !is_fit(at));
    statics.map(|at| violation(file, at, "a static that is not a metric")).collect()
}

type Rule = fn(&File) -> Vec<String>;
const RULES: &[Rule] = &[
    check_header,
    check_length,
    check_functions,
    check_layers,
    check_surroundings,
    check_forbidden,
    check_prints,
    check_statics,
];

fn check_folders(files: &[File]) -> Vec<String> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        *folders.entry(file.path.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
    }
    let crowded = folders.into_iter().filter(|(_, count)| *count > FOLDER_FILES_MAX);
    crowded.map(|(folder, count)| format!("{folder}: {count} files, at most {FOLDER_FILES_MAX} are allowed")).collect()
}

/// Finds modules of one folder that import each other, directly or through others.
fn check_cycles(files: &[File]) -> Vec<String> {
    let of_crate = |file: &&File| file.path.starts_with("src/") && file.path != "src/main.rs" && !file.is_test();
    let files: Vec<&File> = files.iter().filter(of_crate).collect();
    let folders: BTreeSet<Vec<&str>> = files
        .iter()
        .flat_map(|file| {
            let path = modules(file);
            (0..path.len()).map(move |depth| path[..depth].to_vec())
        })
        .collect();
    folders.iter().filter_map(|folder| circle(&files, folder)).collect()
}

/// Names the modules of a folder that import each other, if there are any.
fn circle<'a>(files: &[&'a File], folder: &[&'a str]) -> Option<String> {
    let mut imports: BTreeMap<&'a str, BTreeSet<&'a str>> = BTreeMap::new();
    let mut passed_on: BTreeMap<&'a str, &'a str> = BTreeMap::new();
    for file in files {
        match modules(file).strip_prefix(folder) {
            Some([]) => passed_on = passed_on_by(file),
            Some([first, ..]) => imports.entry(first).or_default().extend(imported(file, folder)),
            None => {}
        }
    }
    let modules: BTreeSet<&str> = imports.keys().copied().collect();
    let source = |name: &&'a str| match passed_on.get(name) {
        Some(module) if !modules.contains(name) => *module,
        _ => *name,
    };
    for (module, of) in &mut imports {
        *of = of.iter().map(source).filter(|name| name != module).collect();
    }
    let is_free = |imports: &BTreeMap<&str, BTreeSet<&str>>, of: &BTreeSet<&str>| {
        of.iter().all(|module| !imports.contains_key(module))
    };
    while let Some(free) = imports.iter().find(|(_, of)| is_free(&imports, of)).map(|(module, _)| *module) {
        imports.remove(free);
    }
    let names: Vec<&str> = imports.keys().copied().collect();
    let place = ["src"].iter().chain(folder).copied().collect::<Vec<_>>().join("/");
    (!names.is_empty()).then(|| format!("{place}: these import each other in circles: {}", names.join(", ")))
}

/// Returns the path of modules from the crate's root that a file is in.
fn modules(file: &File) -> Vec<&str> {
    let inside = file.path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    inside.filter(|part| !matches!(*part, "mod" | "lib")).collect()
}

/// Returns the names that a file imports from a folder that it is in.
fn imported<'a>(file: &'a File, folder: &[&str]) -> Vec<&'a str> {
    let code = file.own_code();
    let path = ["crate"].iter().chain(folder).map(|part| format!("{part}::")).collect::<String>();
    let supers = "super::".repeat(modules(file).len() - folder.len());
    let is_whole_chain = |at: usize| !code[..at].ends_with("super::");
    let from_below = paths_below(code, &supers).into_iter().filter(|(at, _)| is_whole_chain(*at));
    let names = paths_below(code, &path).into_iter().chain(from_below).map(|(_, name)| name);
    names.filter(|name| *name != "super").collect()
}

/// Returns the names that the root of a folder imports from its modules, each with its module: other modules may import
/// them from the root.
fn passed_on_by(root: &File) -> BTreeMap<&str, &str> {
    let code = root.own_code();
    let imports = words(code, "use ").map(|at| code[at + "use ".len()..].split(';').next().unwrap_or_default());
    let imports = imports.map(|import| import.trim_start_matches("self::"));
    let from_modules = imports.filter(|import| !["crate", "super", "std"].contains(&ident(import)));
    let names = from_modules.flat_map(|import| {
        let rest = &import[ident(import).len()..];
        let parts = rest.split(|char: char| !(char.is_alphanumeric() || char == '_'));
        parts.filter(|part| !part.is_empty()).map(move |part| (part, ident(import)))
    });
    names.collect()
}

fn unnamed_requirements(files: &[File]) -> Vec<&'static str> {
    let others = || files.iter().filter(|file| file.path != "tests/tidy.rs");
    // A comment has the code in capitals, a test's name in small letters.
    let named = |number: &&&str| {
        let part = number.to_lowercase();
        let test = |line: &str| line.trim_start().starts_with("fn ") || line.trim_start().starts_with("async fn ");
        let parts = |line: &str| line.split(['_', '(', ' ']).any(|found| found == part);
        others().any(|file| {
            let text = file.tests();
            words(text, number).next().is_some() || text.lines().any(|line| test(line) && parts(line))
        })
    };
    REQUIREMENTS.iter().filter(|number| !named(number)).copied().collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every Rust file of the repository.
fn files() -> Vec<File> {
    let found: Vec<File> = ["src", "tests", "benches"].iter().flat_map(|folder| files_in(folder, "rs")).collect();
    assert!(found.len() > 20, "the repository's files were not found");
    found
}

/// Returns the files with this extension in a folder and all folders below it.
fn files_in(folder: &str, wanted: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a folder of the repository can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == wanted) {
                found.push(read(&path));
            }
        }
    }
    found
}

/// Returns every document: those at the root, those below `docs`, and those beside the code.
fn documents() -> Vec<File> {
    let at_root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| read(&root().join(name)));
    let found: Vec<File> = at_root.into_iter().chain(files_in("docs", "md")).chain(files_in("src", "md")).collect();
    assert!(found.len() > 20, "the repository's documents were not found");
    found
}

/// Returns the lines of a document with their numbers, and whether each is in a block of code.
fn document_lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut in_code = false;
    text.lines().enumerate().map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (at + 1, line, in_code || fence)
    })
}

/// Checks the width of lines. Tables may be wider, and so may a line of one word, such as a link or a path.
fn check_width(document: &File) -> Vec<String> {
    let is_wide = |line: &str| line.chars().count() > DOCUMENT_COLUMNS_MAX;
    let can_wrap = |line: &str| !line.starts_with('|') && line.split_whitespace().nth(1).is_some();
    let wide = document_lines(&document.text).filter(|(_, line, _)| is_wide(line) && can_wrap(line));
    wide.map(|(at, ..)| format!("{}:{at}: wider than {DOCUMENT_COLUMNS_MAX} columns", document.path)).collect()
}

/// Returns the anchor by which links reach a heading.
fn anchor(heading: &str) -> String {
    let is_kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(is_kept).map(|char| if char == ' ' { '-' } else { char }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let headings = document_lines(text).filter(|(_, line, in_code)| !in_code && line.starts_with('#'));
    headings.map(|(_, line, _)| anchor(line.trim_start_matches('#'))).collect()
}

/// Returns the targets of a line's links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// Checks that the targets of links, files and their headings, exist.
fn check_links(document: &File) -> Vec<String> {
    let path = root().join(&document.path);
    let folder = path.parent().expect("a document is in a folder");
    let is_broken = |link: &str| {
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let text = if file.is_empty() { Ok(document.text.clone()) } else { fs::read_to_string(folder.join(file)) };
        let is_folder = !file.is_empty() && folder.join(file).is_dir();
        !is_folder
            && text.map_or(true, |text| !heading.is_empty() && !anchors(&text).iter().any(|name| name == heading))
    };
    let mut found = Vec::new();
    for (at, line, _) in document_lines(&document.text).filter(|(.., in_code)| !in_code) {
        let broken = links(line).filter(|link| !link.contains("://") && is_broken(link));
        found.extend(broken.map(|link| format!("{}:{at}: {link} leads nowhere", document.path)));
    }
    found
}

fn read(path: &Path) -> File {
    let text = fs::read_to_string(path).expect("a file of the repository can be read");
    let relative = path.strip_prefix(root()).expect("it is below the root");
    File::new(relative.to_str().expect("names are ASCII"), &text)
}

#[test]
fn every_file_follows_the_style_rules() {
    let files = files();
    let mut violations: Vec<String> = files.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    violations.extend(check_folders(&files));
    violations.extend(check_cycles(&files));
    violations.sort();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Returns the files of the repository that a line names between backticks, without arguments behind the name.
fn named_files(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2).filter_map(|text| text.split_whitespace().next());
    let is_ours =
        |name: &&str| ["src/", "tests/", "docs/", "grafana/", ".ci/"].iter().any(|root| name.starts_with(root));
    quoted.filter(is_ours)
}

/// Returns the short names of Rust files in a row of a table that lie in none of the folders of the files which the row
/// names in full. A row that names no file in full is not looked at.
fn misplaced_short_names(line: &str) -> Vec<&str> {
    let named: Vec<&str> = named_files(line).collect();
    if !line.starts_with('|') || named.is_empty() {
        return Vec::new();
    }
    let folder = |name: &&str| {
        let path = root().join(name);
        if path.is_dir() { path } else { path.parent().expect("a file is in a folder").to_owned() }
    };
    let folders: Vec<PathBuf> = named.iter().map(folder).collect();
    let is_short = |name: &&str| name.ends_with(".rs") && !named.contains(name);
    let quoted = line.split('`').skip(1).step_by(2).filter(is_short);
    quoted.filter(|name| !folders.iter().any(|folder| folder.join(name).exists())).collect()
}

/// Checks that the files which a document names exist.
fn check_named_files(document: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line, _) in document_lines(&document.text).filter(|(.., in_code)| !in_code) {
        let absent = named_files(line).filter(|name| !root().join(name).exists()).chain(misplaced_short_names(line));
        found.extend(absent.map(|name| format!("{}:{at}: there is no {name}", document.path)));
    }
    found
}

/// Finds tests that a document names and no file has. A name of at least three words between backticks counts as a
/// test.
fn absent_tests(document: &File, files: &[File]) -> Vec<String> {
    let is_name = |name: &&str| name.bytes().all(is_word_byte) && name.matches('_').count() >= 2;
    let is_lower = |name: &&str| !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let named = document.text.split('`').skip(1).step_by(2).filter(is_name).filter(is_lower);
    let is_absent = |name: &&str| !files.iter().any(|file| file.code.contains(&format!("fn {name}(")));
    named.filter(is_absent).map(|name| format!("{}: there is no test {name}", document.path)).collect()
}

type DocumentRule = fn(&File) -> Vec<String>;
const DOCUMENT_RULES: &[DocumentRule] = &[check_width, check_links, check_named_files];

fn document_complaints(document: &File) -> Vec<String> {
    DOCUMENT_RULES.iter().flat_map(|rule| rule(document)).collect()
}

#[test]
fn every_document_is_narrow_and_names_only_existing_files() {
    let violations: Vec<String> = documents().iter().flat_map(document_complaints).collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn every_test_named_in_faults_and_security_exists() {
    let files = files();
    let pages = ["docs/internals/faults.md", "docs/internals/security.md"].map(|page| read(&root().join(page)));
    let absent: Vec<String> = pages.iter().flat_map(|page| absent_tests(page, &files)).collect();
    assert!(absent.is_empty(), "{}", absent.join("\n"));
    assert!(pages.iter().all(|page| page.text.contains("| shown by |")), "the pages have no column of tests");
    let page = File::new("docs/a.md", "| `a_test_that_is_there` | `a_test_that_is_not` | `cargo test` |");
    let named = [File::new("src/a.rs", "//! x\nfn a_test_that_is_there() {}")];
    assert_eq!(absent_tests(&page, &named), ["docs/a.md: there is no test a_test_that_is_not"]);
}

#[test]
fn a_planted_violation_in_a_document_is_caught() {
    let complaints = |text: &str| {
        let document = File { path: "docs/a.md".to_owned(), text: text.to_owned(), code: String::new() };
        document_complaints(&document).len()
    };
    let wide = "word ".repeat(21);
    assert_eq!(complaints(&wide), 1);
    assert_eq!(complaints(&format!("```text\n{wide}\n```")), 1, "code wraps, too");
    assert_eq!(complaints(&format!("| {wide} |\n{}", "x".repeat(101))), 0);
    let links = ["[a](absent.md)", "[a](#absent)", "[a](README.md#absent)", "[a](README.md) [b](absent.md)"];
    for broken in links.into_iter().chain(["`a` and `src/absent.rs`", "`tests/absent.py FLAG`"]) {
        assert_eq!(complaints(broken), 1, "{broken}");
    }
    let whole =
        "# `A` heading, here\n[a](README.md) [b](../README.md#test) [c](#a-heading-here) [d](https://example.org/x)";
    assert_eq!(complaints(whole), 0);
    assert_eq!(complaints("`src/lib.rs`, `tests/tidy.rs [NAME]`, `absent.rs`"), 0);
    assert_eq!(complaints("| `src/lib.rs`, `main.rs`; `src/net`, `frame.rs` | its `absent.rs` |"), 1);
    assert_eq!(complaints("| a line | `absent.rs` |"), 0);
    assert_eq!(complaints("```sh\n[a](absent.md)\n```"), 0);
}

/// Files that are only in the working directory do not count.
#[test]
fn the_top_of_the_repository_has_only_what_belongs_there() {
    let Ok(listed) = Command::new("git").args(["ls-files"]).current_dir(root()).output() else { return };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let others = listed.lines().filter_map(|path| path.split('/').next()).filter(|name| !TOP.contains(name));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_requirement_is_named_by_a_test_or_a_benchmark() {
    let unnamed = unnamed_requirements(&files());
    assert!(unnamed.is_empty(), "named nowhere: {}", unnamed.join(" "));
}

fn complaints(path: &str, text: &str) -> Vec<String> {
    let file = File::new(path, text);
    RULES.iter().flat_map(|rule| rule(&file)).collect()
}

/// Checks that this text, below a file header, breaks exactly one rule, with a complaint that contains `expected`.
fn assert_caught(path: &str, text: &str, expected: &str) {
    let complaints = complaints(path, &format!("//! A file.\n{text}\n"));
    assert!(complaints.len() == 1 && complaints[0].contains(expected), "{path}: {text:?} gave {complaints:?}");
    assert!(complaints[0].starts_with(&format!("{path}:")), "{complaints:?}");
}

#[test]
fn a_planted_violation_of_each_rule_is_caught() {
    assert_eq!(complaints("src/types.rs", "fn f() {}\n").len(), 1, "no header");
    assert_caught("src/storage/a.rs", "use crate::actors::log;", "storage imports actors");
    assert_caught("src/storage/a.rs", "use crate::{types, net::Peer};", "storage imports net");
    assert_caught("src/api/a.rs", "fn f() { crate::storage::x(); }", "api imports storage");
    assert_caught("src/actors/a.rs", "use crate::host::Node;", "actors imports host");
    assert_caught("src/surprise.rs", "fn f() {}", "surprise is in no layer");
    assert_caught("src/net/a.rs", "use actix_web::web;", "actix_web in net");
    assert_caught("src/storage/a.rs", "fn f() { SystemTime::now(); }", "SystemTime");
    assert_caught("src/actors/a.rs", "use std::time::Instant;", "std::time::Instant");
    assert_caught("src/types.rs", "use std::io::*;", "glob");
    assert_caught("src/types.rs", "fn f() { todo!() }", "todo!");
    assert_caught("src/types.rs", "fn f() { println!() }", "println! panics");
    assert_caught("src/types.rs", "fn f() { eprint!() }", "eprint! panics");
    assert_caught("src/types.rs", "fn f() { unsafe { g() } }", "SAFETY");
    assert_caught("src/types.rs", "static COUNT: u8 = 0;", "static");
    assert_caught("src/types.rs", &"\n".repeat(FILE_LINES_MAX), "lines");
    let long = format!("fn f() {{{}}}", "\n    g();".repeat(FUNCTION_LINES_MAX));
    assert_caught("src/types.rs", &long, "a function of 70 lines");
    let crowd: Vec<File> = (0..=FOLDER_FILES_MAX).map(|i| File::new(&format!("src/net/{i}.rs"), "//! x\n")).collect();
    assert_eq!(check_folders(&crowd).len(), 1);
    let circle = [("a", "use crate::api::b::B;"), ("b", "use super::c::C;"), ("c/d", "use super::super::{a, e::E};")];
    let file = |(name, text): (&str, &str)| File::new(&format!("src/api/{name}.rs"), &format!("//! x\n{text}\n"));
    assert_eq!(check_cycles(&circle.map(file)), ["src/api: these import each other in circles: a, b, c"]);
    assert!(check_cycles(&[circle[0], circle[1], ("c/d", "use super::e;")].map(file)).is_empty());
    let deep = [
        ("a/b", "use super::c::C;"),
        ("a/c", "use super::B;"),
        ("a/mod", "mod b;\npub use self::b::{A, B};\nuse self::c::C;"),
    ];
    assert_eq!(check_cycles(&deep.map(file)), ["src/api/a: these import each other in circles: b, c"]);
    assert!(check_cycles(&[deep[0], deep[2]].map(file)).is_empty());
    let layers = [("api/a", "use crate::net::N;"), ("net/b", "use crate::api::a::A;")];
    let layers = layers.map(|(name, text)| File::new(&format!("src/{name}.rs"), &format!("//! x\n{text}\n")));
    assert_eq!(check_cycles(&layers), ["src: these import each other in circles: api, net"]);
    let unnamed = |text: &str| unnamed_requirements(&[File::new("src/types.rs", text)]).len();
    let in_a_test = "// W10\n#[cfg(test)]\nmod tests {\n// W11 and C1x\nfn n9_is_so() {}\n}\n";
    assert_eq!((unnamed(in_a_test), unnamed("// W11\n")), (REQUIREMENTS.len() - 2, REQUIREMENTS.len()));
}

#[test]
fn allowed_constructs_are_not_caught() {
    let clean = [
        (
            "src/types.rs",
            "/// never `unsafe`, use x::*; todo!\nconst S: &str = \"static unsafe todo!()\"; // use a::*;",
        ),
        ("src/types.rs", "fn f(text: &'static str) -> [u8; 2] { [b'\"', b'{'] }\nfn g() {}"),
        ("src/types.rs", "fn f() {\n    // SAFETY: nothing to it\n    unsafe { g() }\n}"),
        ("src/types.rs", "const R: &str = r#\"a \" unsafe \"#;\n"),
        ("src/main.rs", "#[global_allocator]\nstatic A: M = M;"),
        ("src/types.rs", "tokio::task_local! {\n    static A: M;\n}"),
        ("src/storage/a.rs", "use crate::{ambient::Ambient, types::{Lsn, NodeId}};\nuse crate::storage::disk::Disk;"),
        ("src/storage/a.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}"),
        ("src/types.rs", "// println!\n#[cfg(test)]\nmod tests {\n    fn f() { println!() }\n}"),
        ("benches/a.rs", "fn f() { eprintln!() }"),
        ("src/api/a.rs", "use crate::actors::gateway::Gateway;"),
    ];
    for (path, text) in clean {
        let complaints = complaints(path, &format!("//! A file.\n{text}\n"));
        assert!(complaints.is_empty(), "{path}: {text:?} gave {complaints:?}");
    }
}
