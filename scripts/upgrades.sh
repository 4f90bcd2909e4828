# To be sourced. upgrades: a server on 127.0.0.1:$port answers an upgrade with 101, which is its own word for serving.
upgrades() {
    local line
    exec 3<> "/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET /ws/sync HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' >&3
    printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n' >&3
    read -r -t 5 line <&3
    exec 3>&-
    [[ $line == "HTTP/1.1 101 "* ]]
}
