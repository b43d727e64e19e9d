//! The attributes of a service.

use super::{
    COMMAND, EMPTY_HOOK, EXTRA_HOSTS, Form, Json, Others, SCALAR_OR_NULL, Shape, TEXT, TEXT_LIST, TEXT_OR_INTEGER,
    TEXT_OR_NUMBER, TEXT_SET, Type, bytes, command, decimal, dict, duration, env, field, flag, integer, map, number, object,
    objects, options, text, text_or_texts, text_set, texts, words,
};

use crate::project::{BUILDKIT_OWNS, LINUX_HAS_NONE, NO_ATTESTATIONS};

const MODELS: &str = "models are run by Docker's model runner, which mcompose does not drive";

pub(in crate::composefile) const SERVICE: Type = Type::new(&[
    text_set("profiles"),
    dict("annotations").since("1.43"),
    flag("attach").keeps_zero(),
    object("build", Shape::AnyOf(&[TEXT, Shape::Object(&BUILD)]), &BUILD)
        .translated("one engine builds, and the image is shipped to the others"),
    object("develop", OBJECT_OR_NULL_DEVELOP, &DEVELOP).note("for `watch`"),
    object("blkio_config", Shape::Object(&BLKIO), &BLKIO),
    text_set("cap_add"),
    text_set("cap_drop"),
    text("cgroup_parent"),
    words("cgroup", &["host", "private"]),
    field("cpu_count", Shape::TextWithin(0, i64::MAX), Form::Int),
    field("cpu_percent", Shape::TextWithin(0, 100), Form::Float),
    number("cpu_period"),
    number("cpu_quota"),
    number("cpu_rt_period"),
    number("cpu_rt_runtime"),
    decimal("cpus"),
    text("cpuset"),
    number("cpu_shares"),
    command("command").json(Json::OrNull),
    objects("configs", Shape::Unique(&Shape::AnyOf(&[TEXT, Shape::Object(&GRANT)])), &GRANT).translated(DELIVERED),
    field(
        "container_name",
        Shape::Ruled(is_container_name, "have a letter or digit with another, `_`, `.` or `-` behind it"),
        Form::Text,
    ),
    object("credential_spec", Shape::Object(&CREDENTIAL_SPEC), &CREDENTIAL_SPEC).inert("it is for Windows containers"),
    map("depends_on", Shape::AnyOf(&[TEXT_SET, Shape::Names(&Shape::Object(&DEPENDENCY))]), &DEPENDENCY),
    object("deploy", Shape::AnyOf(&[Shape::Object(&DEPLOY), Shape::Null]), &DEPLOY),
    text_set("device_cgroup_rules"),
    objects("devices", Shape::List(&Shape::AnyOf(&[TEXT, Shape::Object(&DEVICE)])), &DEVICE),
    text_or_texts("dns"),
    text_set("dns_opt"),
    text_or_texts("dns_search"),
    text("domainname"),
    command("entrypoint").json(Json::OrNull),
    object("provider", Shape::Object(&PROVIDER), &PROVIDER).refused("providers are programs beside docker compose"),
    env("environment"),
    objects("env_file", Shape::AnyOf(&[TEXT, Shape::List(&Shape::AnyOf(&[TEXT, Shape::Object(&ENV_FILE)]))]), &ENV_FILE),
    field("expose", Shape::Unique(&TEXT_OR_NUMBER), Form::Texts),
    field("extends", Shape::AnyOf(&[TEXT, Shape::Object(&EXTENDS)]), Form::Consumed),
    text_set("external_links"),
    field("extra_hosts", EXTRA_HOSTS, Form::ExtraHosts),
    field("group_add", Shape::Unique(&TEXT_OR_NUMBER), Form::Texts),
    objects("gpus", Shape::AnyOf(&[Shape::Words(&["all"]), Shape::List(&Shape::Object(&DEVICE_REQUEST))]), &DEVICE_REQUEST),
    text("hostname"),
    object("healthcheck", Shape::Object(&HEALTHCHECK), &HEALTHCHECK),
    text("image"),
    flag("init").keeps_zero(),
    text("ipc"),
    text("isolation"),
    dict("labels"),
    field("label_file", Shape::AnyOf(&[TEXT, TEXT_LIST]), Form::Texts),
    text_set("links"),
    object("logging", Shape::Object(&LOGGING), &LOGGING),
    bytes("mem_limit"),
    bytes("mem_reservation").shape(TEXT_OR_INTEGER),
    bytes("memswap_limit"),
    bytes("mem_swappiness").shape(TEXT_OR_INTEGER),
    text("mac_address").note("of the first network"),
    map(
        "models",
        Shape::AnyOf(&[TEXT_SET, Shape::Names(&Shape::AnyOf(&[Shape::Object(&SERVICE_MODEL), Shape::Null]))]),
        &SERVICE_MODEL,
    )
    .refused(MODELS),
    text("network_mode"),
    map(
        "networks",
        Shape::AnyOf(&[TEXT_SET, Shape::Names(&Shape::AnyOf(&[Shape::Object(&ATTACHMENT), Shape::Null]))]),
        &ATTACHMENT,
    ),
    flag("oom_kill_disable"),
    field("oom_score_adj", Shape::TextWithin(-1000, 1000), Form::Int),
    field("pid", Shape::AnyOf(&[TEXT, Shape::Null]), Form::Text),
    number("pids_limit"),
    text("platform"),
    objects("ports", Shape::Unique(&Shape::AnyOf(&[Shape::Number, TEXT, Shape::Object(&PORT)])), &PORT),
    flag("privileged"),
    field(
        "pull_policy",
        Shape::Ruled(
            is_pull_policy,
            "be always, never, build, missing, if_not_present, refresh, daily, weekly or every_ with a time such as 12h",
        ),
        Form::Text,
    )
    .note("`refresh` without an age pulls a missing image; `pull` refreshes it"),
    field("pull_refresh_after", TEXT, Form::Consumed).inert("`pull` refreshes images; `up` pulls missing ones"),
    flag("read_only"),
    text("restart").note("across hosts the supervisor starts lost replicas elsewhere"),
    text("runtime"),
    integer("scale").keeps_zero(),
    objects("secrets", Shape::Unique(&Shape::AnyOf(&[TEXT, Shape::Object(&GRANT)])), &GRANT).translated(DELIVERED),
    text_set("security_opt").note("a seccomp profile is read here and sent as text"),
    bytes("shm_size"),
    flag("stdin_open"),
    duration("stop_grace_period").keeps_zero(),
    text("stop_signal"),
    field("storage_opt", Shape::Map(&Shape::AnyOf(&[TEXT, Shape::Integer, Shape::Null])), Form::Dict),
    dict("sysctls"),
    text_or_texts("tmpfs"),
    flag("tty"),
    field("ulimits", ULIMITS, Form::Ulimits),
    field("use_api_socket", Shape::Bool, Form::Flag).refused("the credentials it hands over stay on this machine"),
    text("user"),
    text("userns_mode"),
    text("uts").note("`service:NAME` is refused: the engine shares this namespace with the host only"),
    objects("volumes", Shape::Unique(&Shape::AnyOf(&[TEXT, Shape::Object(&MOUNT)])), &MOUNT)
        .translated("files and folders of the project are carried to the hosts"),
    text_set("volumes_from"),
    text("working_dir"),
    objects("pre_start", Shape::List(&Shape::Object(&PRE_START)), &PRE_START)
        .note("on the host of the replica that starts first"),
    objects("post_start", Shape::List(&Shape::Object(&HOOK)), &HOOK),
    objects("pre_stop", Shape::List(&Shape::Object(&HOOK)), &HOOK),
]);

