//! The top-level elements and their attributes, those of a service apart.

use super::service_types::SERVICE;
use super::{Form, Json, Others, Shape, TEXT, TEXT_SET, Type, dict, field, flag, map, object, objects, options, text, texts};

/// The whole document.
pub(in crate::composefile) const PROJECT: Type = Type::new(&[
    field("version", TEXT, Form::Consumed).inert("every file is read by the current specification"),
    text("name"),
    map("services", Shape::Names(&Shape::Object(&SERVICE)), &SERVICE),
    map("networks", Shape::Map(&Shape::AnyOf(&[Shape::Object(&NETWORK), Shape::Null])), &NETWORK)
        .translated("a bridge is an overlay network where there are several hosts"),
    map("volumes", Shape::Names(&Shape::AnyOf(&[Shape::Object(&VOLUME), Shape::Null])), &VOLUME),
    map("secrets", Shape::Names(&Shape::Object(&SECRET)), &SECRET),
    map("configs", Shape::Names(&Shape::Object(&CONFIG)), &CONFIG),
    map("models", Shape::Map(&Shape::Object(&MODEL)), &MODEL)
        .refused("models are run by Docker's model runner, which mcompose does not drive"),
    field("include", Shape::List(&Shape::AnyOf(&[TEXT, Shape::Object(&INCLUDE)])), Form::Consumed),
]);

const INCLUDE: Type = Type::new(&[
    field("path", TEXT_OR_LIST, Form::Consumed),
    field("env_file", TEXT_OR_LIST, Form::Consumed),
    field("project_directory", TEXT, Form::Consumed),
]);

const TEXT_OR_LIST: Shape = Shape::AnyOf(&[TEXT, TEXT_SET]);

/// `true`, or a mapping that says so and may name the thing.
const EXTERNAL: Shape = Shape::AnyOf(&[Shape::Bool, TEXT, Shape::Object(&EXTERNAL_NAME)]);
const EXTERNAL_NAME: Type = Type::new(&[text("name")]);
/// For configs and secrets the specification lets other keys through.
const EXTERNAL_OPEN: Shape = Shape::AnyOf(&[Shape::Bool, TEXT, Shape::Object(&EXTERNAL_NAME_OPEN)]);
const EXTERNAL_NAME_OPEN: Type = Type { fields: &[text("name")], others: Others::All };

pub(in crate::composefile) const NETWORK: Type = Type::new(&[
    text("name"),
    text("driver"),
    options("driver_opts").note("those of a bridge are inert where the network crosses hosts"),
    object("ipam", Shape::Object(&IPAM), &IPAM).json(Json::Or("{}")),
    field("external", EXTERNAL, Form::Flag).note("it must be there on the host"),
    flag("internal"),
    flag("attachable"),
    dict("labels"),
    flag("enable_ipv4").keeps_zero().since("1.48"),
    flag("enable_ipv6").keeps_zero(),
]);

const IPAM: Type = Type::new(&[
    text("driver"),
    objects("config", Shape::List(&Shape::Object(&IPAM_POOL)), &IPAM_POOL),
    field("options", Shape::Map(&TEXT), Form::Dict),
]);

const IPAM_POOL: Type =
    Type::new(&[text("subnet"), text("gateway"), text("ip_range"), field("aux_addresses", Shape::Map(&TEXT), Form::Dict)]);

pub(in crate::composefile) const VOLUME: Type = Type::new(&[
    text("name"),
    text("driver"),
    options("driver_opts"),
    field("external", EXTERNAL, Form::Flag).note("it must be there on the host"),
    dict("labels"),
]);

const DRIVERS: &str = "external and driver-made ones belong to swarm services";

const SECRET: Type = Type::new(&[
    text("name"),
    text("file"),
    text("environment"),
    field("external", EXTERNAL_OPEN, Form::Flag).refused(DRIVERS),
    dict("labels"),
    text("driver").refused(DRIVERS),
    options("driver_opts").refused(DRIVERS),
    text("template_driver").refused(DRIVERS),
]);

const CONFIG: Type = Type::new(&[
    text("name"),
    text("file"),
    text("environment"),
    text("content"),
    field("external", EXTERNAL_OPEN, Form::Flag).refused(DRIVERS),
    dict("labels"),
    text("template_driver").refused(DRIVERS),
]);

const MODEL: Type = Type::new(&[
    text("name"),
    text("model").required(),
    field("context_size", Shape::Integer, Form::Int),
    texts("runtime_flags"),
]);
