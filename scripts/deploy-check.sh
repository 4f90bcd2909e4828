#!/usr/bin/env bash
# What can be checked of deploy/ on any machine, in some seconds: that every file is well-formed, what the systemd unit
# exposes, and that the server starts under the container's seccomp profile and under the unit's restrictions. What lacks
# its tool is skipped with a line. Exit status: 0, 1 if anything is wrong, 77 if nothing could be checked.
#
# BINARY=path/to/downbeat, PROMTOOL=path/to/promtool.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
binary=${BINARY:-target/release/downbeat}
promtool=${PROMTOOL:-promtool}
# The unit's exposure by `systemd-analyze security`, times ten. It serves the whole internet (0.2), and its child may
# notify the manager (0.2).
exposure_max=20

checked=0 failed=0
work=$(mktemp -d)
server=
clean() {
    [ -z "$server" ] || kill "$server" 2> /dev/null
    rm -rf "$work"
}
trap clean EXIT

ok() { checked=$((checked + 1)); echo "ok       $*"; }
wrong() { checked=$((checked + 1)); failed=$((failed + 1)); echo "WRONG    $*"; }
skip() { echo "skipped  $*"; }
has() { command -v "$1" > /dev/null; }
# expect WHAT COMMAND...: shows what the command says only if it fails.
expect() {
    local what=$1
    shift
    if "$@" > "$work/said" 2>&1; then
        ok "$what"
    else
        wrong "$what"
        sed 's/^/    /' "$work/said"
    fi
}

# A server on a free port, started by the words given; $port, $server and $work/log are its own.
start() {
    port=
    "$@" "$binary" --host 127.0.0.1 --port 0 --cores 2 > "$work/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/^ *port *\([0-9]*\).*/\1/p' "$work/log")
        [ -z "$port" ] || return 0
        kill -0 "$server" 2> /dev/null || return 1
        sleep 0.05
    done
    return 1
}
stop() {
    kill "$server" 2> /dev/null
    wait "$server"
    local status=$?
    server=
    return $status
}
. scripts/upgrades.sh
serves() {
    local what=$1
    shift
    if start "$@" && upgrades && stop; then
        ok "$what"
    else
        wrong "$what"
        sed 's/^/    /' "$work/log"
    fi
}

