"""Pairs of clients that talk through whatever happens to the system, and keep a book: what each sent, which of it was
acked under which `seq`, and what each was shown. They do what ops/docs/PROTOCOL.md asks of a client: come back, send
what has no answer again under the same ids, acknowledge what they are shown, and drop a `seq` that they have."""
import asyncio
import random
import threading
import time
import tomllib
from collections import Counter

import common

PASSWORD = "a trial's own"
# A frame without an answer for so long goes out again, seconds.
PATIENCE = 10
# No more than so many of one client's messages are without an answer.
WINDOW = 64


class Refused(Exception):
    """An answer that is none of what was asked for."""


async def call(http, method, path, **arguments):
    """One HTTP call; its answer, where that is no refusal."""
    answer = await common.call(http, method, path, **arguments)
    if answer["status"] != 0:
        raise Refused(f"{method} {path}: {answer}")
    return answer


class Person:
    """One user with one device."""

    def __init__(self, talk, phone):
        self.talk, self.phone, self.id, self.token, self.server = talk, phone, None, None, None
        # id -> [text, when it was last sent]; answered ones: id -> seq.
        self.waiting, self.acked, self.sent = {}, {}, 0
        # seq -> id, as shown; how often something came that was there; what is against the promise.
        self.shown, self.repeats, self.wrong = {}, 0, []
        self.connections, self.last, self.longest = 0, None, 0.0

    async def register(self):
        while True:
            try:
                await call(self.talk.http, "POST", "/user", phone=self.phone, name=f"p{self.phone}", password=PASSWORD)
            except (OSError, ValueError, TimeoutError, Refused):
                # Registered by a call whose answer was lost, or to be tried again: the login tells.
                pass
            try:
                await self.login()
                return
            except (OSError, ValueError, TimeoutError, Refused):
                await asyncio.sleep(0.5)

    async def login(self):
        answer = await call(self.talk.http, "POST", "/server/login", phone=self.phone, password=PASSWORD)
        self.id, self.token = answer["user"]["id"], answer["user"]["token"]
        self.server = (answer["server"], int(answer["port"]))

    async def live(self, peer):
        """Connected, and connected again whenever that ends."""
        while not self.talk.over:
            try:
                async with asyncio.timeout(20):
                    reader, writer = await asyncio.open_connection(*self.server, limit=1 << 20)
                    writer.write(f'[[r]]\nid = "l{self.connections}"\nt = "reconnect"\n[r.user]\nid = {self.id}\n'
                                 f'device = "trial"\ntoken = "{self.token}"\n\n'.encode())
                    answer = tomllib.loads(await common.frame(reader))
                code = answer["rr"][0].get("code") if "rr" in answer else "move"
                if code == "token":
                    # Made after the backup that the system was restored from, or revoked.
                    await self.login()
                elif code is None:
                    self.connections += 1
                    for waiting in self.waiting.values():
                        waiting[1] = 0.0
                    tasks = [asyncio.create_task(self.hear(reader, writer, peer)),
                             asyncio.create_task(self.say(writer, peer))]
                    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in rest:
                        task.cancel()
                    for task in done:
                        error = task.exception()
                        if error and not isinstance(error, (OSError, EOFError)):
                            self.wrong.append(f"{self.phone}: {error!r}")
                writer.close()
            except (OSError, ValueError, TimeoutError, EOFError, Refused):
                # The node that a login named is gone: ask for another.
                await self.elsewhere()
            await asyncio.sleep(0.1 + 0.3 * random.random())

    async def elsewhere(self):
        try:
            answer = await call(self.talk.http, "POST", "/server/reconnect", token=self.token)
            self.server = (answer["server"], int(answer["port"]))
        except (OSError, ValueError, TimeoutError, KeyError, Refused):
            pass

    async def say(self, writer, peer):
        while not self.talk.over:
            now = time.monotonic()
            if self.talk.talking and len(self.waiting) < WINDOW:
                self.sent += 1
                name = f"{self.talk.name}-{self.phone}-{self.sent}"
                self.waiting[name] = [f"number {self.sent}", 0.0]
            for name, waiting in self.waiting.items():
                if now - waiting[1] > PATIENCE:
                    waiting[1] = now
                    writer.write(f'[[m]]\nid = "{name}"\nc = "{waiting[0]}"\nto = {peer.id}\n\n'.encode())
            await writer.drain()
            await asyncio.sleep(self.talk.every)

    async def hear(self, reader, writer, peer):
        while True:
            entries = tomllib.loads(await common.frame(reader))
            for ack in entries.get("a", []):
                self.answered(ack)
            for answer in entries.get("rr", []):
                self.wrong.append(f"{self.phone}: refused: {answer}")
            for delivery in entries.get("m", []):
                self.show(delivery)
                writer.write(f'[[a]]\nseq = {delivery["seq"]}\n[a.from]\nid = {peer.id}\n\n'.encode())
            if "n" in entries:
                # Told to go elsewhere, or replaced by a connection of one's own.
                if "server" in entries["n"][0]:
                    self.server = (entries["n"][0]["server"], int(entries["n"][0]["port"]))
                await asyncio.sleep(min(entries["n"][0].get("after", 0) / 1000, 5))
                return

    def answered(self, ack):
        name, seq, now = ack["id"], ack["seq"], time.monotonic()
        if self.acked.setdefault(name, seq) != seq:
            self.wrong.append(f"{name}: acked as {self.acked[name]} and as {seq}")
        self.waiting.pop(name, None)
        if self.last is not None:
            self.longest = max(self.longest, now - self.last)
        self.last = now

    def show(self, delivery):
        seq, name = delivery["seq"], delivery["id"]
        if seq in self.shown:
            self.repeats += 1
            if self.shown[seq] != name:
                self.wrong.append(f"seq {seq}: shown as {self.shown[seq]} and as {name}")
            return
        if self.shown and seq < max(self.shown):
            self.wrong.append(f"{name}: seq {seq} shown after {max(self.shown)}")
        self.shown[seq] = name


