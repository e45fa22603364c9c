"""A client for simple-im in one file, with Python's standard library alone (3.11 or newer).

    im = await simple_im.Client.login("http://127.0.0.1:8080", "13812652243", "secret", device="bot")
    async with im:
        await im.send(5, "hello")               # returns once the message is stored
        async for message in im:                # live ones and what was missed alike
            await message.reply(message.text)   # acknowledged when the loop comes back

The protocol is ops/docs/PROTOCOL.md. What this file adds to it: it comes back when a connection is lost or a node
asks it to move, sends again what has no answer under the same id, and gives no message twice. With `state`, a file, it
does so across restarts of the program too.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import json
import logging
import random
import re
import secrets
import sqlite3
import ssl
import time
import tomllib
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, AsyncIterator, Awaitable, Callable

log = logging.getLogger("simple_im")

Entry = dict[str, Any]
Table = dict[str, Any]

FRAME_LIMIT = 1 << 20  # bytes; far beyond what a node sends in one frame
ENTRIES = 256  # of one frame, the server's limit
TRIES = 5  # of a frame that is refused as `unavailable`, which says to try again
REMEMBERED = 65_536  # acknowledged deliveries and receipts, by which what comes again is known
MARKS = 256  # read marks that are said again after a lost connection; one frame


class Error(Exception):
    """Whatever this module raises, TimeoutError aside."""


class Malformed(Error):
    """Bytes that are no frame, or values that TOML cannot hold: what was expected and what was found."""


class Refused(Error):
    """The server said no. `code` is for programs, `reason` for people; PROTOCOL.md, Refusals."""

    def __init__(self, what: str, code: str, reason: str, retry_after: float = 0.0):
        super().__init__(f"{what}: expected it to be done, found a refusal: {code} ({reason})")
        self.code, self.reason, self.retry_after = code, reason, retry_after

    @property
    def again(self) -> bool:
        """Whether the same may work later."""
        return self.code in ("unavailable", "rate_limited")


class Replaced(Error):
    """This device has logged in elsewhere; that connection is the good one, and this client does not fight it."""


class Unreachable(Error):
    """No node could be reached for as long as `patience` allows."""


class Closed(Error):
    """The client is closed. What had no answer is in the state file, if there is one, and is sent again from there."""


# --- TOML and frames: no sockets here ---

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_TO_ESCAPE = re.compile(r'["\\\x00-\x1f\x7f]')


def _value(value: Any) -> str:
    if isinstance(value, str):
        return '"' + _TO_ESCAPE.sub(lambda c: _ESCAPES.get(c[0]) or f"\\u{ord(c[0]):04X}", value) + '"'
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise Malformed(f"expected a text, a whole number or a list of them, found {value!r}")


def _pairs(table: Table) -> list[str]:
    for key in table:
        if not _BARE_KEY.fullmatch(key):
            raise Malformed(f"expected a key of letters, digits, _ and -, found {key!r}")
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def toml(kind: str, entries: list[Entry]) -> str:
    """The entries as TOML, `[[kind]]` each. A dict in an entry becomes a sub-table; None counts as absent."""
    lines = []
    for entry in entries:
        tables = {key: value for key, value in entry.items() if isinstance(value, dict)}
        lines.append(f"[[{kind}]]")
        lines += _pairs({key: value for key, value in entry.items() if value is not None and key not in tables})
        for name, table in tables.items():
            lines += [f"[{kind}.{name}]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def frame(kind: str, entries: list[Entry]) -> bytes:
    """One frame in the counted form."""
    try:
        body = toml(kind, entries).encode()
    except UnicodeEncodeError as broken:
        raise Malformed(f"expected Unicode text, found half of a surrogate pair: {broken}") from None
    return b"#%d\n%s" % (len(body), body)


HEARTBEAT = b"#0\n"


class Frames:
    """Bytes as they come, in pieces of any size; whole frames out: [(kind, entry)], empty for a heartbeat."""

    def __init__(self, limit: int = FRAME_LIMIT):
        self.limit, self.bytes = limit, bytearray()

    def feed(self, piece: bytes) -> list[list[tuple[str, Entry]]]:
        self.bytes += piece
        frames, at = [], 0
        while (end := self.bytes.find(b"\n", at, at + 12)) >= 0:
            body = end + 1
            length = self._count(bytes(self.bytes[at:end]))
            if len(self.bytes) < body + length:
                break
            at = body + length
            frames.append(self._parse(bytes(self.bytes[body:at])))
        del self.bytes[:at]
        if len(self.bytes) >= 12 and b"\n" not in self.bytes[:12]:
            self._count(bytes(self.bytes[:12]))
        return frames

    def _count(self, line: bytes) -> int:
        if not re.fullmatch(rb"#[0-9]{1,10}", line):
            raise Malformed(f"expected # and a count before each frame, found {line!r}")
        if (length := int(line[1:])) > self.limit:
            raise Malformed(f"expected a frame of at most {self.limit} bytes, found one of {length}")
        return length

    @staticmethod
    def _parse(body: bytes) -> list[tuple[str, Entry]]:
        try:
            tables = tomllib.loads(body.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as broken:
            raise Malformed(f"expected a frame of TOML, found {body[:80]!r}: {broken}") from None
        return [(kind, entry) for kind, entries in tables.items() for entry in entries]


# --- HTTP ---


class Http:
    """Calls over HTTP. Several addresses of one system are tried in turn; what is safe to repeat is repeated."""

    def __init__(self, addresses: str | list[str], tls: ssl.SSLContext | None = None, patience: float = 30.0):
        self.addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        self.tls, self.patience, self.timeout = tls, patience, 15.0
        for address in self.addresses:
            if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
                raise Error(f"expected an address like http://127.0.0.1:8080, found {address!r}")

    async def call(self, method: str, path: str, token: str = "", again: bool = True, **arguments: Any) -> Table:
        """One call. `again`: it does no harm twice, so after a failure it is made again, for `patience` seconds."""
        deadline, tries = time.monotonic() + self.patience, 0
        while True:
            address = self.addresses[tries % len(self.addresses)]
            wait = 0.0
            try:
                return await asyncio.to_thread(self._once, address, method, path, token, arguments)
            except Refused as refused:
                if refused.code != "unavailable" or not again:
                    raise
                failure, wait = refused, refused.retry_after
            except (OSError, http.client.HTTPException, Malformed) as lost:
                # A refused connection has carried nothing out: that is safe to repeat whatever the call.
                if not again and not isinstance(lost, ConnectionRefusedError):
                    raise Error(f"{method} {path}: no answer ({lost!r}); it may have been carried out") from lost
                failure = lost
            tries += 1
            wait += random.uniform(0, min(2.0, 0.05 * 2 ** min(tries, 8)))
            if time.monotonic() + wait > deadline:
                asked = ", ".join(self.addresses)
                raise Unreachable(f"{method} {path}: no answer from {asked}: {failure!r}") from failure
            await asyncio.sleep(wait)

    def _once(self, address: str, method: str, path: str, token: str, arguments: Table) -> Table:
        url = urllib.parse.urlsplit(address)
        form = urllib.parse.urlencode({key: value for key, value in arguments.items() if value is not None})
        in_query = method in ("GET", "DELETE")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not in_query:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        secure = {"context": self.tls} if url.scheme == "https" else {}
        connection = kind(url.hostname, url.port, timeout=self.timeout, **secure)
        with contextlib.closing(connection):
            connection.request(
                method, path + ("?" + form if in_query and form else ""), None if in_query else form, headers
            )
            reply = connection.getresponse()
            body = reply.read(8 * FRAME_LIMIT)
        try:
            answer = tomllib.loads(body.decode())
            head = answer["response"][0]
            failed = head["status"] == 1
        except (ValueError, LookupError, TypeError):
            raise Malformed(f"{method} {path}: expected [[response]], found {reply.status} {body[:80]!r}") from None
        if failed:
            after = reply.headers.get("Retry-After", "0")
            raise Refused(f"{method} {path}", head["code"], head["r"], float(after) if after.isdigit() else 0.0)
        return answer


# --- What is kept ---


class State:
    """Frames without an answer, and which deliveries were acknowledged: in a file, or in memory alone."""

    def __init__(self, path: str, user: int, device: str):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(
            """pragma journal_mode = wal; pragma synchronous = normal;
            create table if not exists owner (user integer, device text);
            create table if not exists outbox (n integer primary key, id text unique, kind text, entry text);
            create table if not exists acked (n integer primary key, conversation text, seq integer,
                                              unique (conversation, seq));"""
        )
        owner = self.db.execute("select user, device from owner").fetchone()
        if owner is None:
            self.db.execute("insert into owner values (?, ?)", (user, device))
        elif owner != (user, device):
            raise Error(f"{path}: expected the state of user {user}, device {device!r}, found that of {owner}")

    def keep(self, id: str, kind: str, entry: Entry) -> None:
        self.db.execute("insert into outbox (id, kind, entry) values (?, ?, ?)", (id, kind, json.dumps(entry)))

    def answered(self, id: str) -> None:
        self.db.execute("delete from outbox where id = ?", (id,))

    def unanswered(self) -> list[tuple[str, str, Entry]]:
        rows = self.db.execute("select id, kind, entry from outbox order by n")
        return [(id, kind, json.loads(entry)) for id, kind, entry in rows]

    def ack(self, conversation: str, seq: int) -> None:
        row = self.db.execute("insert or ignore into acked (conversation, seq) values (?, ?)", (conversation, seq))
        if row.rowcount:
            self.db.execute("delete from acked where n <= ?", (row.lastrowid - REMEMBERED,))

    def was_acked(self, conversation: str, seq: int) -> bool:
        row = self.db.execute("select 1 from acked where conversation = ? and seq = ?", (conversation, seq))
        return row.fetchone() is not None

    def close(self) -> None:
        self.db.close()


class Seen:
    """The last `limit` things that were met; `add` says whether this one is new."""

    def __init__(self, limit: int = REMEMBERED):
        self.limit, self.known = limit, collections.OrderedDict[Any, None]()

    def add(self, thing: Any) -> bool:
        if thing in self.known:
            return False
        self.known[thing] = None
        if len(self.known) > self.limit:
            self.known.popitem(last=False)
        return True


@dataclass
class Delivery:
    """A message (`kind` "m"), a group's message ("gm") or a request of somebody ("r", its name in entry["t"])."""

    kind: str
    entry: Entry
    conversation: tuple[str, int]  # ("user", id of the other side) or ("group", id)
    client: Client = field(repr=False)

    @property
    def id(self) -> str:
        return self.entry["id"]

    @property
    def seq(self) -> int:
        return self.entry["seq"]

    @property
    def ts(self) -> int:
        return self.entry["ts"]

    @property
    def text(self) -> str:
        return self.entry.get("c") or self.entry.get("message") or ""

    @property
    def sender(self) -> int:
        return self.entry["from"]["id"]

    @property
    def own(self) -> bool:
        """A copy of what another device of the same user has sent."""
        return self.sender == self.client.user

    def ack(self) -> None:
        """From now on it need not come again. Done by the loop, for who loops."""
        self.client._ack(self)

    def read(self) -> None:
        """Say that the user has read the conversation up to here."""
        self.client._mark_read(self.conversation, self.seq)

    async def reply(self, text: str, **options: Any) -> Entry:
        kind, other = self.conversation
        return await (self.client.send_group if kind == "group" else self.client.send)(other, text, **options)


