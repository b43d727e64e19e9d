//! Values that stand for what is not written.

use super::access::text;
use super::{Node, Value};

/// Fills in the defaults that do not depend on other parts of the document.
pub(super) fn fill(document: &mut Node) {
    fill_contexts(document);
    for (_, service) in document.entries_mut("services") {
        for port in service.items_mut("ports") {
            port.set_default("mode", text("ingress"));
            port.set_default("protocol", text("tcp"));
        }
        for secret in service.items_mut("secrets") {
            if let Some(source) = secret.text_at("source") {
                let target = format!("/run/secrets/{source}");
                secret.set_default("target", Value::Text(target));
            }
        }
        service.items_mut("gpus").iter_mut().for_each(device_request);
        let reservations = service.get_mut("deploy").and_then(|d| d.get_mut("resources")).and_then(|r| r.get_mut("reservations"));
        if let Some(reservations) = reservations {
            reservations.items_mut("devices").iter_mut().for_each(device_request);
        }
    }
}

/// A build without a context is one of the project's folder, or of the folder of what is included.
pub(super) fn fill_contexts(document: &mut Node) {
    for build in document.entries_mut("services").filter_map(|(_, service)| service.get_mut("build")) {
        build.set_default("context", text("."));
    }
}

/// Neither a count nor ids: all.
fn device_request(request: &mut Node) {
    if request.get("count").is_none() && request.get("device_ids").is_none() {
        request.set("count", text("all"));
    }
}
