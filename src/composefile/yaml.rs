//! YAML text to trees of nodes: anchors, aliases and merge keys resolved, one tree per document.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use granit_parser::{Event, Options, Parser, ScalarStyle, Tag as YamlTag, options};

use super::scalar::resolve;
use super::{Diagnostic, Entry, Map, Node, SourceId, Span, Tag, Value};

/// Nodes that one file may come to when its aliases are followed, as compose-go's limit.
const VISITS_MAX: usize = 100_000;
const DEPTH_MAX: usize = 200;
/// What `!!` stands for.
const YAML_TAGS: &str = "tag:yaml.org,2002:";

/// The documents of a text, in order; empty ones are left out. What they have is taken from the number of values that may be.
pub(super) fn parse(text: &str, source: SourceId, values_left: &mut usize) -> Result<Vec<Node>, Diagnostic> {
    let settings: Options = options! { emit_comments: false };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, settings),
        text,
        source,
        anchors: BTreeMap::new(),
        visits: 0,
        nodes: 0,
        nodes_max: *values_left,
    };
    let documents = reader.documents();
    *values_left = values_left.saturating_sub(reader.nodes);
    documents
}

struct Reader<'a, E> {
    events: E,
    text: &'a str,
    source: SourceId,
    /// Anchored nodes, with how many nodes each comes to.
    anchors: BTreeMap<usize, (Node, usize)>,
    visits: usize,
    nodes: usize,
    nodes_max: usize,
}

type Next<'a> = Result<(Event<'a>, granit_parser::Span), granit_parser::ScanError>;

impl<'a, E: Iterator<Item = Next<'a>>> Reader<'a, E> {
    fn documents(&mut self) -> Result<Vec<Node>, Diagnostic> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::DocumentStart(..) => self.anchors.clear(),
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Comment(..) | Event::Anchor(..) => {}
                event => {
                    documents.push(self.node(event, span, 0)?);
                }
            }
        }
        // A file of nothing is one that is empty; an empty document among others is told by who merges them.
        if documents.iter().all(Node::is_null) {
            documents.clear();
        }
        Ok(documents)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Diagnostic> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok(Some((event, self.span(range.start, range.end))))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(self.text.len());
                let message = format!("this is no YAML: {}", error.info());
                Err(Diagnostic::error(self.span(at, at), message))
            }
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let clamp = |at: usize| u32::try_from(at.min(self.text.len())).unwrap_or(u32::MAX);
        // A block ends where the next thing begins: its text ends before the white space.
        let end = end.min(self.text.len());
        let trimmed = self.text.get(start..end).map_or(end, |text| start + text.trim_end().len());
        Span { source: self.source, start: clamp(start), end: clamp(trimmed) }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(Diagnostic::error(span, format!("more than {DEPTH_MAX} levels are nested here")));
        }
        if self.nodes > self.nodes_max {
            return Err(Diagnostic::error(span, "here the project's files together have more values than any project has"));
        }
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), span)?),
            Event::SequenceStart(_, anchor, tag) => (anchor, self.list(tag.as_deref(), span, depth)?),
            Event::MappingStart(_, anchor, tag) => (anchor, self.map(tag.as_deref(), span, depth)?),
            Event::Alias(id) => return self.alias(id, span),
            _ => return Err(Diagnostic::error(span, "a value is missing here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Diagnostic> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return Err(Diagnostic::error(span, "this alias stands within what it names, or names nothing"));
        };
        self.visits += size;
        self.nodes += size;
        if self.visits > VISITS_MAX {
            let message = format!("excessive aliasing: with its aliases followed, the file has more than {VISITS_MAX} values");
            return Err(Diagnostic::error(span, message));
        }
        Ok(node.clone())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&YamlTag>, span: Span) -> Result<Node, Diagnostic> {
        let core = tag.filter(|tag| tag.handle() == YAML_TAGS).map(YamlTag::suffix);
        let value = match (core, style) {
            // As go-yaml has it: `!override 5` is the text.
            (None, _) if tag.is_some() => Value::Text(text.to_owned()),
            (Some("str"), _) => Value::Text(text.to_owned()),
            (Some("binary"), _) => {
                let message = "the value of `!!binary` is no text in base64";
                decoded(text).ok_or_else(|| Diagnostic::error(span, message))?
            }
            (None, style) if style != ScalarStyle::Plain => Value::Text(text.to_owned()),
            (core, _) => {
                let value = resolve(text);
                if let Some(kind) = core.filter(|kind| !is_of_kind(&value, kind)) {
                    return Err(Diagnostic::error(span, format!("`{text}` is not of the type that `!!{kind}` says")));
                }
                value
            }
        };
        Ok(Node { span, tag: meaning(tag), value })
    }

    fn list(&mut self, tag: Option<&YamlTag>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        let mut items = Vec::new();
        let mut end = span.end;
        while let Some((event, at)) = self.next()? {
            match event {
                Event::SequenceEnd => {
                    end = end.max(at.end);
                    break;
                }
                Event::Comment(..) | Event::Anchor(..) => {}
                event => items.push(self.node(event, at, depth + 1)?),
            }
        }
        end = items.last().map_or(end, |last| end.max(last.span.end));
        Ok(Node { span: Span { end, ..span }, tag: meaning(tag), value: Value::List(items) })
    }

    fn map(&mut self, tag: Option<&YamlTag>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        let mut map = Map::new();
        let mut merged: Vec<Node> = Vec::new();
        let mut end = span.end;
        while let Some((event, at)) = self.next()? {
            match event {
                Event::MappingEnd => {
                    end = end.max(at.end);
                    break;
                }
                Event::Comment(..) | Event::Anchor(..) => continue,
                event => {
                    let is_plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
                    let key = self.node(event, at, depth + 1)?;
                    let key_span = key.span;
                    let (event, at) = self.next()?.ok_or_else(|| Diagnostic::error(at, "the value of this key is missing"))?;
                    let node = self.node(event, at, depth + 1)?;
                    end = end.max(node.span.end);
                    let key = key_text(&key)?;
                    if key == "<<" && is_plain {
                        if !merged.is_empty() {
                            let message = "the key `<<` stands twice in this mapping";
                            return Err(Diagnostic::error(key_span, message).hinted("it takes a list: `<<: [*a, *b]`"));
                        }
                        merged.push(node);
                        continue;
                    }
                    if let Some(first) = map.get(&key) {
                        let first: &Entry = first;
                        let message = format!("the key `{key}` stands twice in this mapping");
                        return Err(Diagnostic::error(key_span, message)
                            .labelled("again here")
                            .noted(first.key_span, "first here"));
                    }
                    map.insert(key, Entry { key_span, node });
                }
            }
        }
        merged.into_iter().try_for_each(|node| merge_into(&mut map, node))?;
        Ok(Node { span: Span { end, ..span }, tag: meaning(tag), value: Value::Map(map) })
    }
}

