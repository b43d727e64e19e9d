//! What a Compose file may hold: every attribute once, with the shapes it takes, what it becomes, and what mcompose does with it.
//!
//! The table is of the Compose Specification as of August 2026. Checks, the canonical form, rendering, `config-hash` and the support
//! page of the docs are all walks over it.

mod check;
mod path;
mod project_types;
mod service_types;
mod support;

pub use support::{Attribute, Support, support};

pub(super) use check::{check, kind_of};
pub(super) use path::Path;
pub(super) use project_types::{NETWORK, PROJECT, VOLUME};
pub(super) use service_types::{SERVICE, ULIMIT};
pub(super) use support::outstanding;

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Type {
    /// In the order in which docker compose prints them; its `config-hash` depends on it.
    pub fields: &'static [Field],
    pub others: Others,
}

impl Type {
    const fn new(fields: &'static [Field]) -> Self {
        Self { fields, others: Others::Extensions }
    }

    /// The few that take no `x-` key.
    const fn strict(fields: &'static [Field]) -> Self {
        Self { fields, others: Others::None }
    }

    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// Which keys beside the known ones are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    None,
    /// Those that start with `x-`.
    Extensions,
    All,
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Field {
    pub key: &'static str,
    pub shape: Shape,
    pub form: Form,
    pub is_required: bool,
    pub zero: Zero,
    pub json: Json,
    pub support: Support,
    /// The Engine API version that it needs, where that is a later one than 1.41.
    pub since: &'static str,
    /// For the support page.
    pub note: &'static str,
}

/// What the document may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Null,
    Text,
    /// One of these texts.
    Words(&'static [&'static str]),
    /// A text that a rule accepts; the rule in words.
    Ruled(fn(&str) -> bool, &'static str),
    Bool,
    Integer,
    /// An integer from the first to the last.
    Within(i64, i64),
    /// As `Within`, or a text; a text that is a number is held to the same bounds.
    TextWithin(i64, i64),
    Number,
    List(&'static Shape),
    /// A list without two equal items.
    Unique(&'static Shape),
    /// A mapping with keys of the user's choice.
    Map(&'static Shape),
    /// A mapping with keys of the user's choice, none of them empty.
    Keyed(&'static Shape),
    /// A mapping whose keys are names: letters, digits, `.`, `_` and `-`. There is no `x-` in it.
    Names(&'static Shape),
    Object(&'static Type),
    AnyOf(&'static [Shape]),
}

/// What the value becomes, in the words of the Go types that docker compose decodes it into.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Text,
    Flag,
    Int,
    /// A number without a sign.
    Count,
    /// 32 bits, as docker compose has them.
    Float,
    /// Text of a number of bytes.
    Bytes,
    Duration,
    /// Octal text.
    Mode,
    /// A number, or `all`, which is −1.
    DeviceCount,
    Texts,
    /// A list of words; a text is split as a shell would. Null is absent, an empty list stays.
    Command,
    /// As a command, with a text made into `CMD-SHELL`.
    HealthTest,
    /// A mapping of texts; a key without a value has the empty one.
    Dict,
    /// A mapping of texts; a key without a value has none.
    Env,
    /// `HOST=IP`, sorted.
    ExtraHosts,
    /// `ID` or `ID=PATH`
    Ssh,
    Ulimits,
    /// A mapping of lists of texts.
    Lists,
    /// Present as soon as it is written, even when empty.
    Object(&'static Type),
    Objects(&'static Type),
    /// By name; an entry may be null where the shape lets it.
    Map(&'static Type),
    /// Consumed before: never in the canonical form.
    Consumed,
}

/// What becomes of a zero, an empty text or `false` in the canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// It is as good as absent.
    Dropped,
    /// It is not the same as absence.
    Kept,
    /// Absence is a zero.
    Implied,
}

/// Where the JSON of docker compose differs from the YAML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Json {
    Same,
    /// Another key.
    Renamed(&'static str),
    /// `null` where it is absent.
    OrNull,
    /// Nothing where it is false, though that is not the same as absence.
    TrueOnly,
    /// This where it is absent.
    Or(&'static str),
}

/// What a watch rule without a hook has in JSON.
pub(super) const EMPTY_HOOK: &str = "{\"command\":null}";

const fn field(key: &'static str, shape: Shape, form: Form) -> Field {
    Field {
        key,
        shape,
        form,
        is_required: false,
        zero: Zero::Dropped,
        json: Json::Same,
        support: Support::Applied,
        since: "",
        note: "",
    }
}

impl Field {
    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    const fn keeps_zero(self) -> Self {
        Self { zero: Zero::Kept, ..self }
    }

    const fn implies_zero(self) -> Self {
        Self { zero: Zero::Implied, ..self }
    }

    const fn json(self, json: Json) -> Self {
        Self { json, ..self }
    }

    const fn translated(self, how: &'static str) -> Self {
        Self { support: Support::Translated(how), ..self }
    }

    const fn inert(self, why: &'static str) -> Self {
        Self { support: Support::Inert(why), ..self }
    }

    const fn refused(self, why: &'static str) -> Self {
        Self { support: Support::Refused(why), ..self }
    }

    const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn is_map(&self) -> bool {
        matches!(self.form, Form::Map(_))
    }

    /// Another shape than the one that goes with the form.
    const fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }
}

const TEXT: Shape = Shape::Text;
const TEXT_LIST: Shape = Shape::List(&TEXT);
const TEXT_SET: Shape = Shape::Unique(&TEXT);
const TEXT_OR_NUMBER: Shape = Shape::AnyOf(&[TEXT, Shape::Number]);
const TEXT_OR_INTEGER: Shape = Shape::AnyOf(&[TEXT, Shape::Integer]);
const SCALAR_OR_NULL: Shape = Shape::AnyOf(&[TEXT, Shape::Number, Shape::Bool, Shape::Null]);
const LIST_OR_DICT: Shape = Shape::AnyOf(&[Shape::Keyed(&SCALAR_OR_NULL), TEXT_SET]);
const COMMAND: Shape = Shape::AnyOf(&[Shape::Null, TEXT, TEXT_LIST]);
const EXTRA_HOSTS: Shape = Shape::AnyOf(&[Shape::Keyed(&Shape::AnyOf(&[TEXT, TEXT_SET])), TEXT_SET]);

const fn text(key: &'static str) -> Field {
    field(key, TEXT, Form::Text)
}

const fn words(key: &'static str, words: &'static [&'static str]) -> Field {
    field(key, Shape::Words(words), Form::Text)
}

const fn flag(key: &'static str) -> Field {
    field(key, Shape::AnyOf(&[Shape::Bool, TEXT]), Form::Flag)
}

const fn integer(key: &'static str) -> Field {
    field(key, TEXT_OR_INTEGER, Form::Int)
}

const fn number(key: &'static str) -> Field {
    field(key, TEXT_OR_NUMBER, Form::Int)
}

const fn decimal(key: &'static str) -> Field {
    field(key, TEXT_OR_NUMBER, Form::Float)
}

const fn bytes(key: &'static str) -> Field {
    field(key, TEXT_OR_NUMBER, Form::Bytes)
}

const fn duration(key: &'static str) -> Field {
    field(key, TEXT, Form::Duration)
}

/// A list that may repeat itself.
const fn texts(key: &'static str) -> Field {
    field(key, TEXT_LIST, Form::Texts)
}

const fn text_set(key: &'static str) -> Field {
    field(key, TEXT_SET, Form::Texts)
}

const fn text_or_texts(key: &'static str) -> Field {
    field(key, Shape::AnyOf(&[TEXT, TEXT_SET]), Form::Texts)
}

const fn dict(key: &'static str) -> Field {
    field(key, LIST_OR_DICT, Form::Dict)
}

const fn env(key: &'static str) -> Field {
    field(key, LIST_OR_DICT, Form::Env)
}

/// Texts and numbers by key.
const fn options(key: &'static str) -> Field {
    field(key, Shape::Map(&TEXT_OR_NUMBER), Form::Dict)
}

const fn command(key: &'static str) -> Field {
    field(key, COMMAND, Form::Command)
}

const fn object(key: &'static str, shape: Shape, kind: &'static Type) -> Field {
    field(key, shape, Form::Object(kind))
}

const fn objects(key: &'static str, shape: Shape, kind: &'static Type) -> Field {
    field(key, shape, Form::Objects(kind))
}

const fn map(key: &'static str, shape: Shape, kind: &'static Type) -> Field {
    field(key, shape, Form::Map(kind))
}
