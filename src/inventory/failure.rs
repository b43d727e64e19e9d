//! What is wrong with an inventory: every fault with its place in the file.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Faults that are shown; the rest is counted.
const SHOWN_MAX: usize = 20;

/// Of lines that are shown with a fault.
const EXCERPT_BYTES_MAX: usize = 16 << 10;

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

    /// The lines that a fault is about; the place alone where these are empty, or too long to be shown.
    fn render_one(&self, renderer: &Renderer, fault: &Fault) -> String {
        let primary = self.within(&fault.span);
        let note = fault.note.as_ref().map(|(span, label)| (self.within(span), label.as_str()));
        let whole = note.iter().fold(primary.clone(), |whole, (span, _)| whole.start.min(span.start)..whole.end.max(span.end));
        let note = note.filter(|_| whole.len() <= EXCERPT_BYTES_MAX);
        let shown = self.lines_of(if note.is_some() { &whole } else { &primary });
        if shown.is_empty() || shown.len() > EXCERPT_BYTES_MAX {
            let (line, column) = self.place_of(primary.start);
            let hint = fault.hint.as_ref().map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default();
            return format!("error: {}\n --> {}:{line}:{column}{hint}", fault.message, self.name);
        }
        let moved = |span: Range<usize>| span.start - shown.start..span.end - shown.start;
        let (first_line, _) = self.place_of(shown.start);
        let mut snippet = Snippet::source(&self.text[shown.clone()]).line_start(first_line).path(self.name.as_str());
        snippet = snippet.annotation(AnnotationKind::Primary.span(moved(primary)).label(fault.label.as_str()));
        if let Some((span, label)) = note {
            snippet = snippet.annotation(AnnotationKind::Context.span(moved(span)).label(label));
        }
        let mut group = Level::ERROR.primary_title(fault.message.as_str()).element(snippet);
        if let Some(hint) = &fault.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// The whole lines that a span touches.
    fn lines_of(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.end..].find('\n').map_or(self.text.len(), |at| span.end + at);
        start..end
    }

    /// Line and column, both from 1.
    fn place_of(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
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
