use super::*;
use engine::Origins;

fn parse_with(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> Result<Command, Exit> {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let find =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let read = |path: &str| match path {
        "downbeat.toml" => Ok(file.to_owned()),
        _ => Err("no such file".to_owned()),
    };
    parse(&Sources { arguments: &arguments, environment: &find, read_file: &read, cores: 6 })
}

fn config(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> Config {
    match parse_with(arguments, environment, file) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn refusal(arguments: &[&str], environment: &[(&str, &str)], file: &str) -> String {
    let exit = parse_with(arguments, environment, file).expect_err("it is refused");
    assert_eq!(exit.code, 64);
    assert_eq!(exit.line.lines().count(), 1, "one line: {}", exit.line);
    exit.line
}

#[test]
fn defaults_are_port_6001_on_all_cores_and_addresses() {
    let config = config(&[], &[], "");
    assert_eq!((config.port, config.cores, config.host), (6001, 6, Host::All));
    assert_eq!(config, Config { cores: 6, ..Config::default() });
}

#[test]
fn flags_win_over_the_environment_the_environment_over_the_file_the_file_over_the_default() {
    let file = "port = 1\ncores = 1\napp = \"echo\"\n[limits]\nmessage_bytes_max = 1000\n";
    let environment = [("PORT", "2"), ("CLUSTER_WORKERS", "2"), ("DOWNBEAT_CONFIG", "downbeat.toml")];
    let config = config(&["--port", "3"], &environment, file);
    assert_eq!((config.port, config.cores, config.app), (3, 2, App::Echo));
    assert_eq!((config.limits.message_bytes_max, config.limits.headers_max), (1000, 100));
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = config(&[], &[("PORT", ""), ("CLUSTER_WORKERS", ""), ("NODE_ENV", "")], "");
    assert_eq!((config.port, config.cores), (6001, 6));
}

#[test]
fn a_switch_needs_no_value() {
    assert!(config(&["--port-per-core"], &[], "").port_per_core);
    assert!(!config(&["--port-per-core=false"], &[("DOWNBEAT_PORT_PER_CORE", "true")], "").port_per_core);
    assert!(config(&[], &[("DOWNBEAT_PORT_PER_CORE", "true")], "").port_per_core);
}

#[test]
fn no_before_a_switch_turns_it_off_and_the_last_word_counts() {
    assert!(!config(&["--no-metered"], &[("DOWNBEAT_METERED", "true")], "").limits.is_metered);
    assert_eq!(config(&["--no-demo"], &[], "").demo, Some(false));
    assert_eq!(config(&["--no-demo", "--demo"], &[], "").demo, Some(true));
    assert_eq!(config(&["--demo=true", "--no-demo"], &[], "").demo, Some(false));
    assert!(refusal(&["--no-port"], &[], "").contains("--no-port"));
}

#[test]
fn the_demo_is_there_but_in_production_and_for_other_apps() {
    let has_demo =
        |arguments: &[&str], environment: &[(&str, &str)]| config(arguments, environment, "").has_demo();
    assert!(has_demo(&[], &[]));
    assert!(has_demo(&[], &[("NODE_ENV", "staging")]));
    assert!(!has_demo(&["--no-demo"], &[]));
    assert!(!has_demo(&[], &[("DOWNBEAT_DEMO", "false")]));
    assert!(!has_demo(&[], &[("NODE_ENV", "production")]));
    assert!(!has_demo(&["--environment", "production"], &[]));
    assert!(has_demo(&["--demo"], &[("NODE_ENV", "production")]));
    assert!(!has_demo(&["--demo", "--app", "echo"], &[]));
    assert!(!has_demo(&["--demo", "--app", "broadcast"], &[]));
}

#[test]
fn origins_are_all_or_those_listed() {
    assert_eq!(config(&[], &[], "").limits.origins, Origins::All);
    let listed = config(&["--allowed-origins", "https://A.example:443, null"], &[], "").limits.origins;
    assert_eq!(listed.to_string(), "https://a.example,null");
    let environment = [("DOWNBEAT_ALLOWED_ORIGINS", "https://a.example")];
    assert_eq!(config(&[], &environment, "").limits.origins.to_string(), "https://a.example");
    assert_eq!(config(&["--allowed-origins=all"], &environment, "").limits.origins, Origins::All);
    assert!(
        refusal(&["--allowed-origins", "a.example"], &[], "").contains("--allowed-origins: \"a.example\"")
    );
}

#[test]
fn every_setting_is_refused_by_name_wherever_its_bad_value_comes_from() {
    for setting in SETTINGS {
        // No setting allows this, whatever its kind.
        let bad = "-1 \u{7f}!";
        let allowed = format!("allowed: {}", setting.allowed);
        let flag = format!("--{}", setting.flag());
        let by_flag = refusal(&[&format!("{flag}={bad}")], &[], "");
        assert!(
            by_flag.starts_with(&format!("downbeat: {flag}: ")) && by_flag.ends_with(&allowed),
            "{by_flag}"
        );
        let by_environment = refusal(&[], &[(setting.environment, bad)], "");
        let name = format!("downbeat: {}: ", setting.environment);
        assert!(by_environment.starts_with(&name) && by_environment.ends_with(&allowed), "{by_environment}");
        let table = if setting.table.is_empty() { String::new() } else { format!("[{}]\n", setting.table) };
        let file = format!("{table}{} = \"-1 \\u007f!\"\n", setting.key);
        let by_file = refusal(&["--config", "downbeat.toml"], &[], &file);
        assert!(by_file.starts_with(&format!("downbeat: {}: ", setting.path())), "{by_file}");
    }
}

#[test]
fn bad_arguments_and_files_are_one_line_that_names_them() {
    assert!(refusal(&["--prot", "1"], &[], "").contains("--prot"));
    assert!(refusal(&["--port"], &[], "").contains("--port"));
    assert!(refusal(&["dance"], &[], "").contains("dance"));
    assert!(refusal(&["--config", "missing.toml"], &[], "").contains("missing.toml: no such file"));
    assert!(refusal(&["--config", "downbeat.toml"], &[], "port = = 1").contains("downbeat.toml"));
    assert!(refusal(&["--config", "downbeat.toml"], &[], "prot = 1").contains("prot: no such setting"));
    assert!(refusal(&["--config", "downbeat.toml"], &[], "[limits]\nx = 1").contains("limits.x"));
    assert!(refusal(&["--cq-entries", "16"], &[], "").contains("ring.cq_entries"));
    assert!(refusal(&["--message-bytes-max", "16777216"], &[], "").contains("limits.outbox_bytes_max"));
    assert!(refusal(&["--port", "70000"], &[("PORT", "6001")], "").contains("--port: \"70000\""));
    assert!(refusal(&["--cores", "0"], &[], "").contains("1 to 256"));
}

#[test]
fn help_names_every_setting_its_default_and_its_variable() {
    let Ok(Command::Print(help)) = parse_with(&["--help"], &[], "") else { panic!("no help") };
    // It is wrapped to the terminal's width.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        assert!(help.contains(&format!("--{}", setting.flag())), "{}", setting.key);
        assert!(help.contains(&format!("[env: {}]", setting.environment)), "{}", setting.key);
    }
    assert!(help.contains("[default: 6001]") && help.contains("[default: all the process may use]"));
    let Ok(Command::Print(version)) = parse_with(&["--version"], &[], "") else { panic!("no version") };
    assert!(version.starts_with("downbeat "));
}

#[test]
fn the_printed_configuration_is_a_file_that_gives_the_same() {
    let arguments = [
        "config",
        "--port",
        "7",
        "--host",
        "::1",
        "--connections-max",
        "50",
        "--authz",
        "host",
        "--allowed-origins",
        "https://a.example,null",
        "--no-demo",
    ];
    let Ok(Command::Print(text)) = parse_with(&arguments, &[("NODE_ENV", "production")], "") else {
        panic!("nothing printed")
    };
    assert!(text.contains("port = 7 # flag: --port\n"), "{text}");
    assert!(text.contains("environment = \"production\" # environment: NODE_ENV\n"), "{text}");
    assert!(text.contains("demo = false # flag: --demo\n"), "{text}");
    assert!(
        text.contains("[limits]\n# address_connections_max =  # default\nhead_bytes_max = 8192 # default\n"),
        "{text}"
    );
    let again = config(&["--config", "downbeat.toml"], &[], &text);
    let expected = config(&arguments[1..], &[("NODE_ENV", "production")], "");
    assert_eq!(again, expected);
    let Ok(Command::Print(twice)) = parse_with(&["config", "--config", "downbeat.toml"], &[], &text) else {
        panic!("nothing printed")
    };
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" #").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&twice), values(&text));
}

