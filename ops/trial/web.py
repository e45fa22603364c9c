"""The HTTP port as a browser uses it: the page with all that it names, and a WebSocket."""
import base64
import json
import os
import re
import socket
import urllib.request


def page(http):
    """Fetches the page and what it loads; what there was, with sizes."""
    found, wanted = {}, ["/"]
    while wanted:
        path = wanted.pop()
        with urllib.request.urlopen(f"http://{http}{path}", timeout=10) as answer:
            body = answer.read()
        found[path] = len(body)
        if path == "/":
            wanted += re.findall(r'(?:src|href)="(/?assets/[^"]+)"', body.decode())
            wanted = [path if path.startswith("/") else f"/{path}" for path in wanted]
    if len(found) < 3:
        raise ValueError(f"expected a page with a script and a style, found {found}")
    return found


class WebSocket:
    """Just enough of one: texts, one frame each, short enough for two bytes of length."""

    def __init__(self, http):
        host, port = http.rsplit(":", 1)
        self.way = socket.create_connection((host, int(port)), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.way.sendall(f"GET /ws HTTP/1.1\r\nHost: {http}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                         f"Sec-WebSocket-Protocol: simple-im.json\r\n\r\n".encode())
        self.reader = self.way.makefile("rb")
        first = self.reader.readline()
        if b" 101 " not in first:
            raise ValueError(f"expected 101 from ws://{http}/ws, found {first!r}")
        while self.reader.readline().strip():
            pass

    def say(self, frame):
        text, mask = json.dumps(frame).encode(), os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
        self.way.sendall(b"\x81" + (254).to_bytes(1) + len(text).to_bytes(2) + mask + masked)

    def hear(self):
        kind, length = self.reader.read(2)
        if length == 126:
            length = int.from_bytes(self.reader.read(2))
        body = self.reader.read(length)
        if kind != 0x81:
            raise ValueError(f"expected a text, found frame {kind:#x}: {body!r}")
        return json.loads(body)

    def close(self):
        self.way.close()
