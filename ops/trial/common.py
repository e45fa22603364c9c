"""What every trial needs: a port of its own, waiting, frames, and calls over HTTP."""
import asyncio
import json
import socket
import time
import urllib.parse


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def eventually(what, limit, asked, every=0.2):
    """Waits until `asked` gives something true, and gives it. TimeoutError after `limit` seconds."""
    end = time.monotonic() + limit
    while True:
        try:
            found = asked()
        except (OSError, KeyError, ValueError):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit} s: {what}")
        time.sleep(every)


async def frame(reader):
    """The text up to a blank line; empty for a heartbeat. EOFError where the connection ends."""
    lines = []
    while True:
        line = await reader.readline()
        if not line:
            raise EOFError
        if not line.strip():
            return b"".join(lines).decode()
        lines.append(line)


async def call(http, method, path, token=None, **arguments):
    """One HTTP call to host:port; the `response` of its answer, whatever its status. TimeoutError after 15 s."""
    host, port = http.rsplit(":", 1)
    body = urllib.parse.urlencode(arguments)
    head = f"{method} {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\nAccept: application/json\r\n"
    if token:
        head += f"Cookie: token={token}\r\n"
    if body:
        head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    async with asyncio.timeout(15):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}\r\n{body}".encode())
        answer = await reader.read()
        writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])["response"][0]
