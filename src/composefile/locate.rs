//! Diagnostics as people read them: the message, file:line:column, the excerpt.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Sources, Span};

/// Lines longer than this are cut around the place that is meant.
const EXCERPT_BYTES_MAX: usize = 2_000;

impl Diagnostic {
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            notes: Vec::new(),
            hint: None,
        }
    }

    pub fn warning(span: Option<Span>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, message: message.into(), span, label: String::new(), notes: Vec::new(), hint: None }
    }

    /// An error with no place in a file.
    pub fn placeless(message: impl Into<String>) -> Self {
        let (label, notes) = (String::new(), Vec::new());
        Self { severity: Severity::Error, message: message.into(), span: None, label, notes, hint: None }
    }

    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn noted(mut self, span: Span, label: impl Into<String>) -> Self {
        self.notes.push(super::Note { span, label: label.into() });
        self
    }

    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All diagnostics, each with its excerpt, ready for a terminal (`color`) or a file.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let texts: Vec<String> = diagnostics.iter().map(|diagnostic| render_one(diagnostic, sources, &renderer)).collect();
    texts.join("\n")
}

fn render_one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = harmless(&diagnostic.message);
    let title = level.primary_title(message.as_str());
    let mut places: Vec<(Span, &str, bool)> =
        diagnostic.span.iter().map(|span| (*span, diagnostic.label.as_str(), true)).collect();
    places.extend(diagnostic.notes.iter().map(|note| (note.span, note.label.as_str(), false)));
    let labels: Vec<String> = places.iter().map(|(_, label, _)| harmless(label)).collect();
    let windows: Vec<Option<Window>> = places.iter().map(|(span, ..)| Window::around(*span, sources)).collect();
    let mut group = annotate_snippets::Group::with_title(title);
    for ((window, (_, _, is_primary)), label) in windows.iter().zip(&places).zip(&labels) {
        let Some(window) = window else { continue };
        let kind = if *is_primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(window.range.clone()).label(label.as_str());
        let snippet =
            Snippet::source(window.text.as_str()).line_start(window.line).path(window.name.as_str()).annotation(annotation);
        group = group.element(snippet);
    }
    let hint = diagnostic.hint.as_deref().map(harmless);
    if let Some(hint) = &hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group]).to_string()
}

/// The lines around a span, with the span's range in them.
struct Window {
    name: String,
    text: String,
    line: usize,
    range: std::ops::Range<usize>,
}

impl Window {
    fn around(span: Span, sources: &Sources) -> Option<Self> {
        let source = sources.list.get(span.source.0 as usize)?;
        let text = source.text.as_str();
        let clamp = |at: u32| {
            let mut at = (at as usize).min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (clamp(span.start), clamp(span.end.max(span.start)));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = end.min(line_end).max(start);
        let line = text[..line_start].matches('\n').count() + 1;
        let mut window = text[line_start..line_end].to_owned();
        let mut range = start - line_start..end - line_start;
        if window.len() > EXCERPT_BYTES_MAX {
            window = "(a very long line)".to_owned();
            range = 0..0;
        }
        // Control characters of one byte become another of one byte, so that the range stays true.
        let window = window
            .chars()
            .map(|c| if c.is_control() && c != '\t' { if c.len_utf8() == 1 { '?' } else { c } } else { c })
            .collect();
        Some(Self { name: harmless(&source.name), text: window, line, range })
    }
}

fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}
