# To be sourced. upgrades: a server on 127.0.0.1:$port answers an upgrade with 101, which is its own word for serving.
# In a shell of its own, which a connection that is reset may end.
upgrades() (
    exec 3<> "/dev/tcp/127.0.0.1/$port" || exit 1
    printf 'GET /ws/sync HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' >&3
    printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n' >&3
    read -r -t 5 line <&3
    [[ $line == "HTTP/1.1 101 "* ]]
)
