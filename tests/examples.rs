//! Every folder of compose-examples is planned on the three hosts of fleet.toml, and the plan compared with its plan.txt.
//! `MCOMPOSE_UPDATE=1 cargo test --test examples` writes them anew.
#![expect(clippy::disallowed_methods, reason = "examples are files, and the files are compared")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mcompose::composefile::{Files, LoadRequest, load};
use mcompose::engine::fake::Fake;
use mcompose::inventory::{Context, parse};
use mcompose::placement::{Request, place};
use mcompose::plan::{Goal, Inputs, Up, plan, text};
use mcompose::world::Fabric;

struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn exists(&mut self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&mut self, path: &Path) -> bool {
        path.is_dir()
    }

    fn read_stdin(&mut self, _: u64) -> io::Result<Vec<u8>> {
        Err(io::Error::other("no example is read from standard input"))
    }

    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }
}

/// The plan of an example's `up` on fresh hosts that have the image.
fn planned(folder: &Path, inventory: &Path) -> String {
    let request = LoadRequest { cwd: folder.to_path_buf(), ..LoadRequest::default() };
    let loaded = load(&request, &mut Disk).unwrap_or_else(|failure| panic!("{}: {:?}", folder.display(), failure.diagnostics));
    let inventory_text = fs::read_to_string(inventory).expect("the examples have a fleet.toml");
    let context = Context { folder: ".", home: None, exists: &|_| true };
    let hosts = parse("fleet.toml", &inventory_text, &context).expect("fleet.toml is an inventory").hosts;
    let fake = Fake::new(&["h1", "h2", "h3"]);
    let images: BTreeSet<String> = loaded.project.services.values().filter_map(|service| service.image.clone()).collect();
    for host in ["h1", "h2", "h3"] {
        images.iter().for_each(|image| fake.host(host).add_image(image));
    }
    let world = fake.snapshot();
    let fabric = Fabric::Overlay { managers: hosts.iter().map(|host| host.name.clone()).collect() };
    let placement = place(&loaded.project, &hosts, &world, &Request { fabric: fabric.clone(), ..Request::default() });
    let inputs = Inputs {
        project: &loaded.project,
        placement: &placement,
        hosts: &hosts,
        world: &world,
        fabric: &fabric,
        revision: 1,
        here: &BTreeSet::new(),
        kept: None,
    };
    text(&plan(&Goal::Up(Up::default()), &inputs))
}

#[test]
fn every_example_is_planned_as_its_plan_txt_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples");
    let mut seen = 0;
    for entry in fs::read_dir(&examples).expect("there are examples") {
        let folder = entry.expect("there are examples").path();
        if !folder.join("compose.yaml").exists() {
            continue;
        }
        seen += 1;
        let plan = planned(&folder, &examples.join("fleet.toml"));
        let file = folder.join("plan.txt");
        if std::env::var_os("MCOMPOSE_UPDATE").is_some() {
            fs::write(&file, &plan).expect("the examples are writable");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(plan, expected, "{}", file.display());
    }
    assert!(seen >= 4, "only {seen} examples were found");
}