const OBJECT_OR_NULL_DEVELOP: Shape = Shape::AnyOf(&[Shape::Object(&DEVELOP), Shape::Null]);

const ULIMITS: Shape = Shape::Map(&Shape::AnyOf(&[TEXT_OR_INTEGER, Shape::Object(&ULIMIT)]));

/// A pair of limits.
pub(in crate::composefile) const ULIMIT: Type = Type::new(&[integer("soft").required(), integer("hard").required()]);

const PAIR: Shape = Shape::Ruled(|text| text.contains('='), "be KEY=VALUE");
const SSH_KEY: Shape = Shape::Ruled(|text| text == "default" || text.contains('='), "be `default` or ID=PATH");

const BUILD: Type = Type::new(&[
    text("context"),
    text("dockerfile"),
    text("dockerfile_inline"),
    texts("entitlements").note("as far as the engine allows them"),
    env("args"),
    field("provenance", Shape::AnyOf(&[TEXT, Shape::Bool]), Form::Text).refused(NO_ATTESTATIONS),
    field("sbom", Shape::AnyOf(&[TEXT, Shape::Bool]), Form::Text).refused(NO_ATTESTATIONS),
    field("ssh", Shape::AnyOf(&[Shape::Map(&SCALAR_OR_NULL), Shape::Unique(&SSH_KEY)]), Form::Ssh)
        .note("agents; a key goes into one with `ssh-add`"),
    dict("labels"),
    texts("cache_from").note("images"),
    texts("cache_to").note("`type=inline`"),
    flag("no_cache"),
    field("no_cache_filter", Shape::AnyOf(&[TEXT, TEXT_SET]), Form::Texts),
    field("additional_contexts", Shape::AnyOf(&[Shape::Keyed(&TEXT), Shape::Unique(&PAIR)]), Form::Dict)
        .note("folders, URLs, images and services; no `oci-layout://`"),
    flag("pull"),
    field("extra_hosts", EXTRA_HOSTS, Form::ExtraHosts),
    text("isolation").inert(LINUX_HAS_NONE),
    text("network"),
    text("target"),
    objects("secrets", Shape::Unique(&Shape::AnyOf(&[TEXT, Shape::Object(&BUILD_GRANT)])), &BUILD_GRANT)
        .note("`file` and `environment`"),
    bytes("shm_size").shape(TEXT_OR_INTEGER),
    texts("tags"),
    field("ulimits", ULIMITS, Form::Ulimits),
    texts("platforms").note("the one that the hosts have"),
    flag("privileged").note("allows `RUN --security=insecure`, where the engine does"),
]);