@dataclass(frozen=True)
class Receipt:
    """What became of a message of one's own, if its `ack` asked: `level` is "queued", "delivered" or "read"."""

    id: str
    level: str
    user: int | None
    entry: Entry = field(compare=False)


class _Pending:
    """A frame without an answer."""

    def __init__(self, kind: str, entry: Entry):
        self.kind, self.entry, self.sent, self.refusals = kind, entry, 0.0, 0
        self.answer: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        # Nobody need wait for it: then a refusal is not worth a complaint of asyncio's.
        self.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())


class _Link:
    """One connection to a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer
        self.frames, self.ahead = Frames(), collections.deque[tuple[str, Entry]]()
        self.heard = self.said = self.began = time.monotonic()

    def write(self, what: bytes) -> None:
        self.said = time.monotonic()
        self.writer.write(what)

    async def next(self) -> tuple[str, Entry]:
        """The next entry; OSError where the connection ends."""
        while not self.ahead:
            piece = await self.reader.read(1 << 16)
            if not piece:
                raise ConnectionResetError("the node has closed the connection")
            self.heard = time.monotonic()
            for entries in self.frames.feed(piece):
                self.ahead.extend(entries)
        return self.ahead.popleft()

    def close(self) -> None:
        self.writer.close()


class _Moved(OSError):
    """A node that is about to end has said where to go."""

    def __init__(self, notice: Entry):
        super().__init__("the node is about to end")
        self.notice = notice


# --- The client ---


class Client:
    """One device of one user. `async with` connects it; it stays connected until the block ends.

    `route` maps the address that the server gives to the one to dial, for tunnels. With `tls`, TCP connections are
    TLS and https:// addresses are checked by it, where a TLS endpoint stands before the nodes. Times are in seconds.
    """

    def __init__(
        self,
        http: str | list[str] | Http,
        user: int,
        token: str,
        device: str,
        *,
        address: tuple[str, int] | None = None,
        state: str = ":memory:",
        tls: ssl.SSLContext | None = None,
        route: Callable[[str, int], tuple[str, int]] = lambda server, port: (server, port),
        on_receipt: Callable[[Receipt], None] = lambda receipt: None,
        heartbeat: float = 30.0,  # after so long without a word, one
        resend: float = 10.0,  # after so long without an answer, again
        patience: float = 600.0,  # after so long without a node, Unreachable
        pauses: tuple[float, float] = (0.2, 10.0),  # between tries, at first and at most; a random part of it
        timeout: float = 10.0,  # for connecting and logging in
        unanswered: int = 1_000,  # frames without an answer, at most
    ):
        self.http = http if isinstance(http, Http) else Http(http, tls)
        self.user, self.token, self.device, self.address = user, token, device, address
        self.tls, self.route, self.on_receipt = tls, route, on_receipt
        self.heartbeat, self.resend, self.patience, self.pauses = heartbeat, resend, patience, pauses
        self.timeout, self.limit = timeout, unanswered
        self.state = State(state, user, device)
        self._pending: dict[str, _Pending] = {}
        self._inbox: asyncio.Queue[Delivery | None] = asyncio.Queue()  # the server bounds it: 1,000 unacknowledged
        self._given: set[tuple[tuple[str, int], int]] = set()  # not yet acknowledged
        self._acks: list[Entry] = []
        self._marks = collections.OrderedDict[tuple[str, int], int]()
        self._receipts = Seen()
        self._current: Delivery | None = None
        self._link: _Link | None = None
        self._connected = asyncio.Event()
        self._end: Error | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._prefix, self._count = secrets.token_hex(6), 0

    # -- accounts

    @staticmethod
    async def register(http: str | list[str], phone: str, name: str, password: str, avatar: str | None = None) -> None:
        """A new account. Not repeated by itself: after a failure, try to log in."""
        await Http(http).call("POST", "/user", again=False, phone=phone, name=name, password=password, avatar=avatar)

    @classmethod
    async def login(cls, http: str | list[str], phone: str, password: str, device: str, **options: Any) -> Client:
        """A client with a new token. Keep `user` and `token` to come back without the password: `Client(…)`."""
        calls = Http(http, options.get("tls"))
        head = (await calls.call("POST", "/server/login", phone=phone, password=password, device=device))["response"][0]
        address = (head["server"], int(head["port"]))
        return cls(calls, head["user"]["id"], head["user"]["token"], device, address=address, **options)

    async def logout(self) -> None:
        """Revokes the token; the connection ends with it."""
        await self.close()
        await self._call("POST", "/server/logout")

    # -- sending

    def post(self, kind: str, entry: Entry) -> asyncio.Future[Entry]:
        """Sends a frame, now or as soon as there is a connection; the answer, or Refused, comes in the future."""
        if self._end:
            raise self._end
        id = entry.get("id") or self._new_id()
        if id in self._pending:
            raise Error(f"expected an id that waits for no answer, found {id!r}, which does")
        if len(self._pending) >= self.limit:
            raise Error(f"expected at most {self.limit} frames without an answer; wait for some of them")
        entry = {**entry, "id": id}
        frame(kind, [entry])  # what cannot be written is said now, not later
        self.state.keep(id, kind, entry)
        pending = self._pending[id] = _Pending(kind, entry)
        if self._link:
            self._write(self._link, pending)
        return pending.answer

    async def send(
        self, to: int, text: str, *, id: str | None = None, ack: str | None = None, timeout: float = 60.0
    ) -> Entry:
        """A message to a user; returns when it is stored: `id`, `seq`, `ts`. After TimeoutError it is still tried.

        `ack` "queued", "delivered", "read" or "receipts" asks for more, which `on_receipt` gets.
        """
        return await self._wait(self.post("m", {"id": id, "c": text, "to": to, "ack": ack}), timeout)

    async def send_group(
        self, group: int, text: str, *, id: str | None = None, ack: str | None = None, timeout: float = 60.0
    ) -> Entry:
        return await self._wait(self.post("gm", {"id": id, "c": text, "group": group, "ack": ack}), timeout)

    async def request(self, name: str, /, *, id: str | None = None, timeout: float = 60.0, **keys: Any) -> Entry:
        """Any request of the protocol, by its name; returns the answer's keys."""
        return await self._wait(self.post("r", {"id": id, "t": name, **keys}), timeout)

    async def add_contact(self, user: int, message: str = "") -> Entry:
        return await self.request("add_contact", to=user, message=message)

    async def accept_contact(self, user: int) -> Entry:
        return await self.request("accept_contact", to=user)

    async def decline_contact(self, user: int) -> Entry:
        return await self.request("decline_contact", to=user)

    async def delete_contact(self, user: int) -> Entry:
        return await self.request("delete_contact", to=user)

    async def block(self, user: int) -> Entry:
        return await self.request("block", to=user)

    async def unblock(self, user: int) -> Entry:
        return await self.request("unblock", to=user)

    async def create_group(self, name: str, members: list[int]) -> int:
        return (await self.request("create_group", name=name, members=members))["group_id"]

    async def add_member(self, group: int, user: int) -> Entry:
        return await self.request("create_group_member", group_id=group, member_id=user)

    async def remove_member(self, group: int, user: int) -> Entry:
        return await self.request("delete_group_member", group_id=group, member_id=user)

    async def leave_group(self, group: int) -> Entry:
        return await self.request("delete_group_member", group_id=group)

    async def delete_group(self, group: int) -> Entry:
        return await self.request("delete_group", group_id=group)

    @property
    def unanswered(self) -> dict[str, asyncio.Future[Entry]]:
        """What has no answer yet, by id; with `state`, from earlier runs of the program too."""
        return {id: pending.answer for id, pending in self._pending.items()}

    # -- receiving

    async def receive(self, timeout: float | None = None) -> Delivery:
        """The next delivery, for the caller to acknowledge: `delivery.ack()`."""
        async with asyncio.timeout(timeout):
            delivery = await self._inbox.get()
        if delivery is None:
            self._inbox.put_nowait(None)
            raise self._end or Closed("closed")
        return delivery

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        """The next delivery; the one before it is acknowledged, for the loop has come back from it."""
        if self._current:
            self._current.ack()
            self._current = None
        try:
            self._current = await self.receive()
        except Closed:
            raise StopAsyncIteration from None
        return self._current

    async def run(self, handler: Callable[[Delivery], Awaitable[None]]) -> None:
        """Calls `handler` with each delivery, one after the other. What it raises ends this; that one comes again."""
        async for delivery in self:
            await handler(delivery)

    def read(self, seq: int, *, user: int | None = None, group: int | None = None) -> None:
        """Says that the conversation with a user or in a group is read up to `seq`."""
        if (user is None) == (group is None):
            raise Error("expected either user or group")
        self._mark_read(("user", user) if group is None else ("group", group), seq)

    # -- asking

    async def find(self, phone: str) -> Table | None:
        return await self._user(f"/user/phone/{urllib.parse.quote(phone, safe='')}")

    async def profile(self, user: int) -> Table | None:
        return await self._user(f"/user/id/{user}")

    async def update(self, **changes: str) -> None:
        """`name`, `avatar`, or `password` with `old_password`."""
        again = "password" not in changes  # the second try would find the old one wrong
        await self.http.call("PUT", "/user", self.token, again, **changes)

    async def contacts(self, version: int = 0) -> tuple[int, list[Table]]:
        """What has changed since a version of the contact list, and the version it has now. `deleted = 1`: no more."""
        users: list[Table] = []
        while True:
            page = await self._call("GET", f"/contact/version/{version}")
            version = page["response"][0]["contact_version"]
            users += page.get("user", [])
            if not page["response"][0].get("more"):
                return version, users

    async def requests(self) -> list[Table]:
        """The contact requests that wait: `own = 1` for those that this user has made."""
        return await self._pages("/contact/request", "request", lambda last: last["id"])

    async def blocked(self) -> list[Table]:
        return await self._pages("/contact/blocked", "user", lambda last: last["id"])

    async def devices(self) -> list[Table]:
        """This user's devices; `own`, `online` and `ended` are 1 where they hold, and absent otherwise."""
        return (await self._call("GET", "/device")).get("device", [])

    async def end_device(self, device: str) -> None:
        """Logs a device out, this one or another."""
        await self._call("DELETE", "/device", device=device)

    async def conversations(self) -> list[Table]:
        return await self._pages("/conversation", "conversation", lambda last: last["conversation"])

    async def groups(self) -> list[Table]:
        return await self._pages("/group", "group", lambda last: last["id"])

    async def group(self, group: int) -> Table:
        """Its name, creator and `members`; `user` has the profiles of the first of them."""
        answer = await self._call("GET", f"/group/{group}")
        return {**answer["group"][0], "user": answer.get("user", [])}

    async def history(
        self, *, user: int | None = None, group: int | None = None, before: int | None = None, limit: int | None = None
    ) -> tuple[bool, list[Delivery]]:
        """A page of a conversation, oldest first, and whether there are older ones. Not to be acknowledged."""
        page = await self._call("GET", "/history", **{"with": user}, group=group, before=before, limit=limit)
        return bool(page["response"][0]["more"]), self._entries(page)

    async def offline(self, limit: int | None = None) -> tuple[str | None, list[Delivery]]:
        """What this device is owed, without a connection, and the cursor that `clear_offline` takes."""
        page = await self._call("GET", "/offline", limit=limit)
        return page["response"][0].get("cursor"), self._entries(page)

    async def clear_offline(self, cursor: str) -> None:
        await self._call("DELETE", "/offline", upto=cursor)

    # -- the life of it

    async def __aenter__(self) -> Client:
        for id, kind, entry in self.state.unanswered():
            self._pending[id] = _Pending(kind, entry)
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._tick())]
        await self._connected.wait()
        if self._end:
            raise self._end
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """Says what is still to be said and ends the connection."""
        if self._link:
            self._flush()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self.timeout):
                    await self._link.writer.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._end:
            self._finish(Closed("closed"))
            self.state.close()

    async def _run(self) -> None:
        link, short = None, 0
        try:
            while True:
                if link is None:
                    link = await self._reach()
                next_link = None
                try:
                    next_link = await self._serve(link)
                finally:
                    self._link = None
                    link.close()
                # A node that takes logins and then hangs up again and again is not asked without pause.
                short = 0 if next_link or time.monotonic() - link.began > 5 else short + 1
                if short:
                    await self._pause(short)
                link = next_link
        except Exception as end:  # said where the program waits, not lost with this task
            if not isinstance(end, Error):
                log.exception("the client ends by a mistake")
                end = Error(f"the client has ended by a mistake: {end!r}")
            self._finish(end)
            self.state.close()

    async def _reach(self) -> _Link:
        deadline, tries = time.monotonic() + self.patience, 0
        while True:
            try:
                if self.address is None:
                    self.address = await self._ask("/server/reconnect", id=self.user)
                return await self._open(self.address)
            except _Moved as moved:
                failure = moved
                if "server" in moved.notice:
                    self.address = (moved.notice["server"], int(moved.notice["port"]))
                else:
                    await asyncio.sleep(moved.notice.get("after", 0) / 1000)
            except ssl.SSLCertVerificationError as untrusted:
                raise Error(f"{self.address}: expected a certificate that is trusted: {untrusted}") from untrusted
            except (OSError, Malformed, Unreachable) as lost:
                failure = lost
                log.info("no login at %s: %s", self.address, lost)
                with contextlib.suppress(Unreachable):
                    # If the node is alive it is our way to it that is not; asked otherwise, another node may be named.
                    if tries % 2 == 0:
                        self.address = await self._ask("/server/failed")
                    else:
                        self.address = await self._ask("/server/reconnect", id=self.user)
            except Refused as refused:
                if not refused.again:
                    raise
                failure = refused
            tries += 1
            if time.monotonic() > deadline:
                raise Unreachable(f"expected a node to log in to, for {self.patience} s: {failure}") from failure
            await self._pause(tries)

    async def _ask(self, path: str, **arguments: Any) -> tuple[str, int]:
        head = (await self._call("POST", path, **arguments))["response"][0]
        if head["status"] == 3 and self.address:
            return self.address
        return head["server"], int(head["port"])

    async def _pause(self, tries: int) -> None:
        first, most = self.pauses
        await asyncio.sleep(random.uniform(0, min(most, first * 2 ** min(tries, 16))))

    async def _open(self, address: tuple[str, int]) -> _Link:
        """Connects and logs in."""
        async with asyncio.timeout(self.timeout):
            server, port = self.route(*address)
            link = _Link(*await asyncio.open_connection(server, port, ssl=self.tls))
            try:
                id, moved = self._new_id(), None
                user = {"id": self.user, "device": self.device, "token": self.token}
                link.write(frame("r", [{"id": id, "t": "login", "user": user}]))
                while True:
                    kind, entry = await link.next()
                    if kind == "n" and entry["t"] == "move":
                        moved = entry
                    elif kind == "rr" and entry["s"] == 0:
                        return link
                    elif kind == "rr" and moved:
                        raise _Moved(moved)
                    elif kind == "rr":
                        raise Refused(f"login at {server}:{port}", entry["code"], entry["r"])
            except BaseException:
                link.close()
                raise

    async def _serve(self, link: _Link) -> _Link | None:
        """Takes what comes until the connection ends; the next one, where the node asked to move."""
        self._link = link
        for pending in self._pending.values():
            self._write(link, pending)
        for conversation, seq in self._marks.items():
            link.write(frame("a", [self._mark(conversation, seq)]))
        self._connected.set()
        moving: asyncio.Task[_Link] | None = None
        wait = 0.0
        try:
            while True:
                kind, entry = await link.next()
                if kind == "n" and entry["t"] == "replaced":
                    if not moving:
                        raise Replaced(f"device {self.device!r} of user {self.user} has logged in elsewhere")
                    break
                if kind == "n" and entry["t"] == "move" and not moving:
                    if "server" in entry:
                        moving = asyncio.create_task(self._move(link, entry))
                    else:
                        wait = time.monotonic() + entry["after"] / 1000
                self._take(kind, entry)
        except (OSError, Malformed) as lost:
            log.info("the connection to %s:%s has ended: %s", *self.address, lost)
        finally:
            self._link = None
            if moving and asyncio.current_task().cancelling():
                moving.cancel()
        if moving:
            with contextlib.suppress(OSError, Malformed, Refused):
                return await moving
        elif wait > time.monotonic():
            await asyncio.sleep(wait - time.monotonic())
        return None

    async def _move(self, old: _Link, notice: Entry) -> _Link:
        await asyncio.sleep(notice["after"] / 1000)
        address = (notice["server"], int(notice["port"]))
        link = await self._open(address)
        self.address = address
        self._link = None  # from here on what is sent waits for the new connection, behind what has no answer
        old.close()
        return link

    async def _tick(self) -> None:
        """Heartbeats, and once more what has no answer."""
        while True:
            await asyncio.sleep(min(1.0, self.heartbeat / 4, self.resend / 4))
            now, link = time.monotonic(), self._link
            if not link:
                continue
            if now - link.heard > self.heartbeat + self.timeout:
                link.writer.transport.abort()  # not a word, not even to a heartbeat
            elif now - max(link.heard, link.said) > self.heartbeat:
                link.write(HEARTBEAT)
            if any(now - pending.sent > self.resend for pending in self._pending.values()):
                for pending in self._pending.values():
                    self._write(link, pending)

    def _take(self, kind: str, entry: Entry) -> None:
        if kind in ("m", "gm", "r"):
            self._deliver(kind, entry)
        elif kind == "a" and entry["lvl"] == "stored":
            self._answer(entry, None)
        elif kind == "a":
            receipt = Receipt(entry["id"], entry["lvl"], entry.get("from", {}).get("id"), entry)
            if self._receipts.add(receipt):
                self.on_receipt(receipt)
        elif kind == "rr" and entry["s"] == 0:
            self._answer(entry, None)
        elif kind == "rr":
            what = self._pending.get(entry["id"])
            name = f"{what.entry.get('t') or what.kind} {entry['id']!r}" if what else f"frame {entry['id']!r}"
            refused = Refused(name, entry["code"], entry["r"])
            log.log(logging.DEBUG if what else logging.WARNING, "%s", refused)
            if what and refused.again and what.refusals + 1 < TRIES:
                what.refusals += 1  # it stays without an answer, so it is sent again
            else:
                self._answer(entry, refused)

    def _answer(self, entry: Entry, refused: Refused | None) -> None:
        pending = self._pending.pop(entry["id"], None)
        if pending is None:
            return  # its answer to an earlier try came before
        self.state.answered(entry["id"])
        if pending.answer.done():
            return
        if refused:
            pending.answer.set_exception(refused)
        else:
            pending.answer.set_result(entry)

    def _deliver(self, kind: str, entry: Entry) -> None:
        delivery = self._delivery(kind, entry)
        known = (delivery.conversation, delivery.seq)
        if self.state.was_acked(_name(delivery.conversation), delivery.seq):
            self._say_ack(delivery)  # what said so was lost
        elif known not in self._given:
            self._given.add(known)
            self._inbox.put_nowait(delivery)

    def _delivery(self, kind: str, entry: Entry) -> Delivery:
        group = entry.get("group") or entry.get("group_id")
        to = entry.get("to")
        other = to["id"] if isinstance(to, dict) else to
        if entry["from"]["id"] != self.user:
            other = entry["from"]["id"]
        return Delivery(kind, entry, ("group", group) if group else ("user", other), self)

    def _entries(self, page: Table) -> list[Delivery]:
        """In the order of a conversation's seq; pages group entries by kind."""
        found = [self._delivery(kind, entry) for kind in ("m", "gm", "r") for entry in page.get(kind, [])]
        return sorted(found, key=lambda delivery: (delivery.conversation, delivery.seq))

    def _ack(self, delivery: Delivery) -> None:
        known = (delivery.conversation, delivery.seq)
        if known in self._given and not self._end:
            self._given.discard(known)
            self.state.ack(_name(delivery.conversation), delivery.seq)
            self._say_ack(delivery)

    def _say_ack(self, delivery: Delivery) -> None:
        if not self._acks:
            asyncio.get_running_loop().call_soon(self._flush)
        kind, other = delivery.conversation
        side = {"group": other} if kind == "group" else {"to" if delivery.own else "from": {"id": other}}
        self._acks.append({"seq": delivery.seq, **side})

    def _flush(self) -> None:
        acks, self._acks = self._acks, []
        if self._link:  # without one they come again, and are acknowledged then
            for at in range(0, len(acks), ENTRIES):
                self._link.write(frame("a", acks[at : at + ENTRIES]))

    def _mark_read(self, conversation: tuple[str, int], seq: int) -> None:
        """A mark has no answer, so the last ones are said again after a lost connection."""
        self._marks[conversation] = seq
        self._marks.move_to_end(conversation)
        if len(self._marks) > MARKS:
            self._marks.popitem(last=False)
        if self._link:
            self._link.write(frame("a", [self._mark(conversation, seq)]))

    @staticmethod
    def _mark(conversation: tuple[str, int], seq: int) -> Entry:
        kind, other = conversation
        return {"lvl": "read", "seq": seq, **({"group": other} if kind == "group" else {"from": {"id": other}})}

    def _write(self, link: _Link, pending: _Pending) -> None:
        pending.sent = time.monotonic()
        link.write(frame(pending.kind, [pending.entry]))

    def _finish(self, end: Error) -> None:
        self._end = end
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(end)
        self._inbox.put_nowait(None)
        self._connected.set()

    def _new_id(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"

    @staticmethod
    async def _wait(answer: asyncio.Future[Entry], timeout: float) -> Entry:
        async with asyncio.timeout(timeout):
            return await asyncio.shield(answer)

    async def _call(self, method: str, path: str, **arguments: Any) -> Table:
        return await self.http.call(method, path, self.token, **arguments)

    async def _user(self, path: str) -> Table | None:
        try:
            return (await self._call("GET", path))["user"][0]
        except Refused as refused:
            if refused.code == "not_found":
                return None
            raise

    async def _pages(self, path: str, name: str, after: Callable[[Table], Any]) -> list[Table]:
        found: list[Table] = []
        while True:
            page = await self._call("GET", path, after=after(found[-1]) if found else None)
            found += page.get(name, [])
            if not page["response"][0].get("more"):
                return found


def _name(conversation: tuple[str, int]) -> str:
    return f"{conversation[0]}:{conversation[1]}"