check_json() {
    has python3 || { skip "JSON: no python3"; return; }
    for file in deploy/*.json; do expect "$file is JSON" python3 -m json.tool "$file"; done
}

check_unit() {
    has systemd-analyze || { skip "the unit: no systemd-analyze"; return; }
    # verify wants the program to be there, security does not.
    sed 's|^ExecStart=.*|ExecStart=/bin/true|' deploy/downbeat.service > "$work/downbeat.service"
    expect "downbeat.service: systemd-analyze verify" systemd-analyze verify --man=no "$work/downbeat.service"
    if systemd-analyze security --help 2> /dev/null | grep -q -- --offline; then
        expect "downbeat.service: exposure under 0.1 × $exposure_max" systemd-analyze security --no-pager \
            --offline=yes --threshold=$exposure_max deploy/downbeat.service
    else
        skip "the unit's exposure: systemd before 250"
    fi
    if systemd-sysusers --help 2> /dev/null | grep -q -- --dry-run; then
        expect "sysusers.d/downbeat.conf" systemd-sysusers --dry-run "$PWD/deploy/sysusers.d/downbeat.conf"
    else
        skip "sysusers.d: systemd before 250"
    fi
}

check_sysctl() {
    local missing=
    while read -r name _; do
        [ -e "/proc/sys/${name//./\/}" ] || missing+=" $name"
    done < <(grep -E '^[a-z]' deploy/sysctl.d/90-downbeat.conf)
    if [ -z "$missing" ]; then ok "sysctl.d: this kernel has every key"; else wrong "sysctl.d: this kernel has no$missing"; fi
}

check_prometheus() {
    has "$promtool" || { skip "alerts.yml: no promtool (Debian: prometheus)"; return; }
    expect "alerts.yml: promtool check rules" "$promtool" check rules deploy/alerts.yml
    expect "alerts.yml: each alert fires when it should and not else" "$promtool" test rules deploy/alerts.test.yml
    has python3 || { skip "grafana.json's queries: no python3"; return; }
    # As rules, since promtool checks those; JSON strings are YAML's.
    python3 - > "$work/queries.yml" << 'END'
import json
print("groups: [{name: dashboard, rules: [")
for panel in json.load(open("deploy/grafana.json"))["panels"]:
    for target in panel.get("targets", []):
        query = target["expr"].replace("$__rate_interval", "1m")
        print("{record: a, labels: {panel: '%d%s'}, expr: %s}," % (panel["id"], target["refId"], json.dumps(query)))
print("]}]")
END
    expect "grafana.json: promtool reads every query" "$promtool" check rules "$work/queries.yml"
}

check_metrics() {
    [ -e docs/metrics.md ] || { skip "names of metrics: no docs/metrics.md"; return; }
    local unknown=
    local files=(deploy/grafana.json deploy/alerts.yml docs/operations.md) names reasons
    names=$(grep -hoE '\bdownbeat_[a-z0-9_]+' "${files[@]}")
    reasons=$(grep -hoE 'reason=~?\\?"[a-z0-9_|]+' "${files[@]}" | sed 's/.*"//' | tr '|' '\n')
    for name in $(printf '%s\n' "$names" "$reasons" | sort -u); do
        # A histogram's series have its name and an ending.
        grep -qE "\b${name%_bucket}\b" docs/metrics.md || unknown+=" $name"
    done
    if [ -z "$unknown" ]; then ok "every metric is one of docs/metrics.md"; else wrong "not in docs/metrics.md:$unknown"; fi
}

check_seccomp() {
    has python3 || { skip "seccomp.json: no python3"; return; }
    expect "seccomp.json is what scripts/seccomp-profile.py writes" scripts/seccomp-profile.py --check
    local status=0
    scripts/under-seccomp.py deploy/seccomp.json true 2> "$work/said" || status=$?
    case $status in
        0) ok "seccomp.json: libseccomp compiles it, the kernel takes it" ;;
        77) skip "seccomp.json in the kernel: no libseccomp" && return ;;
        *) wrong "seccomp.json cannot be loaded" && sed 's/^/    /' "$work/said" && return ;;
    esac
    [ -x "$binary" ] || { skip "the server under seccomp.json: no $binary"; return; }
    serves "the server serves under seccomp.json" scripts/under-seccomp.py deploy/seccomp.json
    start scripts/under-seccomp.py --without io_uring_setup,io_uring_enter,io_uring_register deploy/seccomp.json
    wait "$server"
    status=$?
    server=
    if [ $status = 78 ] && grep -q seccomp "$work/log"; then
        ok "without io_uring it exits 78 and says: $(tail -n 1 "$work/log")"
    else
        wrong "without io_uring it exits $status and says no remedy"
        sed 's/^/    /' "$work/log"
    fi
}

# The unit's restrictions, as far as they can be had without a service manager: limits, no capability, no way to new ones, a
# user that owns nothing. scripts/unit-boot.sh has all of them.
check_restrictions() {
    if ! has setpriv || ! has prlimit || [ "$(id -u)" != 0 ]; then
        skip "the unit's restrictions: not root, or no setpriv"
        return
    fi
    [ -x "$binary" ] || { skip "the unit's restrictions: no $binary"; return; }
    local descriptors
    descriptors=$(ulimit -Hn)
    [ "$descriptors" != unlimited ] || descriptors=1048576
    # Where nobody may read it: a checkout can be in a folder that is its owner's alone.
    chmod 755 "$work" && install -m 0755 "$binary" "$work/downbeat"
    binary=$work/downbeat serves "the server serves as nobody without a capability, with $descriptors descriptors, 8 MiB to lock" \
        prlimit --nofile="$descriptors" --memlock=8388608 \
        setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs
}

check_health() {
    [ -x "$binary" ] || { skip "healthcheck.sh: no $binary"; return; }
    "$binary" --help 2> /dev/null | grep -q -- '--admin ' || { skip "healthcheck.sh: $binary has no admin port"; return; }
    start env ADMIN=0
    local address
    address=$(sed -n 's|^ *admin *http://\([^ ]*\).*|\1|p' "$work/log")
    expect "healthcheck.sh: a server that lives is healthy" env ADMIN="$address" deploy/healthcheck.sh
    expect "healthcheck.sh: and ready" env ADMIN="$address" deploy/healthcheck.sh /readyz
    stop
    if ADMIN=$address deploy/healthcheck.sh 2> /dev/null; then
        wrong "healthcheck.sh: a server that has ended is healthy"
    else
        ok "healthcheck.sh: a server that has ended is not healthy"
    fi
}

check_json
check_unit
check_sysctl
check_prometheus
check_metrics
check_seccomp
check_restrictions
check_health
echo "$checked checked, $failed wrong"
[ "$failed" = 0 ] || exit 1
[ "$checked" -gt 0 ] || exit 77