const DEVELOP: Type = Type::new(&[objects("watch", Shape::List(&Shape::Object(&WATCH_RULE)), &WATCH_RULE)]);

const WATCH_RULE: Type = Type::new(&[
    text("path").required(),
    words("action", &["rebuild", "sync", "restart", "sync+restart", "sync+exec"]).required(),
    text("target"),
    object("exec", Shape::Object(&HOOK), &HOOK).json(Json::Or(EMPTY_HOOK)),
    text_or_texts("include"),
    text_or_texts("ignore"),
    field("initial_sync", Shape::Bool, Form::Flag),
]);

const BLKIO: Type = Type::strict(&[
    integer("weight").shape(Shape::Within(0, 65535)),
    objects("weight_device", Shape::List(&Shape::Object(&BLKIO_WEIGHT)), &BLKIO_WEIGHT),
    objects("device_read_bps", BLKIO_LIMITS, &BLKIO_LIMIT),
    objects("device_read_iops", BLKIO_LIMITS, &BLKIO_LIMIT),
    objects("device_write_bps", BLKIO_LIMITS, &BLKIO_LIMIT),
    objects("device_write_iops", BLKIO_LIMITS, &BLKIO_LIMIT),
]);

const BLKIO_LIMITS: Shape = Shape::List(&Shape::Object(&BLKIO_LIMIT));

const BLKIO_LIMIT: Type = Type::strict(&[
    text("path").implies_zero().json(Json::Renamed("Path")),
    bytes("rate").shape(TEXT_OR_INTEGER).implies_zero().json(Json::Renamed("Rate")),
]);

const BLKIO_WEIGHT: Type = Type::strict(&[
    text("path").implies_zero().json(Json::Renamed("Path")),
    integer("weight").shape(Shape::Within(0, 65535)).implies_zero().json(Json::Renamed("Weight")),
]);

const DELIVERED: &str = "files are carried to the hosts";
const OWNER: &str = "of what is carried; a `file` on a host that is this machine keeps its own";

/// An entry of `configs` or `secrets` of a service.
const GRANT: Type = Type::new(&[
    text("source"),
    text("target"),
    text("uid").note(OWNER),
    text("gid").note(OWNER),
    field("mode", TEXT_OR_NUMBER, Form::Mode).keeps_zero().note(OWNER),
]);

/// An entry of `secrets` of a build.
const BUILD_GRANT: Type = Type::new(&[
    text("source"),
    text("target"),
    text("uid").inert(BUILDKIT_OWNS),
    text("gid").inert(BUILDKIT_OWNS),
    field("mode", TEXT_OR_NUMBER, Form::Mode).keeps_zero().inert(BUILDKIT_OWNS),
]);

