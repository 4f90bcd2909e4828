use super::*;
use crate::backup::Store;
use crate::config::{self, AdminAddress, AdminSettings, BackupSettings};
use expect_test::expect;
use std::net::{IpAddr, Ipv4Addr};

/// A host on which nothing is wrong.
fn host() -> Host {
    Host {
        kernel: "6.18.5-amd64".to_owned(),
        descriptors_max: 1_048_576,
        nr_open: Some(1_048_576),
        backlog_max: Some(65_535),
        syn_backlog_max: Some(65_535),
        cores: 2,
        cpus: 2,
        memory_bytes: 8 << 30,
    }
}

fn facts() -> Facts {
    let ring = RingFacts { disabled: Some(0), memlock_bytes: Some(8 << 20), ..RingFacts::default() };
    Facts { host: host(), ring, port: None, admin: Ok("http://127.0.0.1:9600".to_owned()), folder: None }
}

fn config() -> Config {
    Config { cores: 2, host: config::Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..Config::default() }
}

/// The one thing that is wrong.
fn failure(facts: &Facts, config: &Config) -> String {
    let failures: Vec<Finding> = findings(facts, config).into_iter().filter(|finding| !finding.ok).collect();
    let [Finding { check, line, .. }] = &failures[..] else { panic!("{failures:?}") };
    format!("{check}: {line}")
}

fn refused(errno: i32, change: impl Fn(&mut RingFacts)) -> Facts {
    let mut facts = Facts { ring: RingFacts { errno: Some(errno), ..facts().ring }, ..facts() };
    change(&mut facts.ring);
    facts
}

