"""A stack of the trial's own under `simple-im up`, and what can be done to its processes."""
import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading
import time
import tomllib
import urllib.parse

from common import eventually, free_port

# Small, so that what is to be full can be filled in a minute.
EDGE = """[limits]
connections = 300
login_seconds = 600
[publisher]
queue_frames = 64
"""
WORKER = """[nats]
stream_bytes = 2_097_152
[rpc]
concurrency = 16
"""
EDGES, WORKERS = 2, 2
READY = 60


class Proxy:
    """A way between a process and a store that can be cut, or made long: seconds that bytes take each way."""

    def __init__(self, target):
        self.target, self.delay, self.cut = target, 0.0, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        while self.cut:
            time.sleep(0.05)
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        """Bytes come in while others are still on their way: a long road, not a narrow one."""
        under_way = queue.Queue()
        threading.Thread(target=self.bring, args=(under_way, one, other), daemon=True).start()
        try:
            while data := one.recv(65536):
                under_way.put((time.monotonic() + self.delay, data))
        except OSError:
            pass
        under_way.put((time.monotonic() + self.delay, b""))

    def bring(self, under_way, one, other):
        try:
            while True:
                due, data = under_way.get()
                time.sleep(max(0, due - time.monotonic()))
                while self.cut:
                    time.sleep(0.05)
                if not data:
                    break
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Stack:
    def __init__(self, folder, binaries):
        self.folder, self.program = pathlib.Path(folder), pathlib.Path(binaries) / "simple-im"
        ports = {store: free_port() for store in ("nats", "postgres", "redis")}
        # One worker reaches PostgreSQL by a way that the trial holds in its hand.
        self.way = Proxy(ports["postgres"])
        names = [f"e{n}.{what}" for n in range(1, EDGES + 1) for what in ("tcp", "http", "metrics")]
        names += [f"w{n}.metrics" for n in range(1, WORKERS + 1)]
        ports |= {name: free_port() for name in names}
        lines = [f'"{name}" = {port}' for name, port in ports.items()]
        for file, text in (("edge.toml", EDGE), ("worker.toml", WORKER), ("ports.toml", "\n".join(lines) + "\n"),
                           ("through.toml", f"[w2]\npostgres = {self.way.port}\n")):
            (self.folder / file).write_text(text)

    def run(self, *arguments):
        subprocess.run([self.program, *arguments, "--data", self.folder], check=True, stdout=subprocess.DEVNULL)

    def start(self):
        self.run("up", "--detach", "--edges", str(EDGES), "--workers", str(WORKERS))

    def stop(self):
        self.way.cut, self.way.delay = False, 0.0
        self.run("down")

    def processes(self):
        text = (self.folder / "stack.toml").read_text()
        return {process["name"]: process for process in tomllib.loads(text)["process"]}

    def names(self, letter):
        return [name for name in self.processes() if re.fullmatch(letter + r"\d+", name)]

    def url(self, store):
        return self.processes()[store]["url"]

    def pid(self, name):
        return self.processes()[name]["pid"]

    def tell(self, name, which):
        os.kill(self.pid(name), which)

    def freeze(self, name):
        self.tell(name, signal.SIGSTOP)

    def thaw(self, name):
        self.tell(name, signal.SIGCONT)

    def down(self, *names):
        """Killed, and not started again."""
        (self.folder / "hold").mkdir(exist_ok=True)
        for name in names:
            (self.folder / "hold" / name).touch()
            self.tell(name, signal.SIGKILL)

    def up(self, *names):
        before = {name: self.pid(name) for name in names}
        for name in names:
            (self.folder / "hold" / name).unlink(missing_ok=True)
        for name in names:
            eventually(f"{name} is back", READY, lambda name=name: self.pid(name) != before[name])

    def restart(self, name, which=signal.SIGKILL):
        before = self.pid(name)
        self.tell(name, which)
        eventually(f"{name} is back", READY, lambda: self.pid(name) != before)

    def ask_nats(self, *lines):
        """Says a few lines to NATS, as admin, and waits until it has read them."""
        at = urllib.parse.urlsplit(self.url("nats"))
        who = {"verbose": False, "user": at.username, "pass": at.password}
        with socket.create_connection((at.hostname, at.port), timeout=READY) as way:
            reader = way.makefile("rb")
            reader.readline()
            way.sendall(b"CONNECT %s\r\n" % json.dumps(who).encode() + b"".join(lines) + b"PING\r\n")
            while not (answer := reader.readline()).startswith(b"PONG"):
                if not answer or answer.startswith(b"-ERR"):
                    raise PermissionError(f"expected PONG from NATS, found {answer}")

    def ask_redis(self, *commands):
        """Gives Redis a few commands, none of which it may refuse, and waits for one line of answer to each."""
        at = urllib.parse.urlsplit(self.url("redis"))
        with socket.create_connection((at.hostname, at.port), timeout=READY) as way:
            reader = way.makefile("rb")
            for command in (("AUTH", at.password), *commands):
                words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
                way.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
                answer = reader.readline()
                if not answer.startswith(b"+"):
                    raise PermissionError(f"expected + from Redis for {command[0]}, found {answer}")

    def psql(self, sql):
        return subprocess.Popen(["psql", "-qAt", self.url("postgres"), "-c", sql], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def limit_files(self, name, soft):
        subprocess.run(["prlimit", "--pid", str(self.pid(name)), f"--nofile={soft}:"], check=True)

    def describe(self):
        return json.dumps({name: process["pid"] for name, process in self.processes().items()})
