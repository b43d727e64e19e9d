//! Volume and network drivers and container runtimes that the engine must have.

use std::collections::BTreeSet;

use crate::placement::Misfit;
use crate::placement::site::Site;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::placement) enum Plugin {
    Volume,
    Network,
    Runtime,
}

/// An engine that lists none at all has not told, which is no reason against it.
pub(in crate::placement) fn is_met(kind: Plugin, name: &str, site: &Site) -> bool {
    let Some(seen) = site.seen else { return false };
    let has = match kind {
        Plugin::Volume => &seen.engine.volume_plugins,
        Plugin::Network => &seen.engine.network_plugins,
        Plugin::Runtime => &seen.engine.runtimes,
    };
    has.is_empty() || names(has, name)
}

/// Plugins carry a tag that may be left out when it is `latest`.
fn names(plugins: &BTreeSet<String>, name: &str) -> bool {
    plugins.contains(name)
        || plugins.contains(&format!("{name}:latest"))
        || name.strip_suffix(":latest").is_some_and(|name| plugins.contains(name))
}

pub(in crate::placement) fn misfit(kind: Plugin, name: &str) -> Misfit {
    let name = name.to_owned();
    let kind = match kind {
        Plugin::Volume => "volume",
        Plugin::Network => "network",
        Plugin::Runtime => return Misfit::Runtime { name },
    };
    Misfit::Plugin { kind: kind.to_owned(), name }
}
