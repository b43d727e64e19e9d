//! The one image of tests and examples: busybox and the demo server, as a tar of a root folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{base_folder, run};

pub const DEMO_IMAGE: &str = "mcompose-demo:1";

/// The image's entrypoint. The kernel spares a first process without a handler from SIGTERM; so that containers stop at once,
/// the command is a child of this one.
const RUN: &str = "#!/bin/sh\ntrap 'kill $! 2>/dev/null; exit 143' TERM INT\n\"$@\" &\nwait $!\n";
/// What `docker import --change` says, one instruction each.
pub(super) const CHANGES: &[&str] = &["ENV PATH=/bin", "ENTRYPOINT [\"run\"]", "CMD [\"demo\", \"serve\"]", "EXPOSE 80"];

/// The tar, made once per process. `busybox` must be the static one; the demo server is compiled here, std only, in a second.
pub fn demo_image() -> Vec<u8> {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let folder = base_folder().join(format!("mcompose-image-{}", std::process::id()));
        let tar = build(&folder);
        fs::remove_dir_all(&folder).expect("it was made here");
        tar
    })
    .clone()
}

fn build(folder: &Path) -> Vec<u8> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("the temporary folder is writable");
    for name in ["etc", "tmp", "data", "proc", "sys", "dev"] {
        fs::create_dir_all(folder.join(name)).expect("the temporary folder is writable");
    }
    let busybox = which("busybox");
    fs::copy(&busybox, bin.join("busybox")).expect("busybox is readable");
    for applet in run(&busybox.display().to_string(), &["--list"]).lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", bin.join(applet)).expect("the temporary folder is writable");
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        .expect("the temporary folder is writable");
    fs::write(bin.join("run"), RUN).expect("the temporary folder is writable");
    fs::set_permissions(bin.join("run"), fs::Permissions::from_mode(0o755)).expect("it was made here");
    compile_demo(&bin.join("demo"));
    let output = Command::new("tar").arg("-C").arg(folder).args(["-c", "."]).stdin(Stdio::null()).output();
    output.expect("tar runs").stdout
}

/// Static, since the image has no C library.
fn compile_demo(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/demo.rs");
    let flags = ["--edition", "2024", "-C", "opt-level=1", "-C", "strip=symbols", "-C", "target-feature=+crt-static", "-o"];
    let arguments: Vec<String> =
        flags.iter().map(ToString::to_string).chain([to.display().to_string(), source.display().to_string()]).collect();
    run("rustc", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("`{program}` missing: `bash tests/run.sh` installs what the tests need"))
}