const CREDENTIAL_SPEC: Type = Type::new(&[text("config"), text("file"), text("registry")]);

const DEPENDENCY: Type = Type::new(&[
    words("condition", &["service_started", "service_healthy", "service_completed_successfully"]).required(),
    flag("restart"),
    field("required", Shape::Bool, Form::Flag).keeps_zero(),
]);

const DEPLOY: Type = Type::new(&[
    text("mode"),
    integer("replicas").keeps_zero(),
    dict("labels").inert("there is no swarm service to label"),
    object("update_config", Shape::Object(&UPDATE_CONFIG), &UPDATE_CONFIG),
    object("rollback_config", Shape::Object(&UPDATE_CONFIG), &UPDATE_CONFIG),
    object("resources", Shape::Object(&RESOURCES), &RESOURCES).json(Json::Or("{}")),
    object("restart_policy", Shape::Object(&RESTART_POLICY), &RESTART_POLICY),
    object("placement", Shape::Object(&PLACEMENT), &PLACEMENT).json(Json::Or("{}")),
    text("endpoint_mode").inert("a name stands for all replicas' addresses"),
]);

const UPDATE_CONFIG: Type = Type::new(&[
    field("parallelism", TEXT_OR_INTEGER, Form::Count).keeps_zero(),
    duration("delay"),
    text("failure_action"),
    duration("monitor"),
    decimal("max_failure_ratio"),
    words("order", &["start-first", "stop-first"]),
]);

const RESOURCES: Type = Type::new(&[
    object("limits", Shape::Object(&LIMITS), &LIMITS),
    object("reservations", Shape::Object(&RESERVATIONS), &RESERVATIONS),
]);

const LIMITS: Type = Type::new(&[decimal("cpus"), bytes("memory").shape(TEXT), integer("pids")]);

const RESERVATIONS: Type = Type::new(&[
    decimal("cpus"),
    bytes("memory").shape(TEXT),
    objects("devices", Shape::List(&Shape::Object(&DEVICE_RESERVATION)), &DEVICE_RESERVATION),
    objects("generic_resources", Shape::List(&Shape::Object(&GENERIC_RESOURCE)), &GENERIC_RESOURCE),
]);

/// The specification lets other keys through.
const DEVICE_REQUEST: Type = Type {
    fields: &[
        text_set("capabilities"),
        text("driver"),
        field("count", TEXT_OR_INTEGER, Form::DeviceCount),
        text_set("device_ids"),
        dict("options"),
    ],
    others: Others::All,
};

const DEVICE_RESERVATION: Type = Type::new(&[
    text_set("capabilities").required(),
    text("driver"),
    field("count", TEXT_OR_INTEGER, Form::DeviceCount),
    text_set("device_ids"),
    dict("options"),
]);

const GENERIC_RESOURCE: Type =
    Type::new(&[object("discrete_resource_spec", Shape::Object(&DISCRETE_RESOURCE), &DISCRETE_RESOURCE)]);

const DISCRETE_RESOURCE: Type = Type::new(&[text("kind").implies_zero(), number("value").implies_zero()]);

const RESTART_POLICY: Type = Type::new(&[
    text("condition"),
    duration("delay")
        .keeps_zero()
        .note("before the starts that a supervisor makes; the host's engine restarts with a delay of its own"),
    field("max_attempts", TEXT_OR_INTEGER, Form::Count)
        .keeps_zero()
        .note("the host's engine counts for `on-failure`; else a supervisor, which then stops what the engine starts again"),
    duration("window").keeps_zero().note("by a supervisor: who ran for so long, and for 10 s at least, has its attempts anew"),
]);

const PLACEMENT: Type = Type::new(&[
    texts("constraints"),
    objects("preferences", Shape::List(&Shape::Object(&PREFERENCE)), &PREFERENCE),
    field("max_replicas_per_node", TEXT_OR_INTEGER, Form::Count),
]);

const PREFERENCE: Type = Type::new(&[text("spread")]);

const DEVICE: Type = Type::new(&[text("source").required(), text("target"), text("permissions")]);

const PROVIDER: Type = Type::new(&[
    text("type").required(),
    field("options", Shape::Map(&Shape::AnyOf(&[OPTION, Shape::List(&OPTION)])), Form::Lists),
]);

const OPTION: Shape = Shape::AnyOf(&[TEXT, Shape::Number, Shape::Bool]);

