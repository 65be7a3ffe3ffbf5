//! Layers, origins, errors, and secrets that stay secret.

use std::path::{Path, PathBuf};

use jtav_settings::{DEFAULT_TOML, Device, Loader, LogFormat, Origin, Settings, SettingsError, StoreKind};

/// Must appear in no output.
const CANARY: &str = "canary-7f3a";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn message(loader: Loader) -> String {
    loader.load().unwrap_err().to_string()
}

#[test]
fn default_then_file_then_environment_then_flag_and_each_keeps_its_origin() {
    let folder = Folder::new();
    let text = "\n[kafka]\nclient_id = 'file'\ngroup_id = 'file'\nbrokers = 'file:1'\n[router]\nlanes = 3\n";
    let path = folder.file("jtav.toml", text);
    let loaded = Loader::new()
        // The order of the calls does not matter.
        .set("kafka.brokers=flag:1")
        .environment([("JTAV__KAFKA__BROKERS", "variable:1"), ("JTAV__KAFKA__GROUP_ID", "variable"), ("HOME", "/")])
        .file(&path)
        .flag("--device", "model.device", "cuda:1")
        .load()
        .unwrap();
    let kafka = &loaded.settings.kafka;
    assert_eq!(
        (kafka.input_topic.as_str(), kafka.client_id.as_str(), kafka.group_id.as_str(), kafka.brokers.as_str()),
        ("posts", "file", "variable", "flag:1")
    );
    assert_eq!(loaded.settings.model.device, Device::Cuda(1));
    assert_eq!(loaded.settings.router.lane_count(), 3);
    assert_eq!(loaded.origin("kafka.input_topic"), Some(&Origin::Default));
    assert_eq!(loaded.origin("kafka.client_id"), Some(&Origin::File { path, line: 3 }));
    assert_eq!(loaded.origin("kafka.group_id"), Some(&Origin::Environment("JTAV__KAFKA__GROUP_ID".into())));
    assert_eq!(loaded.origin("kafka.brokers"), Some(&Origin::Flag("--set".into())));
    assert_eq!(loaded.origin("model.device"), Some(&Origin::Flag("--device".into())));
    assert_eq!(loaded.origin("kafka.nonsense"), None);
}

#[test]
fn without_layers_the_settings_are_the_defaults() {
    assert_eq!(Loader::new().load().unwrap().settings, Settings::default());
}

#[test]
fn the_default_file_loads_as_a_layer_too() {
    let folder = Folder::new();
    let loaded = Loader::new().file(folder.file("default.toml", DEFAULT_TOML)).load().unwrap();
    assert_eq!(loaded.settings, Settings::default());
}

#[test]
fn of_two_files_the_later_wins() {
    let folder = Folder::new();
    let first = folder.file("a.toml", "[log]\nfilter = 'a'\nformat = 'json'\n");
    let second = folder.file("b.toml", "[log]\nfilter = 'b'\n");
    let settings = Loader::new().file(first).file(second).load().unwrap().settings;
    assert_eq!((settings.log.filter.as_str(), settings.log.format), ("b", LogFormat::Json));
}