#[test]
fn a_host_on_which_nothing_is_wrong() {
    expect![[r#"
        ok    kernel         Linux 6.18.5-amd64
        ok    io_uring       has all that is used
        ok    locked memory  RLIMIT_MEMLOCK 8192 KiB
        ok    descriptors    RLIMIT_NOFILE 1048576 allows 1048416 connections
        ok    port           6001 is free
        ok    admin port     http://127.0.0.1:9600
        ok    folder         rooms are not kept; BACKUP_DIR names a folder for them
    "#]]
    .assert_eq(&text(&findings(&facts(), &config()), &[]));
}

#[test]
fn an_old_kernel() {
    let facts = Facts { host: Host { kernel: "5.15.0-91-generic".to_owned(), ..host() }, ..facts() };
    expect!["kernel: Linux 5.15.0-91-generic is too old; 6.1 is the oldest that will do"]
        .assert_eq(&failure(&facts, &config()));
    assert_eq!(
        remedy::kernel("6.0.19"),
        Some("Linux 6.0.19 is too old; 6.1 is the oldest that will do".to_owned())
    );
    for fine in ["6.1.0", "6.18.5-amd64", "7.0", "unknown"] {
        assert_eq!(remedy::kernel(fine), None, "{fine}");
    }
}

#[test]
fn a_ring_that_the_kernel_is_set_to_refuse_to_all() {
    expect!["io_uring: io_uring is disabled by kernel.io_uring_disabled=2; run `sysctl -w kernel.io_uring_disabled=0`"].assert_eq(&failure(&refused(libc::EPERM, |ring| ring.disabled = Some(2)), &config()));
}

#[test]
fn a_ring_that_is_left_to_some_users() {
    expect!["io_uring: io_uring is left to some users by kernel.io_uring_disabled=1; run `sysctl -w kernel.io_uring_disabled=0`, or set kernel.io_uring_group to a group of this user"].assert_eq(&failure(&refused(libc::EPERM, |ring| ring.disabled = Some(1)), &config()));
}

#[test]
fn a_ring_that_a_container_blocks() {
    expect!["io_uring: io_uring is blocked by the container's seccomp profile; run with --security-opt seccomp=deploy/seccomp.json"].assert_eq(&failure(&refused(libc::EPERM, |ring| ring.is_filtered = true), &config()));
}

#[test]
fn a_ring_that_a_container_hides() {
    expect!["io_uring: io_uring is hidden by the container's seccomp profile; run with --security-opt seccomp=deploy/seccomp.json"].assert_eq(&failure(&refused(libc::ENOSYS, |ring| ring.is_filtered = true), &config()));
}

#[test]
fn a_ring_that_a_policy_blocks() {
    expect!["io_uring: io_uring is blocked by a security policy of this host (SELinux, AppArmor); allow it for this user"].assert_eq(&failure(&refused(libc::EACCES, |_| ()), &config()));
}

#[test]
fn a_kernel_without_rings() {
    expect!["io_uring: this kernel was built without io_uring; 6.1 with CONFIG_IO_URING is the oldest that will do"].assert_eq(&failure(&refused(libc::ENOSYS, |_| ()), &config()));
}

#[test]
fn a_ring_without_a_feature() {
    expect!["io_uring: this kernel's io_uring lacks a feature; 6.1 is the oldest that will do"]
        .assert_eq(&failure(&refused(libc::EINVAL, |_| ()), &config()));
}

#[test]
fn too_little_locked_memory() {
    expect!["io_uring: RLIMIT_MEMLOCK (512 KiB) is too little for the rings; systemd: LimitMEMLOCK=infinity, or lower --buffers and --cores"]
        .assert_eq(&failure(&refused(libc::ENOMEM, |ring| ring.memlock_bytes = Some(524_288)), &config()));
}

/// A ring of ours can be had, as by root, and yet nothing would start.
#[test]
fn less_locked_memory_than_any_start_must_have() {
    let ring = RingFacts { memlock_bytes: Some(524_287), ..facts().ring };
    expect!["locked memory: RLIMIT_MEMLOCK (511 KiB) is too little, 512 KiB are the least, for root too; systemd: LimitMEMLOCK=infinity"]
        .assert_eq(&failure(&Facts { ring, ..facts() }, &config()));
}

#[test]
fn too_few_descriptors() {
    let facts = Facts { host: Host { descriptors_max: 1024, ..host() }, ..facts() };
    let config = Config { connections_max: Some(10_000), ..config() };
    expect!["descriptors: RLIMIT_NOFILE 1024 allows about 864 connections, 10000 are asked for; systemd: LimitNOFILE=10160"].assert_eq(&failure(&facts, &config));
}

/// The real thing from here on.
fn looked(config: &Config) -> String {
    failure(&Facts { port: Listeners::bind(config).err().map(|error| error.to_string()), ..facts() }, config)
}

#[test]
fn a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = looked(&Config { port, ..config() }).replace(&port.to_string(), "PORT");
    expect!["port: port PORT is taken by another process; stop it or choose another with --port"]
        .assert_eq(&line);
}

#[test]
fn a_port_for_privileged_processes() {
    let line = remedy::listen(80, &io::Error::from(io::ErrorKind::PermissionDenied));
    expect!["port 80 is for privileged processes; choose one from 1024 on with --port, or give CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=)"].assert_eq(&line);
}

#[test]
fn an_address_that_this_host_does_not_have() {
    let elsewhere = config::Host::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    expect!["port: this host does not have the address to listen on; see --host"]
        .assert_eq(&looked(&Config { port: 0, host: elsewhere, ..config() }));
}

fn folder_failure(path: &std::path::Path, shown: &str) -> String {
    let backup = BackupSettings { dir: Some(path.to_owned()), file: None, interval_ms: 5_000 };
    let folder = Store::open(&backup).err().map(|error| error.to_string());
    failure(&Facts { folder, ..facts() }, &config()).replace(&path.display().to_string(), shown)
}

#[test]
fn a_folder_that_is_none() {
    let file = std::env::temp_dir().join(format!("downbeat-check-file-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let line = folder_failure(&file.join("rooms"), "FOLDER");
    let _ = std::fs::remove_file(&file);
    expect!["folder: cannot make the folder FOLDER: Not a directory (os error 20); BACKUP_DIR must be a folder that this user may write to"].assert_eq(&line);
}

#[test]
fn a_folder_that_another_process_has() {
    let folder = std::env::temp_dir().join(format!("downbeat-check-folder-{}", std::process::id()));
    let backup = BackupSettings { dir: Some(folder.clone()), file: None, interval_ms: 5_000 };
    let store = Store::open(&backup).unwrap();
    let line = folder_failure(&folder, "FOLDER");
    drop(store);
    let _ = std::fs::remove_dir_all(&folder);
    expect!["folder: another process keeps its rooms in FOLDER; stop it or set another BACKUP_DIR"]
        .assert_eq(&line);
}

#[test]
fn an_admin_port_for_everyone() {
    let address = "0.0.0.0:9600".parse().unwrap();
    let exposed = AdminSettings { address: AdminAddress::At(address), token: None, token_file: None };
    let admin = admin::listen(&exposed, std::time::Duration::ZERO)
        .map(|port| port.to_string())
        .map_err(|error| error.to_string());
    expect!["admin port: --admin 0.0.0.0:9600 can be reached from other hosts and has no token; set ADMIN_TOKEN or --admin-token-file, or listen on 127.0.0.1"].assert_eq(&failure(&Facts { admin, ..facts() }, &config()));
}

#[test]
fn as_json_it_says_the_same() {
    let facts = Facts { port: Some("port 1 is taken".to_owned()), ..facts() };
    let json: serde_json::Value =
        serde_json::from_str(&json(&findings(&facts, &config()), &["a hint".to_owned()])).unwrap();
    assert_eq!((&json["ok"], &json["hints"][0]), (&false.into(), &"a hint".into()));
    let port = json["checks"].as_array().unwrap().iter().find(|it| it["check"] == "port").unwrap();
    assert_eq!((&port["ok"], &port["line"]), (&false.into(), &"port 1 is taken".into()));
}
