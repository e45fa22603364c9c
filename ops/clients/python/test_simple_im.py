"""Tests of simple_im.py that need no stack: its pure parts, and the client before a node that is played here."""

import asyncio
import contextlib
import itertools
import random
import shutil
import ssl
import subprocess
import tempfile
import tomllib
import unittest

from simple_im import HEARTBEAT, Client, Closed, Error, Frames, Malformed, Receipt, Refused, Replaced, Seen, State
from simple_im import Unreachable, frame, toml

SOON = 20.0  # seconds that anything awaited may take on a busy machine
QUICK = {"pauses": (0.02, 0.3), "timeout": 5.0}


class Toml(unittest.TestCase):
    def test_what_is_written_is_read_back(self):
        chance = random.Random(1)
        alphabet = '"\\\b\t\n\f\r\0\x01\x1f\x7f\u0085\u2028 az[]=#\'傻😀e\u0301'
        for _ in range(500):
            text = "".join(chance.choices(alphabet, k=chance.randrange(40)))
            number = chance.randrange(-(2**63), 2**63)
            entry = {"id": text, "n": number, "members": [1, 2], "to": {"id": 3, "name": text}}
            self.assertEqual(tomllib.loads(toml("m", [entry, entry])), {"m": [entry, entry]})

    def test_what_is_none_is_left_out_and_tables_come_last(self):
        entry = {"user": {"id": 1, "device": "bot"}, "id": "a", "ack": None}
        self.assertEqual(toml("r", [entry]), '[[r]]\nid = "a"\n[r.user]\nid = 1\ndevice = "bot"\n')

    def test_what_the_protocol_has_no_form_for_is_refused(self):
        mistakes = [({"x": 1.5}, "1.5"), ({"x": True}, "True"), ({"a b": 1}, "'a b'"), ({"x": {"y": {}}}, "{}")]
        for entry, found in mistakes:
            with self.subTest(found), self.assertRaisesRegex(Malformed, "expected .* found " + found):
                toml("m", [entry])
        with self.assertRaisesRegex(Malformed, "surrogate"):
            frame("m", [{"c": "\ud800"}])


class Framing(unittest.TestCase):
    def test_any_split_of_the_bytes_gives_the_same_frames(self):
        sent = frame("m", [{"c": "#9\n\n你好"}, {"c": ""}]) + HEARTBEAT + frame("a", [{"seq": 1, "from": {"id": 2}}])
        expected = [[("m", {"c": "#9\n\n你好"}), ("m", {"c": ""})], [], [("a", {"seq": 1, "from": {"id": 2}})]]
        self.assertEqual(Frames().feed(sent), expected)
        for cuts in itertools.combinations(range(0, len(sent), 3), 2):
            frames, found = Frames(), []
            for begin, end in itertools.pairwise([0, *cuts, len(sent)]):
                found += frames.feed(sent[begin:end])
            self.assertEqual(found, expected, cuts)

    def test_a_stream_that_is_out_of_step_is_said_to_be(self):
        for stream, found in [
            (b"[[rr]]\n", r"found b'\[\[rr"),
            (b"#\n", "found b'#'"),
            (b"#-1\n", "found b'#-1'"),
            (b"#99999999999999", "found b'#99999999999'"),
            (b"#9999999\n", "found one of 9999999"),
            (b"#3\nx=\n", "found b'x=.n'"),
            (b"#3\n\xff\xff\xff", "found b'.xff"),
        ]:
            with self.assertRaisesRegex(Malformed, "expected .*" + found):
                Frames().feed(stream)


