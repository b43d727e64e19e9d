//! `mcompose images`

use std::collections::BTreeSet;

use serde_json::json;

use super::hosts::look_for;
use super::{Failure, Globals, exit, load};
use crate::ui::Ui;
use crate::world::{Container, ImageSeen, Question};

/// List images used by the created containers, with their hosts
#[derive(Debug, clap::Args)]
pub struct ImagesArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

const HEADINGS: [&str; 6] = ["CONTAINER", "HOST", "REPOSITORY", "TAG", "IMAGE ID", "SIZE"];
/// Digits of an image's id that are shown, as docker does.
const ID_DIGITS: usize = 12;

pub async fn run(args: &ImagesArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "images").await?;
    load::selection(&args.services, &project)?;
    let world = session.look_and_warn().await?;
    let is_meant = |container: &Container| {
        let service = container.labels.service.as_deref().unwrap_or_default();
        args.services.is_empty() || args.services.iter().any(|name| name == service)
    };
    let images: BTreeSet<String> = world
        .containers_of(&project.name)
        .filter(|(_, container)| is_meant(container))
        .flat_map(|(_, container)| [container.image.clone(), container.image_id.clone()])
        .collect();
    let world = look_for(&session.engines, &Question::about(images)).await;
    let mut rows: Vec<_> = world.containers_of(&project.name).filter(|(_, container)| is_meant(container)).collect();
    rows.sort_by_key(|(_, container)| &container.name);
    let seen = |host: &str, container: &Container| -> ImageSeen {
        let images = world.seen(host).map(|seen| &seen.images);
        let found = images.and_then(|images| images.get(&container.image_id).or_else(|| images.get(&container.image)));
        found.cloned().unwrap_or_default()
    };
    if args.quiet {
        let ids: BTreeSet<&str> = rows.iter().map(|(_, container)| bare(&container.image_id)).collect();
        ids.iter().for_each(|id| ui.data(id));
    } else if args.format == "json" {
        let object = |(host, container): &(&crate::project::HostName, &Container)| {
            let image = seen(host.as_str(), container);
            let (repository, tag) = named(&container.image);
            json!({
                "ID": container.image_id, "ContainerName": container.name, "Host": host.as_str(),
                "Repository": repository, "Tag": tag, "Size": image.size_bytes, "Created": image.created,
            })
        };
        ui.data(&serde_json::Value::from(rows.iter().map(object).collect::<Vec<_>>()).to_string());
    } else {
        let cells = |(host, container): &(&crate::project::HostName, &Container)| {
            let (repository, tag) = named(&container.image);
            let id = bare(&container.image_id);
            let id = id.get(..ID_DIGITS).unwrap_or(id).to_owned();
            vec![container.name.clone(), host.to_string(), repository, tag, id, size(seen(host.as_str(), container).size_bytes)]
        };
        ui.table(&HEADINGS, &rows.iter().map(cells).collect::<Vec<_>>());
    }
    Ok(exit::OK)
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// A reference's repository and tag; a port of the registry is no tag.
fn named(image: &str) -> (String, String) {
    let name = image.split('@').next().unwrap_or(image);
    if image.starts_with("sha256:") {
        return ("<none>".to_owned(), "<none>".to_owned());
    }
    match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
        None => (name.to_owned(), if image.contains('@') { "<none>" } else { "latest" }.to_owned()),
    }
}

/// In units of a thousand, with three digits, as docker writes sizes.
fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 || unit == "TB" {
            let digits = if value >= 100.0 || unit == "B" {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1000.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::{named, size};

    #[test]
    fn a_reference_is_a_repository_and_a_tag() {
        let check = |image: &str, repository: &str, tag: &str| {
            assert_eq!(named(image), (repository.to_owned(), tag.to_owned()), "{image}");
        };
        check("nginx", "nginx", "latest");
        check("nginx:1.27", "nginx", "1.27");
        check("registry:5000/app", "registry:5000/app", "latest");
        check("registry:5000/app:2", "registry:5000/app", "2");
        check("app@sha256:00", "app", "<none>");
        check("app:1@sha256:00", "app", "1");
        check("sha256:00", "<none>", "<none>");
    }

    #[test]
    fn sizes_have_three_digits() {
        assert_eq!([0, 999, 1_500, 12_345_678, 987_654_321].map(size), ["0B", "999B", "1.50kB", "12.3MB", "988MB"]);
    }
}
