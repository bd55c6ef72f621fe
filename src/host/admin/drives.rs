//! The replacement of a drive for the admin API.

use super::{HostAdmin, known};
use crate::api::admin::{AdminError, DriveReplaced};
use crate::types::NodeId;

impl HostAdmin {
    /// Replaces a drive of this host. A drive of another host is refused with that host's name.
    pub(super) async fn replace_own_drive(&self, node: NodeId) -> Result<DriveReplaced, AdminError> {
        let known = self.look_up(known).await?;
        let names = self.names(&known);
        match known.nodes.iter().find(|record| record.id == node) {
            None => Err(AdminError::Refused(format!("there is no drive {node}"))),
            Some(record) if record.host != self.host => {
                let name = names.get(&record.host).cloned().unwrap_or_default();
                Err(AdminError::Refused(format!(
                    "drive {node} is on the host {name}; send the command to that host's admin listener (--url)"
                )))
            }
            Some(_) => self.door.replace(node).await,
        }
    }
}