class Memory(unittest.TestCase):
    def test_what_was_seen_is_known_up_to_a_limit(self):
        seen = Seen(limit=2)
        self.assertEqual([seen.add(thing) for thing in [1, 1, 2, 3, 2, 1]], [True, False, True, True, False, True])

    def test_a_state_file_keeps_what_has_no_answer_in_order_and_what_was_acknowledged(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/state"
            state = State(path, 1, "bot")
            for id in ["b", "a", "c"]:
                state.keep(id, "m", {"id": id, "c": "傻"})
            state.answered("a")
            state.ack("user:2", 7)
            state.close()
            state = State(path, 1, "bot")
            self.assertEqual([id for id, _, _ in state.unanswered()], ["b", "c"])
            self.assertEqual(state.unanswered()[0], ("b", "m", {"id": "b", "c": "傻"}))
            self.assertEqual([state.was_acked("user:2", seq) for seq in (6, 7)], [False, True])
            state.close()
            with self.assertRaisesRegex(Error, "expected the state of user 2"):
                State(path, 2, "bot")


class Node:
    """A node that a test plays: it takes logins, and everything else is in the test's hands."""

    def __init__(self, tls=None):
        self.tls = tls
        self.links: asyncio.Queue[NodeLink] = asyncio.Queue()
        self.login = lambda link, id: link.say("rr", {"id": id, "t": "login", "s": 0})
        self.all: list[NodeLink] = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._take, "127.0.0.1", ssl=self.tls)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for link in self.all:
            link.close()

    async def _take(self, reader, writer):
        link = NodeLink(reader, writer)
        self.all.append(link)
        if login := await link.next():
            link.user = login[1]["user"]
            self.login(link, login[1]["id"])
            self.links.put_nowait(link)

    async def link(self):
        async with asyncio.timeout(SOON):
            return await self.links.get()


class NodeLink:
    def __init__(self, reader, writer):
        self.reader, self.writer, self.frames, self.ahead = reader, writer, Frames(), []

    async def next(self):
        """The next entry from the client; None where it has closed the connection, () for a heartbeat."""
        async with asyncio.timeout(SOON):
            while not self.ahead:
                with contextlib.suppress(OSError):
                    piece = b""
                    piece = await self.reader.read(65536)
                if not piece:
                    return None
                self.ahead += [entry for found in self.frames.feed(piece) for entry in found or [()]]
        return self.ahead.pop(0)

    def say(self, kind, *entries):
        self.writer.write(frame(kind, list(entries)))

    def message(self, seq):
        self.say("m", {"id": f"b_{seq}", "c": str(seq), "ts": 1, "seq": seq, "to": {"id": 1}, "from": {"id": 2}})

    def close(self):
        self.writer.close()