#[test]
fn an_unknown_key_names_itself_its_place_and_the_nearest_key() {
    let folder = Folder::new();
    let path = folder.file("jtav.toml", "[kafka]\n\nbroker = 'x:1'\n");
    let error = message(Loader::new().file(&path));
    for part in ["`kafka.broker`", &format!("{}:3", path.display()), "`kafka.brokers`"] {
        assert!(error.contains(part), "{error}");
    }
    let error = message(Loader::new().environment([("JTAV__MEDIA__MAX_IMAGE_BYTE", "1")]));
    assert!(
        error.contains("`JTAV__MEDIA__MAX_IMAGE_BYTE`") && error.contains("`JTAV__MEDIA__MAX_IMAGE_BYTES`"),
        "{error}"
    );
    let error = message(Loader::new().set("ingest.drain_timeout=5"));
    assert!(
        error.contains("`ingest.drain_timeout` (flag --set)") && error.contains("`ingest.drain_timeout_ms`"),
        "{error}"
    );
    let error = message(Loader::new().file(folder.file("section.toml", "[kafak]\n")));
    assert!(error.contains("`kafak`") && error.contains("nearest key"), "{error}");
    let error = message(Loader::new().file(folder.file("top.toml", "brokers = 'x:1'\n")));
    assert!(error.contains("`brokers`") && error.contains("`kafka.brokers`"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_names_key_origin_and_what_was_expected() {
    let folder = Folder::new();
    let path = folder
        .file("jtav.toml", "[ingest]\nmax_in_flight_posts = 'many'\n[kafka]\nbrokers = 9092\n[media]\nallow = 1\n");
    let error = message(Loader::new().file(&path));
    assert!(error.contains("3 problems"), "{error}");
    assert!(error.contains(&format!("`ingest.max_in_flight_posts` (file {}:2)", path.display())), "{error}");
    assert!(error.contains("expected a whole number, found a text"), "{error}");
    assert!(error.contains("expected a text, found a whole number"), "{error}");
    assert!(error.contains("expected a list, found a whole number"), "{error}");
    for (variable, value, part) in [
        ("JTAV__ROUTER__LANES", "two", "expected a whole number, found `two`"),
        ("JTAV__ROUTER__LANES", "-1", "-1"),
        ("JTAV__ROUTER__LANES", "99999999999999999999", "expected a whole number"),
        ("JTAV__ROUTER__ATTEMPTS", "4294967296", "4294967296"),
        ("JTAV__MODEL__STUB", "yes", "expected true or false, found `yes`"),
        ("JTAV__MODEL__DEVICE", "gpu", "`gpu` is no device"),
        ("JTAV__STORE__KIND", "memory", "`memory`"),
        ("JTAV__MEDIA__ALLOW", "127.0.0.1", "`127.0.0.1` is not an IP address and port"),
        ("JTAV__MEDIA__ALLOW", "media.example:80", "`media.example:80`"),
        ("JTAV__MEDIA__ALLOW", "[1, 2", "expected a list"),
        ("JTAV__ADMIN__LISTEN", "9600", "`9600`"),
        ("JTAV__KAFKA", "x", "section"),
        ("JTAV__KAFKA__LIBRDKAFKA", "x", "section"),
    ] {
        let error = message(Loader::new().environment([(variable, value)]));
        assert!(error.contains(variable) && error.contains(part), "{variable}={value}: {error}");
    }
}

#[test]
fn every_wrong_value_is_named_not_only_the_first() {
    let error =
        message(Loader::new().set("model.device=gpu").set("store.kind=memory").set("router.lanes=x").set("nokey"));
    for part in ["4 problems", "`model.device`", "`store.kind`", "`router.lanes`", "`nokey` has no `=`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_not_there_says_so() {
    let folder = Folder::new();
    let error = message(Loader::new().file(folder.file("bad.toml", "[kafka]\nbrokers = \n")));
    assert!(error.contains("bad.toml") && error.contains("line 2"), "{error}");
    // The line may hold a password.
    let error =
        message(Loader::new().file(folder.file("bare.toml", &format!("[store]\nurl = redis://:{CANARY}@host\n"))));
    assert!(error.contains("line 2") && !error.contains(CANARY), "{error}");
    let error = message(Loader::new().file("/nowhere/jtav.toml"));
    assert!(error.contains("/nowhere/jtav.toml"), "{error}");
}

#[test]
fn texts_of_the_environment_are_read_as_the_key_wants() {
    let loaded = Loader::new()
        .environment([
            ("JTAV__MEDIA__ALLOW", "127.0.0.1:80, [::1]:81"),
            ("JTAV__MODEL__STUB", "true"),
            ("JTAV__STORE__KIND", "embedded"),
            ("JTAV__CACHE__MAX_BYTES", "0"),
            ("JTAV__KAFKA__GROUP_INSTANCE_ID", "worker-0"),
            ("JTAV__KAFKA__GROUP_ID", "42"),
        ])
        .load()
        .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.media.allow, ["127.0.0.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    assert_eq!((settings.model.stub, settings.store.kind, settings.cache.max_bytes), (true, StoreKind::Embedded, 0));
    assert_eq!(settings.kafka.group_instance_id.as_deref(), Some("worker-0"));
    assert_eq!(settings.kafka.group_id, "42");
    let by_toml = Loader::new().set("media.allow=[\"127.0.0.1:80\", \"[::1]:81\"]").load().unwrap();
    assert_eq!(by_toml.settings.media.allow, settings.media.allow);
    let emptied = Loader::new().set("media.allow=").load().unwrap();
    assert!(emptied.settings.media.allow.is_empty());
}

#[test]
fn librdkafka_properties_come_through_from_every_layer() {
    let folder = Folder::new();
    let path = folder.file(
        "jtav.toml",
        "[kafka.librdkafka]\n\"security.protocol\" = 'SASL_SSL'\nsocket.timeout.ms = 5000\n\"enable.idempotence\" = true\n",
    );
    let loaded = Loader::new()
        .file(&path)
        .environment([("JTAV__KAFKA__LIBRDKAFKA__SASL_USERNAME", "jtav")])
        .set("kafka.librdkafka.ssl.ca.location=/etc/ssl/ca.pem")
        .load()
        .unwrap();
    let properties: Vec<(&str, &str)> = loaded.settings.kafka.librdkafka.expose().collect();
    assert_eq!(
        properties,
        [
            ("enable.idempotence", "true"),
            ("sasl.username", "jtav"),
            ("security.protocol", "SASL_SSL"),
            ("socket.timeout.ms", "5000"),
            ("ssl.ca.location", "/etc/ssl/ca.pem"),
        ]
    );
    let origin = loaded.origin("kafka.librdkafka.socket.timeout.ms").unwrap();
    assert_eq!(origin, &Origin::File { path, line: 3 });
    let error = message(Loader::new().file(folder.file("list.toml", "[kafka.librdkafka]\nx = [1]\n")));
    assert!(error.contains("kafka.librdkafka.x") && error.contains("found a list"), "{error}");
}

#[test]
fn a_secret_is_read_from_the_file_that_its_variable_names() {
    let folder = Folder::new();
    let url = folder.file("url", &format!("redis://:{CANARY}@redis:6379/0\n"));
    let password = folder.file("password", &format!("{CANARY}\r\n"));
    let loaded = Loader::new()
        .environment([("JTAV__STORE__URL_FILE", &url), ("JTAV__KAFKA__LIBRDKAFKA__SASL_PASSWORD_FILE", &password)])
        .load()
        .unwrap();
    assert_eq!(loaded.settings.store.url.expose(), format!("redis://:{CANARY}@redis:6379/0"));
    assert_eq!(loaded.settings.kafka.librdkafka.expose().next(), Some(("sasl.password", CANARY)));
    assert_eq!(loaded.origin("store.url").unwrap().to_string(), "environment JTAV__STORE__URL_FILE");
}

#[test]
fn a_secret_set_twice_or_in_a_missing_file_is_an_error() {
    let error = message(Loader::new().environment([("JTAV__STORE__URL_FILE", "/nowhere/url")]));
    assert!(error.contains("JTAV__STORE__URL_FILE") && error.contains("/nowhere/url"), "{error}");
    let folder = Folder::new();
    let file = folder.file("url", "redis://a");
    let both = [("JTAV__STORE__URL", Path::new("redis://b")), ("JTAV__STORE__URL_FILE", file.as_path())];
    let error = message(Loader::new().environment(both));
    assert!(error.contains("`JTAV__STORE__URL` and `JTAV__STORE__URL_FILE` are both set"), "{error}");
}

#[test]
fn secrets_are_in_no_output() {
    let loaded = Loader::new()
        .set(format!("store.url=redis://u:{CANARY}@redis:6379/0"))
        .set(format!("kafka.librdkafka.sasl.password={CANARY}"))
        .set(format!("kafka.librdkafka.ssl.key.password={CANARY}"))
        .set("kafka.librdkafka.sasl.username=jtav")
        .load()
        .unwrap();
    let outputs = [
        loaded.show_effective(),
        loaded.show_effective_json(),
        format!("{loaded:?}"),
        format!("{:?}", loaded.settings),
        serde_json::to_string(&loaded.settings).unwrap(),
    ];
    for output in &outputs {
        assert!(!output.contains(CANARY), "{output}");
        assert!(output.contains("***") && output.contains("sasl.password"), "{output}");
    }
}

#[test]
fn the_effective_configuration_shows_every_key_with_its_origin() {
    let loaded = Loader::new()
        .environment([("JTAV__ADMIN__LISTEN", "127.0.0.1:1")])
        .set("kafka.librdkafka.sasl.username=jtav")
        .load()
        .unwrap();
    let shown = loaded.show_effective();
    for line in [
        "[kafka]",
        "brokers = \"127.0.0.1:9092\"  # default",
        "[kafka.librdkafka]",
        "\"sasl.username\" = \"jtav\"  # flag --set",
        "listen = \"127.0.0.1:1\"  # environment JTAV__ADMIN__LISTEN",
        "allow = []  # default",
        "max_in_flight_posts = 512  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no line `{line}` in:\n{shown}");
    }
    // Without secrets it reads back as the same configuration.
    let folder = Folder::new();
    let again = Loader::new().file(folder.file("shown.toml", &shown)).load().unwrap();
    assert_eq!(again.settings, loaded.settings);

    let json: serde_json::Value = serde_json::from_str(&loaded.show_effective_json()).unwrap();
    assert_eq!(json["admin.listen"]["origin"], "environment JTAV__ADMIN__LISTEN");
    assert_eq!(json["ingest.max_in_flight_posts"]["value"], 512);
    assert_eq!(json["kafka.librdkafka.sasl.username"]["value"], "jtav");
    assert!(!loaded.show_effective_json().contains('\n'));
}

#[test]
fn a_broken_rule_says_where_its_values_came_from() {
    let error = Loader::new().set("shutdown.shutdown_timeout_ms=5").load().unwrap_err();
    let SettingsError::Rules(violations) = &error else { panic!("{error}") };
    assert_eq!(violations.len(), 1);
    let text = error.to_string();
    assert!(text.contains("shutdown.shutdown_timeout_ms: flag --set; ingest.drain_timeout_ms: default"), "{text}");
    // It can still be shown.
    let parsed = Loader::new().set("shutdown.shutdown_timeout_ms=5").parse().unwrap();
    assert!(parsed.show_effective().contains("shutdown_timeout_ms = 5  # flag --set"));
}

#[test]
fn exit_codes_tell_wrong_flags_from_wrong_configuration() {
    assert_eq!(Loader::new().set("nonsense=1").load().unwrap_err().exit_code(), 2);
    assert_eq!(Loader::new().environment([("JTAV__NONSENSE", "1")]).load().unwrap_err().exit_code(), 78);
    assert_eq!(Loader::new().file("/nowhere").load().unwrap_err().exit_code(), 78);
    assert_eq!(Loader::new().set("router.attempts=0").load().unwrap_err().exit_code(), 78);
}

#[test]
fn the_overlays_load_and_keep_every_rule() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let development = Loader::new().file(config.join("development.toml")).load().unwrap().settings;
    assert_eq!(development.store.kind, StoreKind::Embedded);
    let production = Loader::new().file(config.join("production.toml")).load().unwrap().settings;
    assert_eq!((production.store.kind, production.log.format), (StoreKind::Redis, LogFormat::Json));
    assert!(!production.model.stub && production.media.allow.is_empty());
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever a layer says, the answer is settings or an error, and an unknown key is never passed over.
        #[test]
        fn any_flag_gives_settings_or_an_error(key in "[a-z_.]{0,30}", value in ".{0,20}") {
            let result = Loader::new().set(format!("{key}={value}")).load();
            if let Ok(loaded) = result {
                prop_assert!(loaded.origin(&key).is_some());
            }
        }

        #[test]
        fn any_file_gives_settings_or_an_error(text in "(\\[[a-z.]{1,8}\\]\n|[a-z_.]{1,12} = [0-9a-z\"'{}\\[\\]]{0,8}\n){0,6}") {
            let folder = Folder::new();
            let _ = Loader::new().file(folder.file("any.toml", &text)).load();
        }
    }
}
