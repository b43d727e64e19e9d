//! What is wrong with an inventory: every fault with its place in the file.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Faults that are shown; the rest is counted.
const SHOWN_MAX: usize = 20;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// With the key's path: "hosts.alpha.rol: unknown key".
    pub message: String,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// Words at the span; may be empty.
    pub label: String,
    /// Another place that belongs to it.
    pub note: Option<(Range<usize>, String)>,
    pub hint: Option<String>,
}

/// An inventory that cannot be used, with all of its faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryFailure {
    /// The file's name as the user would write it.
    pub name: String,
    pub text: String,
    /// In the order of the file; at least one.
    pub faults: Vec<Fault>,
}

impl InventoryFailure {
    /// Every fault with file:line:column and the excerpt, with colours for a terminal or without.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let mut parts: Vec<String> = self.faults.iter().take(SHOWN_MAX).map(|fault| self.render_one(&renderer, fault)).collect();
        if self.faults.len() > SHOWN_MAX {
            parts.push(format!("… and {} more faults in {}", self.faults.len() - SHOWN_MAX, self.name));
        }
        parts.join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, fault: &Fault) -> String {
        let mut snippet = Snippet::source(self.text.as_str()).path(self.name.as_str());
        snippet = snippet.annotation(AnnotationKind::Primary.span(self.within(&fault.span)).label(fault.label.as_str()));
        if let Some((span, label)) = &fault.note {
            snippet = snippet.annotation(AnnotationKind::Context.span(self.within(span)).label(label.as_str()));
        }
        let mut group = Level::ERROR.primary_title(fault.message.as_str()).element(snippet);
        if let Some(hint) = &fault.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// The part of a span that lies in the text, widened to character boundaries.
    fn within(&self, span: &Range<usize>) -> Range<usize> {
        let length = self.text.len();
        let is_boundary = |at: &usize| self.text.is_char_boundary(*at);
        let start = (0..=span.start.min(length)).rev().find(is_boundary).unwrap_or(0);
        let end = (span.end.clamp(start, length)..=length).find(is_boundary).unwrap_or(length);
        start..end
    }
}

impl fmt::Display for InventoryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for InventoryFailure {}
