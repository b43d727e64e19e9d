//! mcompose on several real engines.

mod harness;

mod harness_itself;
