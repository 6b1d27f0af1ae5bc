//! The documents of this project, and what in them is meant to be typed.

use std::fs;

/// The text of a file of this project.
#[track_caller]
pub fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The path of a file of this project.
pub fn path(file: &str) -> String {
    format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of a Markdown page that are in a language.
pub fn fences(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let (mut blocks, mut open): (_, Option<String>) = (Vec::new(), None);
    for line in page.lines() {
        if open.is_none() && line == fence {
            open = Some(String::new());
        } else if line == "```" {
            blocks.extend(open.take());
        } else if let Some(text) = &mut open {
            *text += line;
            text.push('\n');
        }
    }
    blocks
}

/// The literal displays of an mdoc page, or of a section of one, as they are printed.
pub fn displays(page: &str) -> Vec<String> {
    let (mut displays, mut open): (_, Option<String>) = (Vec::new(), None);
    for line in page.lines() {
        if line.starts_with(".Bd -literal") {
            open = Some(String::new());
        } else if line == ".Ed" {
            displays.extend(open.take());
        } else if let Some(text) = &mut open {
            *text += &(line.replace("\\e", "\\").replace("\\(dq", "\"").replace("\\&", "") + "\n");
        }
    }
    displays
}

/// A section of an mdoc page.
#[track_caller]
pub fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let heading = format!("{name}\n");
    page.split("\n.Sh ").find(|section| section.starts_with(&heading)).unwrap_or_else(|| panic!("no section {name}"))
}
