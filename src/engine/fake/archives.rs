//! Archives of the fake: whole, as they came, in the volume that they were unpacked into.

use bytes::Bytes;

use super::state::{Cluster, Fail};
use crate::project::HostName;

impl Cluster {
    pub(super) fn put_archive(&mut self, host: &HostName, container: &str, path: &str, archive: Vec<u8>) -> Result<(), Fail> {
        let volume = self.volume_at(host, container, path)?;
        if let Some(volume) = volume.and_then(|name| self.hosts.get_mut(host)?.volumes.get_mut(&name)) {
            volume.content = archive;
        }
        Ok(())
    }

    pub(super) fn get_archive(&mut self, host: &HostName, container: &str, path: &str) -> Result<Bytes, Fail> {
        let volume = self.volume_at(host, container, path)?;
        let volume = volume.and_then(|name| self.hosts.get(host)?.volumes.get(&name));
        Ok(volume.map(|volume| volume.content.clone()).unwrap_or_default().into())
    }

    /// The volume that a container mounts at a path.
    fn volume_at(&mut self, host: &HostName, container: &str, path: &str) -> Result<Option<String>, Fail> {
        let path = path.trim_end_matches("/.");
        let found = self.host_mut(host)?.container(container)?;
        Ok(found.mounts.iter().find(|mount| mount.kind == "volume" && mount.target == path).map(|mount| mount.name.clone()))
    }
}