const ENV_FILE: Type = Type::strict(&[
    text("path").required(),
    field("required", Shape::AnyOf(&[Shape::Bool, TEXT]), Form::Flag).keeps_zero(),
    text("format"),
]);

const EXTENDS: Type = Type::new(&[text("service").required(), text("file")]);

const HEALTHCHECK: Type = Type::new(&[
    field("test", Shape::AnyOf(&[TEXT, TEXT_LIST]), Form::HealthTest),
    duration("timeout").keeps_zero(),
    duration("interval").keeps_zero(),
    field("retries", TEXT_OR_NUMBER, Form::Count).keeps_zero(),
    duration("start_period").keeps_zero(),
    duration("start_interval").keeps_zero().since("1.44").note("on older engines it is inert, and that is said"),
    flag("disable"),
]);

const LOGGING: Type =
    Type::new(&[text("driver"), options("options").shape(Shape::Map(&Shape::AnyOf(&[TEXT, Shape::Number, Shape::Null])))]);

const SERVICE_MODEL: Type = Type::new(&[text("endpoint_var"), text("model_var")]);

const ATTACHMENT: Type = Type::new(&[
    text_set("aliases"),
    options("driver_opts"),
    field("gw_priority", Shape::Number, Form::Int).since("1.48"),
    text("interface_name").since("1.49"),
    text("ipv4_address"),
    text("ipv6_address"),
    text_set("link_local_ips"),
    text("mac_address").since("1.44").note("older engines take one for the container"),
    field("priority", Shape::Number, Form::Int),
]);

const PORT: Type = Type::new(&[
    text("name"),
    text("mode"),
    text("host_ip"),
    field("target", TEXT_OR_INTEGER, Form::Count),
    field("published", TEXT_OR_INTEGER, Form::Text),
    text("protocol"),
    text("app_protocol"),
]);

const MOUNT: Type = Type::new(&[
    words("type", &["bind", "volume", "tmpfs", "cluster", "npipe", "image"]).required(),
    text("source"),
    text("target"),
    flag("read_only"),
    text("consistency"),
    object("bind", Shape::Object(&MOUNT_BIND), &MOUNT_BIND),
    object("volume", Shape::Object(&MOUNT_VOLUME), &MOUNT_VOLUME),
    object("tmpfs", Shape::Object(&MOUNT_TMPFS), &MOUNT_TMPFS),
    object("image", Shape::Object(&MOUNT_IMAGE), &MOUNT_IMAGE).since("1.48"),
]);

const MOUNT_BIND: Type = Type::new(&[
    words("selinux", &["z", "Z"]),
    text("propagation"),
    flag("create_host_path")
        .keeps_zero()
        .json(Json::TrueOnly)
        .note("with `propagation` an engine before API 1.42 does not make a missing path, and refuses"),
    words("recursive", &["enabled", "disabled", "writable", "readonly"]).since("1.44"),
]);

const MOUNT_VOLUME: Type = Type::new(&[dict("labels"), flag("nocopy"), text("subpath").since("1.45")]);

const MOUNT_TMPFS: Type = Type::new(&[
    bytes("size").shape(Shape::AnyOf(&[Shape::Within(0, i64::MAX), TEXT])),
    field("mode", Shape::Number, Form::Count),
]);

const MOUNT_IMAGE: Type = Type::new(&[text("subpath").since("1.48")]);

const HOOK: Type = Type::new(&[
    field("command", COMMAND, Form::Command).required().json(Json::OrNull),
    text("user"),
    flag("privileged"),
    text("working_dir"),
    env("environment"),
]);

const PRE_START: Type = Type::new(&[
    field("command", COMMAND, Form::Command).json(Json::OrNull),
    text("user"),
    flag("privileged"),
    text("working_dir"),
    env("environment"),
    text("image"),
    flag("per_replica").keeps_zero(),
]);

/// The specification's pattern is not anchored: the rest of the name is for the engine to judge.
fn is_container_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && is_inner(pair[1]))
}

/// The specification's pattern is not anchored: it looks for a policy anywhere in the text.
fn is_pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let is_time = |rest: &str| {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        after.len() < rest.len() && after.starts_with(['w', 'd', 'h', 'm', 's'])
    };
    WORDS.iter().any(|word| text.contains(word))
        || text.match_indices("every_").any(|(at, word)| is_time(&text[at + word.len()..]))
}
