//! `platform: OS/ARCH[/VARIANT]` against what the engine runs natively.

use crate::placement::Misfit;
use crate::placement::site::Site;
use crate::world::EngineInfo;

/// Whether the engine runs such images: the same system, and an architecture that its CPU has (32-bit ones on their 64-bit
/// successors among them). Variants above the base are the CPU's secret, so they are no reason against a host.
/// The only host of an inventory is always tried, as docker compose does, since it may emulate.
pub(in crate::placement) fn is_met(platform: &str, site: &Site) -> bool {
    let Some(seen) = site.seen else { return false };
    site.is_only_host || runs_natively(platform, &seen.engine)
}

/// As `is_met`, of an engine alone.
pub fn runs_natively(platform: &str, engine: &EngineInfo) -> bool {
    let (os, arch) = parts(platform);
    os.is_none_or(|os| engine.os.is_empty() || os.eq_ignore_ascii_case(&engine.os))
        && arch.is_none_or(|arch| engine.arch.is_empty() || runs(&engine.arch, arch))
}

/// The first of several platforms that is the engine's own, or else that it runs natively.
pub fn native_of<'p>(platforms: &'p [String], engine: &EngineInfo) -> Option<&'p String> {
    let is_own = |platform: &str| parts(platform).1.is_none_or(|arch| same_arch(&engine.arch, arch));
    platforms.iter().filter(|platform| runs_natively(platform, engine)).min_by_key(|platform| !is_own(platform))
}

/// System and architecture: `platform: arm64` names the architecture alone, `platform: linux` the system alone.
fn parts(platform: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = platform.split('/');
    let (os, arch) = (parts.next().unwrap_or_default(), parts.next());
    match arch {
        Some(arch) => (Some(os), Some(arch)),
        None if matches!(os, "linux" | "windows" | "darwin" | "freebsd") => (Some(os), None),
        None => (None, Some(os)),
    }
}

pub(in crate::placement) fn misfit(platform: &str, site: &Site) -> Misfit {
    let has = site.seen.map(|seen| format!("{}/{}", seen.engine.os, seen.engine.arch)).unwrap_or_default();
    Misfit::Platform { wanted: platform.to_owned(), has }
}

fn runs(cpu: &str, image: &str) -> bool {
    let (cpu, image) = (normal(cpu), normal(image));
    cpu == image || matches!((cpu, image), ("arm64", "arm") | ("amd64", "386"))
}

/// `x86_64` and `amd64` are the same, `aarch64` and `arm64` too.
pub(in crate::placement) fn same_arch(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || normal(one) == normal(other)
}

/// Go's name of an architecture, by the table of containerd's platforms package.
fn normal(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86-64" | "AMD64" => "amd64",
        "aarch64" | "ARM64" => "arm64",
        "i386" | "i686" => "386",
        "armhf" | "armel" | "armv5l" | "armv6l" | "armv7l" | "armv8l" => "arm",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{native_of, runs};
    use crate::world::EngineInfo;

    #[test]
    fn a_cpu_runs_its_own_and_its_smaller_architecture() {
        for (cpu, image) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm"), ("amd64", "386"), ("armv7l", "arm")] {
            assert!(runs(cpu, image), "{cpu} {image}");
        }
        for (cpu, image) in [("amd64", "arm64"), ("arm", "arm64"), ("386", "amd64"), ("riscv64", "arm64")] {
            assert!(!runs(cpu, image), "{cpu} {image}");
        }
    }

    #[test]
    fn of_several_platforms_the_own_one_comes_before_one_that_runs_too() {
        let check = |arch: &str, platforms: &[&str], expected: Option<&str>| {
            let engine = EngineInfo { os: "linux".to_owned(), arch: arch.to_owned(), ..EngineInfo::default() };
            let platforms: Vec<String> = platforms.iter().map(|platform| (*platform).to_owned()).collect();
            assert_eq!(native_of(&platforms, &engine).map(String::as_str), expected, "{arch}");
        };
        let usual = ["linux/arm/v7", "linux/386", "linux/arm64", "linux/amd64"];
        check("aarch64", &usual, Some("linux/arm64"));
        check("x86_64", &usual, Some("linux/amd64"));
        check("x86_64", &usual[..3], Some("linux/386"));
        check("s390x", &usual, None);
    }
}