#[test]
fn the_admin_port_is_automatic_off_an_address_or_a_port_of_loopback() {
    assert_eq!(config(&[], &[], "").admin.address, AdminAddress::Auto);
    for (value, expected) in [
        ("auto", AdminAddress::Auto),
        ("off", AdminAddress::Off),
        ("9700", AdminAddress::At(([127, 0, 0, 1], 9700).into())),
        ("0.0.0.0:9600", AdminAddress::At(([0, 0, 0, 0], 9600).into())),
        ("[::1]:1", AdminAddress::At("[::1]:1".parse().unwrap())),
    ] {
        assert_eq!(config(&["--admin", value], &[], "").admin.address, expected, "{value}");
        assert_eq!(config(&[], &[("ADMIN", value)], "").admin.address, expected, "{value}");
    }
    assert!(refusal(&["--admin", "on"], &[], "").contains("auto, off, ADDRESS:PORT"));
}

#[test]
fn a_secret_is_never_shown_also_when_it_is_refused() {
    let token = "a-token-that-is-long-enough";
    let environment = [("ADMIN_TOKEN", token)];
    let config = config(&[], &environment, "");
    assert!(config.admin.token.as_ref().is_some_and(|secret| secret.is(token)));
    assert!(!format!("{config:?}").contains(token));
    let Ok(Command::Print(text)) = parse_with(&["config"], &environment, "") else {
        panic!("nothing printed")
    };
    assert!(
        text.contains("# admin_token =  # environment: ADMIN_TOKEN\n") && !text.contains(token),
        "{text}"
    );
    let refused = refusal(&["--admin-token", "short secret"], &[], "");
    assert!(refused.starts_with("downbeat: --admin-token: ") && !refused.contains("secret"), "{refused}");
}