class Talk:
    """All of them, in a thread of their own. `every`: seconds between two messages of one client."""

    def __init__(self, http, name, pairs, every):
        self.http, self.name, self.every = http, name, every
        self.talking, self.over = True, False
        phones = [f"139{random.randrange(10**8):08d}" for _ in range(2 * pairs)]
        people = [Person(self, phone) for phone in phones]
        self.pairs = list(zip(people[::2], people[1::2]))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.all(),), daemon=True)

    def start(self):
        self.thread.start()

    async def all(self):
        people = self.people()
        # A few at a time: a password costs.
        for some in range(0, len(people), 4):
            await asyncio.gather(*[person.register() for person in people[some:some + 4]])
        await asyncio.gather(*[person.live(peer) for pair in self.pairs for person, peer in (pair, pair[::-1])])

    def people(self):
        return [person for pair in self.pairs for person in pair]

    def stored(self):
        return sum(len(person.acked) for person in self.people())

    def resting(self):
        """Nothing is without an answer, and all that was acked has been shown."""
        return all(not one.waiting and len(one.shown) >= len(other.acked)
                   for pair in self.pairs for one, other in (pair, pair[::-1]))

    def stop(self):
        self.talking, self.over = False, True

    def judge(self, lost=()):
        """What is against the promise, as sentences. `lost`: ids that nobody is owed (a restored backup's)."""
        found = [wrong for person in self.people() for wrong in person.wrong]
        for pair in self.pairs:
            seqs = [seq for person in pair for name, seq in person.acked.items() if name not in lost]
            if len(seqs) != len(set(seqs)):
                found.append(f"{pair[0].phone} and {pair[1].phone}: two messages have one seq")
            for one, other in (pair, pair[::-1]):
                names = [name for name in other.shown.values() if name not in lost]
                found += [f"{name}: shown under two seqs" for name, count in Counter(names).items() if count > 1]
                found += [f"{name}: no answer" for name in one.waiting]
                found += [f"{name}: acked as {seq}, shown as nothing" for name, seq in one.acked.items()
                          if name not in lost and other.shown.get(seq) != name]
                if list(other.shown) != sorted(other.shown):
                    found.append(f"{other.phone}: not shown in order")
        return found

    def figures(self):
        people = self.people()
        return {"sent": sum(person.sent for person in people), "acked": self.stored(),
                "shown": sum(len(person.shown) for person in people),
                "repeats dropped": sum(person.repeats for person in people),
                "connections": sum(person.connections for person in people),
                "longest wait for any ack, s": round(max(person.longest for person in people), 1)}
