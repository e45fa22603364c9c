"""Tests of simple_im.py before a running stack with two edges.

ops/clients/python/test runs them: STACK is the data folder of the stack, SIMPLE_IM the binary that runs it.
"""

import asyncio
import contextlib
import itertools
import os
import pathlib
import random
import signal
import sys
import tempfile
import tomllib
import unittest

from simple_im import Client, Refused, Replaced

STACK = os.environ.get("STACK", "")
SOON = 30.0  # seconds that anything awaited may take on a busy machine
QUICK = {"pauses": (0.02, 0.3)}
PHONES = itertools.count(13800000001)


class Proxy:
    """Between a client and its node: cuts every connection after a random number of bytes, in mid-frame as it comes.

    It is a line with a speed. Were all that waits on one side passed on at once, a long backlog would use a connection
    up before the first word of the other side, time after time.
    """

    def __init__(self, seed):
        self.chance, self.cuts, self.whole, self.target, self.tasks = random.Random(seed), 0, False, None, set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._take, "127.0.0.1")
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def route(self, server, port):
        self.target = (server, port)
        return self.server.sockets[0].getsockname()[:2]

    async def _take(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        node_reader, node_writer = await asyncio.open_connection(*self.target)
        # A login is about 130 bytes: sometimes it is cut, too.
        left = [10**12 if self.whole else self.chance.randrange(100, 4000)]

        async def pump(source, sink):
            while piece := await source.read(256):
                sink.write(piece[: max(left[0], 0)])
                left[0] -= len(piece)
                if left[0] <= 0:
                    self.cuts += 1
                    return
                await asyncio.sleep(0.001)

        both = [asyncio.create_task(pump(reader, node_writer)), asyncio.create_task(pump(node_reader, writer))]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.close()
            node_writer.close()


class Listener:
    """Takes everything that comes to a client, in the order in which it comes."""

    def __init__(self, client):
        self.texts, self.more = [], asyncio.Condition()
        self.task = asyncio.create_task(client.run(self._take))

    async def _take(self, delivery):
        async with self.more:
            self.texts.append(delivery.text)
            self.more.notify_all()

    async def has(self, count):
        async with asyncio.timeout(SOON), self.more:
            await self.more.wait_for(lambda: len(self.texts) >= count or self.task.done())
        if self.task.done():
            await self.task
        return self.texts


@unittest.skipUnless(STACK, "expected STACK: ops/clients/python/test sets it")
class Live(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.stack = contextlib.AsyncExitStack()

    async def asyncTearDown(self):
        await self.stack.aclose()

    def processes(self):
        return tomllib.loads(pathlib.Path(STACK, "stack.toml").read_text())["process"]

    def edges(self):
        return [process for process in self.processes() if process["kind"] == "edge"]

    def addresses(self, first=0):
        addresses = ["http://" + edge["http"] for edge in self.edges()]
        return addresses[first:] + addresses[:first]

    async def user(self, device="one", first=0, **options):
        """A client of a new user, by way of the edge `first`; not connected yet."""
        phone = str(next(PHONES))
        await Client.register(self.addresses(first), phone, "user " + phone, "secret")
        client = await self.device(phone, device, first, **options)
        client.phone = phone
        return client

    async def device(self, phone, device, first=0, **options):
        return await Client.login(self.addresses(first), phone, "secret", device, **QUICK, **options)

    async def online(self, *args, **options):
        return await self.stack.enter_async_context(await self.user(*args, **options))

    async def two(self, **options):
        return await self.online(first=0), await self.online(first=1, **options)

    async def nothing_owed(self, client):
        """Waits until the system knows that the client has acknowledged everything."""
        async with asyncio.timeout(SOON):
            while (await client.offline())[1]:
                await asyncio.sleep(0.05)

    async def test_two_users_talk_become_contacts_and_look_back(self):
        receipts = asyncio.Queue()
        alice, bob = await self.online(on_receipt=receipts.put_nowait), await self.online(first=1)
        self.assertEqual((await alice.find(bob.phone))["id"], bob.user)
        self.assertEqual((await bob.profile(alice.user))["phone"], alice.phone)
        self.assertIsNone(await alice.find("999"))
        text = 'hello "Bob"\n\n你好\t😀 \\ #0'
        stored = await alice.send(bob.user, text, id="mine", ack="receipts")
        self.assertEqual((stored["id"], stored["seq"]), ("mine", 1))
        got = await bob.receive(SOON)
        self.assertEqual((got.id, got.text, got.sender, got.seq), ("mine", text, alice.user, 1))
        got.ack()
        got.read()
        async with asyncio.timeout(SOON):
            levels = [(await receipts.get()) for _ in range(2)]
        levels = {(receipt.id, receipt.level, receipt.user) for receipt in levels}
        self.assertEqual(levels, {("mine", level, bob.user) for level in ("delivered", "read")})
        self.assertEqual((await alice.send(bob.user, text, id="mine"))["seq"], 1, "the same message")
        await alice.add_contact(bob.user, "it's me")
        asked = await bob.receive(SOON)
        self.assertEqual((asked.entry["t"], asked.text), ("add_contact", "it's me"))
        asked.ack()
        for client, other, own in [(alice, bob, 1), (bob, alice, None)]:
            waiting = [(one["id"], one["message"], one.get("own")) for one in await client.requests()]
            self.assertEqual(waiting, [(other.user, "it's me", own)])
        await bob.accept_contact(alice.user)
        self.assertEqual(await bob.requests(), [])
        (await alice.receive(SOON)).ack()
        version, users = await bob.contacts()
        self.assertEqual([user["id"] for user in users], [alice.user])
        self.assertEqual(await bob.contacts(version), (version, []))
        with self.assertRaisesRegex(Refused, "exists"):
            await alice.add_contact(bob.user)
        await bob.block(alice.user)
        self.assertEqual([user["id"] for user in await bob.blocked()], [alice.user])
        with self.assertRaises(Refused) as refused:
            await alice.send(bob.user, "why?", id="why")
        self.assertEqual(refused.exception.code, "blocked")
        await bob.unblock(alice.user)
        self.assertEqual((await alice.send(bob.user, "why?", id="why"))["id"], "why")
        await bob.receive(SOON)
        more, page = await bob.history(user=alice.user, limit=2)
        self.assertEqual((more, [entry.text for entry in page][1:]), (True, ["why?"]))
        await bob.update(name="Robert")
        self.assertEqual((await alice.profile(bob.user))["name"], "Robert")
        with self.assertRaisesRegex(Refused, "invalid"):
            await alice.update(name="")
        self.assertEqual([c["user"] for c in await bob.conversations()], [alice.user])

    async def test_a_group_and_all_devices(self):
        alice, bob = await self.two()
        carol = await self.online()
        phone = await self.stack.enter_async_context(await self.device(alice.phone, "two", 1))
        group = await alice.create_group("friends", [bob.user])
        await alice.add_member(group, carol.user)
        await bob.send_group(group, "hello, all")
        for client, kinds in [(alice, "gm"), (bob, "r r"), (carol, "r gm"), (phone, "r r gm")]:
            found = [await client.receive(SOON) for _ in kinds.split()]
            self.assertEqual([entry.kind for entry in found], kinds.split())
            self.assertEqual({entry.conversation for entry in found}, {("group", group)})
            for entry in found:
                entry.ack()
        self.assertEqual([g["name"] for g in await carol.groups()], ["friends"])
        self.assertEqual(set((await carol.group(group))["members"]), {alice.user, bob.user, carol.user})
        await carol.leave_group(group)
        with self.assertRaisesRegex(Refused, "not_member"):
            await carol.send_group(group, "one more thing")
        await alice.send(bob.user, "from one")
        left = await phone.receive(SOON)
        self.assertEqual(left.entry["t"], "delete_group_member")
        left.ack()
        copy = await phone.receive(SOON)
        self.assertTrue(copy.own)
        self.assertEqual(copy.conversation, ("user", bob.user))
        copy.ack()
        more, page = await phone.history(group=group)
        self.assertEqual([entry.seq for entry in page], [1, 2, 3, 4])
        # All that was acknowledged was understood: messages, requests, copies, of a user and of the group.
        await self.nothing_owed(phone)

    async def test_what_was_missed_comes_at_the_next_login_by_token(self):
        alice, bob = await self.two()
        await alice.send(bob.user, "0")
        async for delivery in bob:
            delivery.ack()
            break
        await bob.close()
        await self.nothing_owed(bob)
        for text in "1234":
            await alice.send(bob.user, text)
        cursor, page = await bob.offline(limit=2)
        self.assertEqual([entry.text for entry in page], ["1", "2"])
        await bob.clear_offline(cursor)
        # Without a password and without an address.
        again = Client(self.addresses(1), bob.user, bob.token, bob.device, **QUICK)
        await self.stack.enter_async_context(again)
        self.assertEqual(await Listener(again).has(2), ["3", "4"])

    async def test_an_edge_is_killed_in_mid_conversation_and_nothing_is_lost_or_doubled(self):
        alice, bob = await self.two()
        to_bob, to_alice = Listener(bob), Listener(alice)
        expected = [str(n) for n in range(200)]

        async def talk(one, other):
            for text in expected:
                await one.send(other.user, text)

        talks = [asyncio.create_task(talk(alice, bob)), asyncio.create_task(talk(bob, alice))]
        await to_bob.has(60)
        victim = next(e for e in self.edges() if e["tcp"] == "{}:{}".format(*bob.address))
        os.kill(victim["pid"], signal.SIGKILL)
        await asyncio.gather(*talks)
        self.assertEqual(await to_bob.has(200), expected)
        self.assertEqual(await to_alice.has(200), expected)
        await self.all_ready()

    async def test_an_edge_that_ends_in_order_moves_its_clients(self):
        alice, bob = await self.two()
        to_bob = Listener(bob)
        name = next(e["name"] for e in self.edges() if e["tcp"] == "{}:{}".format(*bob.address))
        restart = await asyncio.create_subprocess_exec(
            os.environ["SIMPLE_IM"], "restart", "--data", STACK, name, stdout=asyncio.subprocess.DEVNULL
        )
        sent = 0
        while restart.returncode is None or sent < 100:
            await alice.send(bob.user, str(sent))
            sent += 1
        self.assertEqual(restart.returncode, 0)
        self.assertEqual(await to_bob.has(sent), [str(n) for n in range(sent)])
        await self.all_ready()

    async def test_connections_that_break_in_mid_frame_lose_and_double_nothing(self):
        alice = await self.online()
        async with Proxy(seed=7) as proxy:
            bob = await self.user(first=1, route=proxy.route, timeout=3.0, resend=1.0)
            async with bob:
                to_bob, to_alice = Listener(bob), Listener(alice)
                expected = [str(n) + "傻" * (n % 40) for n in range(100)]
                answers = []
                for n, text in enumerate(expected):
                    answers.append(bob.post("m", {"c": text, "to": alice.user}))
                    await alice.send(bob.user, text)
                    # A connection that is cut so early gets through with a few at a time only, on either side.
                    await asyncio.wait(answers[-5:-4] or answers[:1], timeout=SOON)
                    await to_bob.has(n - 4)
                seqs = [(await asyncio.wait_for(answer, SOON))["seq"] for answer in answers]
                self.assertEqual(await to_bob.has(100), expected)
                self.assertEqual(await to_alice.has(100), expected)
                self.assertEqual(seqs, sorted(seqs))
                self.assertGreater(proxy.cuts, 10)

    async def test_a_program_that_died_goes_on_with_its_state(self):
        alice, bob = await self.two()
        to_alice = Listener(alice)
        with tempfile.TemporaryDirectory() as folder:
            options = {"state": folder + "/state", "resend": 1.0}
            carol = await self.user(**options)
            await carol.__aenter__()
            await alice.send(carol.user, "before")
            (await carol.receive(SOON)).ack()
            # It dies: nothing more is read or said, neither what it posted nor its acknowledgement.
            for task in carol._tasks:
                task.cancel()
            carol._link.writer.transport.abort()
            carol._link = None
            for text in "ab":
                carol.post("m", {"id": text, "c": text, "to": alice.user})
            carol.state.close()
            await alice.send(carol.user, "after")
            again = Client(self.addresses(), carol.user, carol.token, carol.device, **QUICK, **options)
            async with again:
                await asyncio.gather(*again.unanswered.values())
                self.assertEqual(await to_alice.has(2), ["a", "b"])
                self.assertEqual((await again.receive(SOON)).text, "after")

    async def test_one_device_has_one_connection_and_a_logout_ends_it(self):
        alice = await self.online()
        again = await self.stack.enter_async_context(await self.device(alice.phone, "one", 1))
        with self.assertRaises(Replaced):
            await alice.receive(SOON)
        other = await self.stack.enter_async_context(await self.device(alice.phone, "two"))
        await again.end_device("two")
        with self.assertRaisesRegex(Refused, "token"):
            await other.receive(SOON)
        devices = [(device["device"], device.get("own"), device.get("ended")) for device in await again.devices()]
        self.assertEqual(devices, [("one", 1, None), ("two", None, 1)])
        await Client(self.addresses(), again.user, again.token, "one").logout()
        with self.assertRaisesRegex(Refused, "token"):
            await again.receive(SOON)
        with self.assertRaisesRegex(Refused, "credentials"):
            await Client.login(self.addresses(), alice.phone, "wrong", "one")
        with self.assertRaisesRegex(Refused, "taken"):
            await Client.register(self.addresses(), alice.phone, "x", "secret")

    async def test_the_echo_bot(self):
        alice = await self.online()
        phone = str(next(PHONES))
        with tempfile.TemporaryDirectory() as folder:
            bot = await asyncio.create_subprocess_exec(
                sys.executable, pathlib.Path(__file__).resolve().with_name("echo_bot.py"), self.addresses(1)[0], phone,
                env={**os.environ, "PASSWORD": "secret"}, cwd=folder, stdout=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(SOON):
                    user = int((await bot.stdout.readline()).split()[1])
                await alice.add_contact(user)
                await alice.send(user, "hello?")
                self.assertEqual([(await alice.receive(SOON)).text for _ in range(2)], ["", "hello?"])
            finally:
                bot.send_signal(signal.SIGINT)
                await bot.wait()
        self.assertEqual(bot.returncode, 0)

    async def all_ready(self):
        """The supervisor has started the edge again, so the next test finds both."""
        async with asyncio.timeout(SOON):
            for edge in self.edges():
                host, port = edge["http"].split(":")
                while True:
                    with contextlib.suppress(OSError):
                        reader, writer = await asyncio.open_connection(host, int(port))
                        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                        ready = b" 200 " in await reader.readline()
                        writer.close()
                        if ready:
                            break
                    await asyncio.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
