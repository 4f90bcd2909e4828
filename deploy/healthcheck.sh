#!/bin/bash
# Asks the admin port's /healthz (or the path given); exits 0 only on a 200 within 2 s. It needs bash and nothing else, so
# that the image needs no curl. The port is where ADMIN says, as it is for the server: ADDRESS:PORT, a port of 127.0.0.1,
# or auto, which is 127.0.0.1:9600.
set -eu
address=${ADMIN:-auto}
case $address in
    auto) address=127.0.0.1:9600 ;;
    *:*) ;;
    *) address=127.0.0.1:$address ;;
esac
host=${address%:*}
case $host in 0.0.0.0) host=127.0.0.1 ;; '[::]') host=::1 ;; esac
host=${host#[} host=${host%]}
exec 3<> "/dev/tcp/$host/${address##*:}"
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${1:-/healthz}" >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