/// Whether a plain value is what its tag says. A whole number is a float, too.
fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => matches!(value, Value::Null),
        "bool" => matches!(value, Value::Bool(_)),
        "int" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Int(_) | Value::Float(_)),
        "timestamp" => matches!(value, Value::Timestamp(_)),
        _ => true,
    }
}

/// The text that base64 stands for; lines may be broken.
fn decoded(text: &str) -> Option<Value> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = BASE64_STANDARD.decode(plain).ok()?;
    String::from_utf8(bytes).ok().map(Value::Text)
}

/// `<<`: keys of a map, or of each map of a list, that are not there yet.
fn merge_into(map: &mut Map, node: Node) -> Result<(), Diagnostic> {
    match node.value {
        Value::Map(other) => {
            for (key, entry) in other {
                map.entry(key).or_insert(entry);
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            items.into_iter().try_for_each(|item| merge_into(map, item))
        }
        _ => Err(Diagnostic::error(node.span, "`<<` takes a mapping, or a list of mappings")),
    }
}

fn key_text(key: &Node) -> Result<String, Diagnostic> {
    match &key.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Timestamp(_) => {
            Err(Diagnostic::error(key.span, "a key must be a text").hinted("put it into quotes"))
        }
        Value::List(_) | Value::Map(_) => Err(Diagnostic::error(key.span, "a key must be a text, not a list or mapping")),
    }
}

fn meaning(tag: Option<&YamlTag>) -> Tag {
    match tag.map(|tag| tag.suffix()) {
        Some("reset") => Tag::Reset,
        Some("override") => Tag::Override,
        _ => Tag::None,
    }
}
