//! What mcompose does with each attribute: the list behind the support page of the docs and the notes of a plan.

use super::{Form, PROJECT, Type};

/// What becomes of an attribute on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has the effect that the specification gives it.
    Applied,
    /// It is read and checked, but has no effect, and why.
    Inert(&'static str),
    /// A service that has it is not deployed, and why.
    Refused(&'static str),
}

/// A row of the support page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// As in `services.*.ports[].target`.
    pub path: String,
    pub support: Support,
    /// The Engine API version that it needs, if it is a later one than 1.41; else empty.
    pub since: &'static str,
    /// What is to be known beside that; else empty.
    pub note: &'static str,
}

/// Every attribute of the specification, in the order of the document. What is inert or refused as a whole is so in its parts.
pub fn support() -> Vec<Attribute> {
    let mut rows = Vec::new();
    walk(&PROJECT, "", Support::Applied, &mut rows);
    rows
}

fn walk(kind: &Type, prefix: &str, above: Support, rows: &mut Vec<Attribute>) {
    for field in kind.fields {
        let path = format!("{prefix}{}", field.key);
        let support = if above == Support::Applied { field.support } else { above };
        rows.push(Attribute { path: path.clone(), support, since: field.since, note: field.note });
        match field.form {
            Form::Object(kind) => walk(kind, &format!("{path}."), support, rows),
            Form::Objects(kind) => walk(kind, &format!("{path}[]."), support, rows),
            Form::Map(kind) => walk(kind, &format!("{path}.*."), support, rows),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Support, support};
    use crate::project::NEEDS_A_CLIENT;

    #[test]
    fn what_a_build_on_an_engine_cannot_do_is_refused() {
        let rows = support();
        for attribute in NEEDS_A_CLIENT {
            let path = format!("services.*.build.{attribute}");
            let row = rows.iter().find(|row| row.path == path).expect("the table has every attribute");
            assert!(matches!(row.support, Support::Refused(_)), "{path}");
        }
    }
}
