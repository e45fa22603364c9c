"""Clients that talk all the time, whatever happens to the system: alone, in a group, over HTTP, and coming anew."""
import asyncio
import itertools
import random
import threading

from common import call, frame

PEOPLE = 24
EVERY = 0.25
PASSWORD = "888888"


class People:
    """One thread with all of them."""

    def __init__(self, stack):
        self.stack, self.numbers, self.talking = stack, itertools.count(1), True
        self.tcp = [stack.processes()[name]["tcp"] for name in stack.names("e")]
        self.http = [stack.processes()[name]["http"] for name in stack.names("e")]
        self.stored, self.ids, self.tokens, self.group = 0, [], {}, None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.all(),), daemon=True)

    def start(self):
        self.thread.start()

    async def all(self):
        for number in range(PEOPLE + 1):
            await self.register(number)
        *talkers, knocker = self.ids
        works = [self.live(place, user) for place, user in enumerate(talkers)]
        await asyncio.gather(*works, self.knock(knocker), self.browse(talkers))

    async def call(self, method, path, **arguments):
        """One HTTP call to some edge; its answer, or None."""
        try:
            return await call(random.choice(self.http), method, path, **arguments)
        except (OSError, ValueError, KeyError, TimeoutError):
            return None

    async def register(self, number):
        phone = f"138{number:08d}"
        while True:
            await self.call("POST", "/user", phone=phone, name=f"p{number}", password=PASSWORD)
            answer = await self.call("POST", "/server/login", phone=phone, password=PASSWORD)
            user = answer and answer.get("user")
            if user:
                self.ids.append(user["id"])
                self.tokens[user["id"]] = user["token"]
                return
            await asyncio.sleep(0.5)

    async def connect(self, user, place):
        host, port = self.tcp[place % len(self.tcp)].split(":")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f'[[r]]\nid = "l"\nt = "login"\n[r.user]\nid = {user}\ndevice = "trial"\n'
                     f'token = "{self.tokens[user]}"\n\n'.encode())
        return reader, writer

    async def live(self, place, user):
        """Connects, and connects elsewhere whenever that ends."""
        while True:
            try:
                async with asyncio.timeout(20):
                    reader, writer = await self.connect(user, place)
                    answer = await frame(reader)
                if 's = 0' in answer:
                    hearing = asyncio.create_task(self.hear(reader, writer))
                    talking = asyncio.create_task(self.talk(place, user, writer))
                    await asyncio.wait([hearing, talking], return_when=asyncio.FIRST_COMPLETED)
                    hearing.cancel()
                    talking.cancel()
                writer.close()
            except (OSError, TimeoutError, EOFError):
                pass
            place += 1
            await asyncio.sleep(0.5)

    async def hear(self, reader, writer):
        while True:
            text = await frame(reader)
            if 't = "move"' in text:
                return
            self.stored += text.count('lvl = "stored"')
            if "group_id = " in text and self.group is None:
                self.group = int(text.split("group_id = ")[1].split()[0])
            entries = [line for line in text.splitlines() if line.startswith("id = ")]
            if text.startswith(("[[m]]", "[[gm]]", "[[r]]")) and entries:
                # The first id is the entry's own; what sub-tables have is no text.
                writer.write("".join(f"[[a]]\n{line}\n" for line in entries if '"' in line).encode() + b"\n")

    async def talk(self, place, user, writer):
        others = [other for other in self.ids[:-1] if other != user]
        if place == 0 and self.group is None:
            writer.write(f'[[r]]\nid = "g"\nt = "create_group"\nname = "all"\nmembers = {others[:6]}\n\n'.encode())
        await asyncio.sleep(EVERY * random.random())
        while True:
            if self.talking:
                writer.write(self.message(place, user, others).encode())
                await writer.drain()
            await asyncio.sleep(EVERY)

    def message(self, place, user, others):
        number = next(self.numbers)
        if number % 10 == 0 and self.group and place < 7:
            return f'[[gm]]\nid = "t{number}"\nc = "to all"\ngroup = {self.group}\n\n'
        if number % 25 == 0:
            word = ("block", "unblock")[number // 25 % 2]
            return f'[[r]]\nid = "t{number}"\nt = "{word}"\nto = {self.ids[-1]}\n\n'
        return f'[[m]]\nid = "t{number}"\nc = "{"x" * 200}"\nto = {random.choice(others)}\n\n'

    async def knock(self, user):
        """Logs in again and again."""
        for place in itertools.count():
            try:
                async with asyncio.timeout(8):
                    reader, writer = await self.connect(user, place)
                    await frame(reader)
                    writer.close()
            except (OSError, TimeoutError, EOFError):
                pass
            await asyncio.sleep(0.5)

    async def browse(self, users):
        for number in itertools.count():
            user = random.choice(users)
            await self.call("GET", ("/offline", "/contact/version/0", "/group")[number % 3], token=self.tokens[user])
            if number % 40 == 0:
                await self.call("POST", "/server/login", phone="13800000000", password=PASSWORD)
            await asyncio.sleep(0.3)

    def crowd(self, count, path):
        """So many calls at once, by another thread's leave."""
        user = self.ids[0]

        async def again():
            while True:
                await self.call("GET", path, token=self.tokens[user])

        async def begin():
            return [asyncio.create_task(again()) for _ in range(count)]

        tasks = asyncio.run_coroutine_threadsafe(begin(), self.loop).result()
        return lambda: self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
