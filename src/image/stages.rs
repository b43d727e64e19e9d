//! Further contexts for an engine whose BuildKit knows only one: each becomes an image, and a stage of the Dockerfile by its name.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::project::{ImageBuild, Naming};

/// All of a context as an image.
const WHOLE: &str = "FROM scratch\nCOPY . /\n";
/// Images of contexts, while they are needed.
const REPOSITORY: &str = "mcompose-context";
const TAG_DIGITS: usize = 16;

/// Builds that make images of contexts, and the build that has them as stages.
#[derive(Debug, PartialEq)]
pub(super) struct Staged {
    pub(super) contexts: Vec<ImageBuild>,
    pub(super) build: ImageBuild,
}

/// The same build without further contexts. `dockerfile` is its text; the error says what an old engine cannot do with it.
pub(super) fn staged(build: &ImageBuild, dockerfile: &str) -> Result<Staged, String> {
    let mut contexts = Vec::new();
    let mut stages = BTreeMap::new();
    for (name, context) in &build.contexts {
        let image = ImageBuild::image_of(context).map(str::to_owned).unwrap_or_else(|| {
            let image = format!("{REPOSITORY}:{}", digest(&[build.tags.first().map_or("", String::as_str), name]));
            contexts.push(ImageBuild {
                tags: vec![image.clone()],
                context: context.clone(),
                dockerfile_inline: Some(WHOLE.to_owned()),
                platform: build.platform.clone(),
                ..ImageBuild::default()
            });
            image
        });
        stages.insert(name.as_str(), image);
    }
    let text = with_stages(dockerfile, &stages)?;
    let shifted = |target: &String| shifted(target, stages.len()).unwrap_or_else(|| target.clone());
    let build = ImageBuild {
        dockerfile_inline: Some(text),
        contexts: BTreeMap::new(),
        naming: Naming::default(),
        target: build.target.as_ref().map(shifted),
        ..build.clone()
    };
    Ok(Staged { contexts, build })
}

/// Whether the Dockerfile is read by an image that it names, whatever the engine's own BuildKit knows.
pub(super) fn names_its_reader(dockerfile: &str) -> bool {
    directives(dockerfile).any(|(key, _)| key == "syntax")
}

fn digest(parts: &[&str]) -> String {
    let digits: String = Sha256::digest(parts.join("\0")).iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..TAG_DIGITS].to_owned()
}

/// The text with a stage for each image, by name, before its first. Stages that are named by number keep their meaning.
fn with_stages(dockerfile: &str, stages: &BTreeMap<&str, String>) -> Result<String, String> {
    if let Some(name) = stages.keys().find(|name| !is_stage_name(name)) {
        return Err(format!("`{name}` is no name that a stage can have"));
    }
    let escape = if directives(dockerfile).any(|directive| directive == ("escape".to_owned(), "`")) { '`' } else { '\\' };
    let mut lines: Vec<String> = Vec::new();
    let (mut is_in_instruction, mut is_begun) = (false, false);
    for line in dockerfile.lines() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            lines.push(line.to_owned());
            continue;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        if !is_in_instruction && words[0].eq_ignore_ascii_case("from") {
            let own = words.windows(2).find(|pair| pair[0].eq_ignore_ascii_case("as")).map(|pair| pair[1].to_lowercase());
            if let Some(own) = own.filter(|own| stages.contains_key(own.as_str())) {
                return Err(format!("the Dockerfile has a stage `{own}`, too"));
            }
            if !is_begun {
                lines.extend(stages.iter().map(|(name, image)| format!("FROM {image} AS {name}")));
                is_begun = true;
            }
        }
        lines.push(with_numbers_shifted(line, &words, stages.len()));
        is_in_instruction = text.ends_with(escape);
    }
    if is_begun { Ok(lines.join("\n") + "\n") } else { Err("the Dockerfile has no `FROM`".to_owned()) }
}

/// `--from=0` counts the stages.
fn with_numbers_shifted(line: &str, words: &[&str], by: usize) -> String {
    let mut line = line.to_owned();
    for word in words {
        let number = match word.strip_prefix("--from=") {
            Some(number) => Some(number),
            None if word.starts_with("--mount=") => word.split([',', '=']).skip_while(|part| *part != "from").nth(1),
            None => None,
        };
        if let Some((number, shifted)) = number.and_then(|number| Some((number, shifted(number, by)?))) {
            let other = word.replace(&format!("from={number}"), &format!("from={shifted}"));
            line = line.replace(word, &other);
        }
    }
    line
}

