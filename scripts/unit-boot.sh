#!/usr/bin/env bash
# Boots a systemd of its own, in a container over this machine's files, and runs deploy/downbeat.service in it as it is: is
# the server ready, held by every restriction, does the supervisor mend a kill -9, does the watchdog end a server that
# hangs, does a stop end well? Half a minute. Needs root, overlayfs, nsenter and systemd-nspawn (Debian: systemd-container);
# exit status 77 without them. Nothing of it stays on the machine.
#
# BINARY=path/to/downbeat, NSPAWN=path/to/systemd-nspawn.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${BINARY:-target/release/downbeat}
nspawn=${NSPAWN:-systemd-nspawn}
lacks() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" = 0 ] || lacks "not root"
command -v "$nspawn" > /dev/null || lacks "no systemd-nspawn"
command -v nsenter > /dev/null || lacks "no nsenter"
[ -x "$binary" ] || lacks "no $binary"

work=$(mktemp -d)
container=
clean() {
    # All of a process namespace ends with its first process.
    [ -z "$container" ] || { kill -KILL "$(pgrep -P "$container")" && wait "$container"; } 2> /dev/null || true
    umount -l "$work/root" "$work" 2> /dev/null || true
    rmdir "$work"
}
trap clean EXIT
mount -t tmpfs tmpfs "$work"
mkdir "$work"/{root,upper,own}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/own" "$work/root" || lacks "no overlayfs"

root=$work/root
port=$((20000 + RANDOM % 10000))
install -m 0755 "$binary" "$root/usr/local/bin/downbeat"
install -m 0644 deploy/downbeat.service "$root/etc/systemd/system/"
install -m 0644 deploy/sysusers.d/downbeat.conf "$root/usr/lib/sysusers.d/"
systemd-sysusers --root="$root" downbeat.conf > /dev/null
install -d "$root/etc/downbeat" "$root/etc/systemd/system/downbeat.service.d"
printf '%s\n' HOST=127.0.0.1 "PORT=$port" CLUSTER_WORKERS=2 "ADMIN=$((port + 1))" > "$root/etc/downbeat/environment"
# What this machine allows, if it is less than the unit asks for.
printf '%s\n' '[Service]' "LimitNOFILE=$(ulimit -Hn)" "LimitMEMLOCK=$(($(ulimit -Hl) * 1024))" \
    > "$root/etc/systemd/system/downbeat.service.d/limits.conf"
printf '%s\n' '[Unit]' 'Requires=downbeat.service' > "$root/etc/systemd/system/only.target"
find "$root/etc/systemd/system" -name '*.wants' -prune -exec rm -r {} +

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 \
    "$nspawn" -D "$root" --register=no --keep-unit --console=pipe --boot -- --unit=only.target < /dev/null \
    > "$work/console" 2>&1 &
container=$!

# Words of the container's own systemd; empty while it is not there yet.
inside() { nsenter -t "$(pgrep -P "$container")" -a "$@" 2> /dev/null; }
property() { inside systemctl show downbeat --value -p "$1"; }
# The server is the youngest of the unit's processes, its supervisor the main one.
server_pid() { pgrep -n -u "$(sed -n 's/^downbeat:x:\([0-9]*\):.*/\1/p' "$root/etc/passwd")" -x downbeat; }
until_true() {
    for _ in $(seq "$1"); do
        ! "${@:2}" || return 0
        sleep 0.1
    done
    return 1
}
fail() {
    echo "WRONG    $*"
    inside journalctl -u downbeat --no-pager -n 40 || cat "$work/console"
    exit 1
}
is_active() { [ "$(property ActiveState)" = active ]; }
is_other_than() { local now; now=$(server_pid) && [ "$now" != "$1" ]; }
. scripts/upgrades.sh

until_true 300 is_active || fail "not ready within 30 s"
upgrades || fail "it is ready and does not serve"
echo "ok       ready, and serves"
server=$(server_pid)
for line in 'CapBnd:.0000000000000000' 'NoNewPrivs:.1' 'Seccomp:.2'; do
    grep -q "^$line\$" "/proc/$server/status" || fail "the server's status lacks $line"
done
echo "ok       without capabilities, under the unit's filter"
[ "$server" != "$(pgrep -o -u "$(stat -c %u "/proc/$server")" -x downbeat)" ] || fail "there is no supervisor"

kill -9 "$server"
until_true 100 is_other_than "$server" && until_true 100 upgrades || fail "it was not started anew after kill -9"
is_active && [ "$(property NRestarts)" = 0 ] || fail "systemd took part in it"
echo "ok       the supervisor starts it anew after kill -9"

since=$SECONDS
until [ $((SECONDS - since)) -ge 13 ]; do
    is_active && [ "$(property NRestarts)" = 0 ] || fail "the watchdog ended a server that turns"
    sleep 1
done
echo "ok       the watchdog is fed for longer than its time"

kill -STOP "$(server_pid)"
restarted() { [ "$(property NRestarts)" = 1 ] && is_active; }
until_true 400 restarted && upgrades || fail "the watchdog did not end a server that hangs"
echo "ok       the watchdog ends a server that hangs, and systemd starts it anew"

inside systemctl stop downbeat
[ "$(property Result)" = success ] && [ "$(property ExecMainStatus)" = 0 ] || fail "the stop was not orderly"
echo "ok       an orderly stop"
