//! `mcompose supervise --install`: the unit by which systemd keeps a supervisor running.
#![expect(clippy::disallowed_methods, reason = "it asks where it is, and writes the unit")]

use std::path::{Path, PathBuf};

use super::{Failure, Globals, exit, load};
use crate::ui::Ui;

const NAME: &str = "mcompose-supervise.service";

/// For root the machine's unit, for others their own.
pub fn install(globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let fleet = load::fleet(globals, ui, None)?;
    let failed = |what: String, hint: &str| Failure::said(what, hint.to_owned(), exit::FAILURE);
    let Some(file) = fleet.file else {
        return Err(failed("there is no inventory to supervise".to_owned(), "name one with `-i hosts.toml`"));
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let program = std::env::current_exe()
        .map_err(|error| failed(format!("cannot tell where this program is: {error}"), "write the unit by hand"))?;
    let home = std::env::var("HOME").unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root();
    let text = unit(&program, &absolute(&file.path), &home, is_root);
    if globals.dry_run {
        ui.data(&text);
        return Ok(exit::OK);
    }
    let folder = if is_root { PathBuf::from("/etc/systemd/system") } else { Path::new(&home).join(".config/systemd/user") };
    let path = folder.join(NAME);
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)).map_err(|error| {
        failed(format!("cannot write {}: {error}", path.display()), "`--dry-run` prints it, to be put elsewhere")
    })?;
    let user = if is_root { "" } else { " --user" };
    ui.data(&path.display().to_string());
    ui.note(&format!("begin it with: systemctl{user} daemon-reload && systemctl{user} enable --now {NAME}"));
    Ok(exit::OK)
}

/// Only one of all supervisors of the hosts acts, so the unit may stand on several machines.
fn unit(program: &Path, inventory: &Path, home: &str, is_root: bool) -> String {
    let target = if is_root { "multi-user.target" } else { "default.target" };
    let (program, inventory) = (quoted(&program.display().to_string()), quoted(&inventory.display().to_string()));
    let home = quoted(&format!("HOME={home}"));
    format!(
        "[Unit]\n\
         Description=mcompose: keeps the replicas of {inventory} running\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={program} -i {inventory} supervise\n\
         Environment={home}\n\
         Restart=always\n\
         RestartSec=2\n\
         \n\
         [Install]\n\
         WantedBy={target}\n"
    )
}

/// A word as systemd reads it (systemd.syntax, \"Quoting\"; systemd.unit, \"Specifiers\").
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_unit_names_program_and_inventory_as_systemd_reads_them() {
        let text = super::unit(Path::new("/opt/my tools/mcompose"), Path::new("/srv/100%/hosts.toml"), "/root", true);
        assert!(text.contains("ExecStart=\"/opt/my tools/mcompose\" -i \"/srv/100%%/hosts.toml\" supervise\n"), "{text}");
        assert!(text.ends_with("WantedBy=multi-user.target\n"));
    }
}