/// The number of a stage when there are more before it.
fn shifted(number: &str, by: usize) -> Option<String> {
    number.parse::<usize>().ok().map(|number| number.saturating_add(by).to_string())
}

/// `# KEY=VALUE` lines at the beginning, the keys in small letters.
fn directives(dockerfile: &str) -> impl Iterator<Item = (String, &str)> {
    fn directive(line: &str) -> Option<(String, &str)> {
        let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        Some((key.trim().to_lowercase(), value.trim()))
    }
    dockerfile.lines().map_while(directive)
}

/// As BuildKit's reader of Dockerfiles has it.
fn is_stage_name(name: &str) -> bool {
    let is_part = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_' | '.');
    name.starts_with(|char: char| char.is_ascii_lowercase()) && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dockerfile: &str, expected: Result<&str, &str>) {
        let stages = BTreeMap::from([("base", "busybox:1".to_owned()), ("more", "mcompose-context:1".to_owned())]);
        let found = with_stages(dockerfile, &stages);
        assert_eq!(found.as_ref().map(String::as_str).map_err(String::as_str), expected);
    }

    #[test]
    fn stages_come_before_the_first_and_behind_what_holds_for_all() {
        check(
            "# escape=\\\nARG A=1 \\\n  from\n\nfrom base\nCOPY --from=more / /\n",
            Ok(
                "# escape=\\\nARG A=1 \\\n  from\n\nFROM busybox:1 AS base\nFROM mcompose-context:1 AS more\nfrom base\nCOPY --from=more / /\n",
            ),
        );
    }

    #[test]
    fn stages_that_are_named_by_number_keep_their_meaning() {
        check(
            "FROM a\nFROM b\nCOPY --from=0 /x /y\nRUN --mount=type=bind,from=1,target=/x echo from=1",
            Ok("FROM busybox:1 AS base\nFROM mcompose-context:1 AS more\nFROM a\nFROM b\nCOPY --from=2 /x /y\n\
                RUN --mount=type=bind,from=3,target=/x echo from=1\n"),
        );
        let build = ImageBuild { target: Some("0".to_owned()), ..with_context("more", "/srv/more") };
        assert_eq!(staged(&build, "FROM a").expect("it has a stage").build.target.as_deref(), Some("1"));
    }

    #[test]
    fn what_an_old_engine_would_take_for_something_else_is_refused() {
        check("FROM a AS more\n", Err("the Dockerfile has a stage `more`, too"));
        check("RUN x\n", Err("the Dockerfile has no `FROM`"));
        let found = staged(&with_context("ubuntu:22.04", "docker-image://a"), "FROM ubuntu:22.04");
        assert_eq!(found, Err("`ubuntu:22.04` is no name that a stage can have".to_owned()));
    }

    fn with_context(name: &str, context: &str) -> ImageBuild {
        ImageBuild { contexts: BTreeMap::from([(name.to_owned(), context.to_owned())]), ..ImageBuild::default() }
    }

    #[test]
    fn a_folder_becomes_an_image_first_and_an_image_is_one() {
        let folder = staged(&with_context("more", "/srv/more"), "FROM a").expect("it has a stage");
        let [context] = folder.contexts.as_slice() else { panic!("one is built: {folder:?}") };
        assert_eq!((context.context.as_str(), context.dockerfile_inline.as_deref()), ("/srv/more", Some(WHOLE)));
        let text = format!("FROM {} AS more\nFROM a\n", context.tags[0]);
        assert_eq!(folder.build.dockerfile_inline, Some(text));
        let image = staged(&with_context("more", "docker-image://busybox:1"), "FROM a").expect("it has a stage");
        assert_eq!(
            (image.contexts, image.build.dockerfile_inline.as_deref()),
            (vec![], Some("FROM busybox:1 AS more\nFROM a\n"))
        );
    }

    #[test]
    fn a_dockerfile_may_name_who_reads_it() {
        for (text, expected) in
            [("# syntax=docker/dockerfile:1\nFROM a", true), ("#Escape=`\n# SYNTAX = x\n", true), ("FROM a\n# syntax=x", false)]
        {
            assert_eq!(names_its_reader(text), expected, "{text}");
        }
    }
}