class Played(unittest.IsolatedAsyncioTestCase):
    """The client before a node that is played, where every step is the test's."""

    async def asyncSetUp(self):
        self.stack = contextlib.AsyncExitStack()
        self.node = await self.stack.enter_async_context(Node())

    async def asyncTearDown(self):
        await self.stack.aclose()

    def client(self, **options):
        # Port 9 answers no HTTP: nothing here needs it, and asking for another node fails at once.
        options = {"address": self.node.address, **QUICK, **options}
        client = Client("http://127.0.0.1:9", 1, "token", "bot", **options)
        client.http.patience = 0.0
        return client

    async def online(self, **options):
        client = await self.stack.enter_async_context(self.client(**options))
        return client, await self.node.link()

    async def test_what_has_no_answer_is_sent_again_with_its_id_and_in_order(self):
        client, link = await self.online(resend=0.2)
        answers = [client.post("m", {"id": id, "c": id, "to": 2}) for id in ("x", "y", "z")]
        self.assertEqual([(await link.next())[1]["id"] for _ in range(3)], ["x", "y", "z"])
        link.say("a", {"id": "y", "lvl": "stored", "ts": 1, "seq": 2})
        self.assertEqual((await answers[1])["seq"], 2)
        again = [(await link.next())[1]["id"] for _ in range(2)]
        self.assertEqual(again, ["x", "z"])
        # The same after a lost connection, before anything new.
        client.resend = 60.0
        link.close()
        link = await self.node.link()
        new = client.post("m", {"id": "new", "c": "", "to": 2})
        self.assertEqual([(await link.next())[1]["id"] for _ in range(3)], ["x", "z", "new"])
        # Two answers, for it was sent twice.
        for seq in (1, 1):
            link.say("a", {"id": "x", "lvl": "stored", "ts": 1, "seq": seq})
        link.say("a", {"id": "new", "lvl": "stored", "ts": 1, "seq": 3})
        self.assertEqual((await answers[0])["seq"], 1)
        self.assertEqual((await new)["seq"], 3)
        self.assertEqual(set(client.unanswered), {"z"})

    async def test_a_refusal_is_the_answer_unless_it_says_to_try_again(self):
        client, link = await self.online(resend=0.05)
        refused = client.post("m", {"id": "x", "c": "", "to": 2})
        link.say("rr", {"id": "x", "t": "", "s": 1, "r": "no", "code": "blocked"})
        with self.assertRaisesRegex(Refused, "m 'x': .*blocked"):
            await refused
        later = client.post("r", {"id": "y", "t": "block", "to": 2})
        sent = 0
        while not later.done():
            kind, entry = await link.next()
            if entry["id"] == "y":
                sent += 1
                link.say("rr", {"id": "y", "t": "block", "s": 1, "r": "down", "code": "unavailable"})
                await asyncio.sleep(0)
            if sent == 5:
                break
        with self.assertRaisesRegex(Refused, "block 'y': .*unavailable"):
            await later

    async def test_a_delivery_that_comes_again_is_given_once_and_acknowledged_again(self):
        client, link = await self.online()
        link.message(1)
        link.message(2)
        first, second = await client.receive(SOON), await client.receive(SOON)
        first.ack()
        self.assertEqual(await link.next(), ("a", {"seq": 1, "from": {"id": 2}}))
        link.close()
        link = await self.node.link()
        for seq in (1, 2, 3):
            link.message(seq)
        self.assertEqual((await client.receive(SOON)).seq, 3)
        self.assertEqual(await link.next(), ("a", {"seq": 1, "from": {"id": 2}}), "the first one may be lost")
        second.ack()
        self.assertEqual(await link.next(), ("a", {"seq": 2, "from": {"id": 2}}))

    async def test_a_loop_acknowledges_what_it_has_come_back_from(self):
        client, link = await self.online()
        for seq in (1, 2):
            link.message(seq)
        async for delivery in client:
            if delivery.seq == 2:
                break
        self.assertEqual(await link.next(), ("a", {"seq": 1, "from": {"id": 2}}))
        with self.assertRaises(ZeroDivisionError):
            link.message(3)
            await client.run(lambda delivery: 1 / 0)

    async def test_copies_groups_and_requests_are_acknowledged_as_the_protocol_says(self):
        client, link = await self.online()
        link.say("m", {"id": "c", "c": "", "ts": 1, "seq": 4, "to": {"id": 7}, "from": {"id": 1, "device": "phone"}})
        link.say("gm", {"id": "g", "c": "", "ts": 1, "seq": 5, "group": 9, "from": {"id": 2}})
        link.say("r", {"id": "r", "t": "add_contact", "to": 1, "message": "hi", "ts": 1, "seq": 6, "from": {"id": 2}})
        link.say("r", {"id": "s", "t": "add_contact", "to": 8, "message": "", "ts": 1, "seq": 7, "from": {"id": 1}})
        link.say("r", {"id": "t", "t": "delete_group", "group_id": 9, "ts": 1, "seq": 8, "from": {"id": 2}})
        sides = [{"to": {"id": 7}}, {"group": 9}, {"from": {"id": 2}}, {"to": {"id": 8}}, {"group": 9}]
        for seq, side in enumerate(sides, start=4):
            (await client.receive(SOON)).ack()
            self.assertEqual(await link.next(), ("a", {"seq": seq, **side}))

    async def test_receipts_are_told_once_and_read_marks_are_said_again(self):
        receipts = []
        client, link = await self.online(on_receipt=receipts.append)
        for _ in range(2):
            link.say("a", {"id": "x", "lvl": "read", "seq": 1, "from": {"id": 2}})
        link.message(1)
        (await client.receive(SOON)).read()
        client.read(3, group=9)
        marks = [("a", {"lvl": "read", "seq": 1, "from": {"id": 2}}), ("a", {"lvl": "read", "seq": 3, "group": 9})]
        self.assertEqual([await link.next(), await link.next()], marks)
        self.assertEqual(receipts, [Receipt("x", "read", 2, {})])
        link.close()
        link = await self.node.link()
        self.assertEqual([await link.next(), await link.next()], marks)

    async def test_a_silent_node_is_asked_by_a_heartbeat_and_then_left(self):
        client, link = await self.online(heartbeat=0.1, timeout=0.3)
        self.assertEqual(await link.next(), ())
        link.writer.write(HEARTBEAT)
        self.assertEqual(await link.next(), ())
        await self.node.link()  # it has come back by itself: no answer was given to the second one

    async def test_it_moves_when_told_and_says_there_what_has_no_answer(self):
        client, old = await self.online()
        async with Node() as other:
            answer = client.post("m", {"id": "x", "c": "", "to": 2})
            await old.next()
            old.say("n", {"t": "move", "server": other.address[0], "port": other.address[1], "after": 50})
            new = await other.link()
            self.assertEqual(new.user, {"id": 1, "device": "bot", "token": "token"})
            old.say("n", {"t": "replaced"})
            self.assertEqual((await new.next())[1]["id"], "x")
            new.say("a", {"id": "x", "lvl": "stored", "ts": 1, "seq": 1})
            self.assertEqual((await answer)["seq"], 1)
            self.assertEqual(await old.next(), None)

    async def test_told_to_move_without_a_place_it_comes_back_where_it_was(self):
        client, link = await self.online()
        link.say("n", {"t": "move", "after": 100})
        link.close()
        link = await self.node.link()
        self.assertEqual(link.user["id"], 1)

    async def test_a_login_that_meets_a_node_about_to_end_goes_where_it_says(self):
        async with Node() as other:
            def ending(link, id):
                link.say("n", {"t": "move", "server": other.address[0], "port": other.address[1], "after": 0})
                link.say("rr", {"id": id, "t": "login", "s": 1, "r": "ending", "code": "unavailable"})
                link.close()

            self.node.login = ending
            client = await self.stack.enter_async_context(self.client())
            await other.link()
            self.assertEqual(tuple(client.address), tuple(other.address))

    @unittest.skipUnless(shutil.which("openssl"), "expected openssl, to make a certificate")
    async def test_tls_is_spoken_and_certificates_are_checked(self):
        with tempfile.TemporaryDirectory() as folder:
            make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 1 -subj /CN=node"
            name = ["-addext", "subjectAltName=IP:127.0.0.1"]
            made = [*make.split(), *name]
            await asyncio.to_thread(subprocess.run, made, cwd=folder, check=True, capture_output=True)
            theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            theirs.load_cert_chain(folder + "/cert", folder + "/key")
            trusting = ssl.create_default_context(cafile=folder + "/cert")
        async with Node(theirs) as node:
            client = self.client(address=node.address, tls=trusting)
            async with client:
                link = await node.link()
                client.post("m", {"id": "x", "c": "", "to": 2})
                self.assertEqual((await link.next())[1]["id"], "x")
            # The node's side of the handshake that fails is no news.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            with self.assertRaisesRegex(Error, "expected a certificate that is trusted"):
                await self.client(address=node.address, tls=ssl.create_default_context()).__aenter__()

    async def test_what_cannot_get_better_ends_it(self):
        client, link = await self.online()
        answer = client.post("m", {"c": "", "to": 2})
        link.say("n", {"t": "replaced"})
        with self.assertRaises(Replaced):
            await client.receive(SOON)
        with self.assertRaises(Replaced):
            await answer
        with self.assertRaises(Replaced):
            client.post("m", {"c": "", "to": 2})
        refusal = {"t": "login", "s": 1, "r": "gone", "code": "token"}
        self.node.login = lambda link, id: link.say("rr", {"id": id, **refusal})
        with self.assertRaisesRegex(Refused, "login at .*: token"):
            await self.client().__aenter__()
        with self.assertRaises(Unreachable):
            await self.client(address=("127.0.0.1", 9), patience=0.2).__aenter__()
        self.node.login = lambda link, id: link.say("rr", {"id": id, "s": 0}, {"id": "no s"})
        with self.assertLogs("simple_im"), self.assertRaisesRegex(Error, "mistake.*'s'"):
            client = await self.online()
            await client[0].receive(SOON)

    async def test_bounds_and_mistakes_are_said_at_once(self):
        client, link = await self.online(unanswered=2)
        client.post("m", {"id": "x", "c": "", "to": 2})
        with self.assertRaisesRegex(Error, "waits for no answer, found 'x'"):
            client.post("m", {"id": "x", "c": "other", "to": 3})
        with self.assertRaisesRegex(Malformed, "expected a text"):
            client.post("m", {"c": 1.5, "to": 2})
        answer = client.post("m", {"c": "", "to": 2})
        with self.assertRaisesRegex(Error, "at most 2 frames"):
            client.post("m", {"c": "", "to": 2})
        with self.assertRaises(TimeoutError):
            await client._wait(answer, 0.01)
        self.assertFalse(answer.done(), "it is still tried")
        await client.close()
        with self.assertRaises(Closed):
            await answer
        self.assertEqual([delivery async for delivery in client], [])
        with self.assertRaisesRegex(Error, "http://"):
            Client("127.0.0.1:8080", 1, "token", "bot")


if __name__ == "__main__":
    unittest.main()
