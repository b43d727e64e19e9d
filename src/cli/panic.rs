//! A fault of mcompose itself: one line, how to report it, an exit code of its own.

use std::panic::PanicHookInfo;

use super::exit;
use crate::ui::{Report, Ui};

/// From now on a panic, of whatever thread, ends the program with its report. A lock that is held becomes free by itself.
pub fn report_with(ui: Ui) {
    std::panic::set_hook(Box::new(move |info| {
        ui.error(&report(&message(info), info.location().map(ToString::to_string)));
        std::process::exit(i32::from(exit::BUG));
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

fn report(message: &str, place: Option<String>) -> Report {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    Report {
        error: format!("this is a fault of mcompose {}: {message}{place}", env!("CARGO_PKG_VERSION")),
        hint: Some(
            "please report this line, with the command and the files that led to it; the hosts are as `mcompose ps -a` shows"
                .to_owned(),
        ),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::report;

    #[test]
    fn a_panic_is_one_line_with_its_place() {
        let report = report("assertion failed\n  left: 1", Some("src/x.rs:3:1".to_owned()));
        assert!(report.error.ends_with("assertion failed left: 1 (src/x.rs:3:1)"), "{}", report.error);
        assert!(report.hint.is_some());
    }
}
