//! What mcompose does with each attribute: the list behind the support page of the docs and the notes of a plan.

use super::{Form, PROJECT, Type};

/// What becomes of an attribute on a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It has the effect that the specification gives it.
    Applied,
    /// It has that effect by other means than on a single engine, and by which.
    Translated(&'static str),
    /// It is read and checked, but has no effect, and why.
    Inert(&'static str),
    /// A service that has it is not deployed, and why.
    Refused(&'static str),
}

impl Support {
    /// As the support page and `config --support` say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Translated(_) => "translated",
            Self::Inert(_) => "inert",
            Self::Refused(_) => "refused",
        }
    }

    fn is_effective(self) -> bool {
        matches!(self, Self::Applied | Self::Translated(_))
    }
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

impl Attribute {
    /// The reason of what is not simply applied, and the note; empty where there is neither.
    pub fn remark(&self) -> String {
        let reason = match self.support {
            Support::Applied => "",
            Support::Translated(how) => how,
            Support::Inert(why) | Support::Refused(why) => why,
        };
        [reason, self.note].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// Every attribute of the specification, in the order of the document. What is inert or refused as a whole is so in its parts.
pub fn support() -> Vec<Attribute> {
    let mut rows = Vec::new();
    walk(&PROJECT, "", Support::Applied, &mut rows);
    rows
}

/// Those of the project and of its services, networks and so on, and those of their parts that have something to be said of. What is
/// inert or refused stands for its parts.
pub(in crate::composefile) fn outstanding() -> Vec<Attribute> {
    let mut rows: Vec<Attribute> = Vec::new();
    for row in support() {
        let is_covered = |whole: &Attribute| {
            let below = row.path.strip_prefix(whole.path.as_str());
            !whole.support.is_effective() && below.is_some_and(|below| below.starts_with(['.', '[']))
        };
        let is_plain = row.support == Support::Applied && row.note.is_empty() && row.since.is_empty();
        let is_element = !row.path.contains('.') && PROJECT.fields.iter().any(|field| field.key == row.path && field.is_map());
        let is_part = row.path.split('.').count() > 3;
        if !(is_plain && (is_element || is_part)) && !rows.iter().any(is_covered) {
            rows.push(row);
        }
    }
    rows
}

fn walk(kind: &Type, prefix: &str, above: Support, rows: &mut Vec<Attribute>) {
    for field in kind.fields {
        let path = format!("{prefix}{}", field.key);
        let support = if above.is_effective() { field.support } else { above };
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
    use std::collections::BTreeSet;

    use super::{Support, support};
    use crate::project::newer::NEWER;
    use crate::project::{FOR_WINDOWS, NOT_KEPT, SECRET_OWNER};

    #[test]
    fn of_a_build_that_is_refused_or_inert_which_the_planner_takes_for_it() {
        let refused = NOT_KEPT.iter().map(|key| ((*key).to_owned(), "refused"));
        let inert = FOR_WINDOWS.iter().map(|key| ((*key).to_owned(), "inert"));
        let owners = SECRET_OWNER.iter().map(|key| (format!("secrets[].{key}"), "inert"));
        let planned: BTreeSet<(String, &str)> = refused.chain(inert).chain(owners).collect();
        let rows = support();
        let parts = rows.iter().filter_map(|row| Some((row.path.strip_prefix("services.*.build.")?.to_owned(), row.support)));
        let has_no_effect = parts.filter(|(_, support)| matches!(support, Support::Inert(_) | Support::Refused(_)));
        assert_eq!(has_no_effect.map(|(path, support)| (path, support.word())).collect::<BTreeSet<_>>(), planned);
    }

    #[test]
    fn what_newer_engines_know_has_the_version_that_placement_asks_for() {
        for newer in NEWER {
            let path = format!("services.*.{}", newer.attribute);
            let (major, minor) = newer.since;
            let rows = support();
            // A kind of mount is a word of the attribute `type`.
            let row = rows.iter().find(|row| row.path == path).expect("the table has every attribute");
            assert_eq!(row.since, format!("{major}.{minor}"), "{path}");
        }
    }
}
