"""The real Prometheus over a stack, with the real rules in a shorter time; and a stand-in for what cannot be provoked."""
import http.server
import json
import pathlib
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from common import eventually, free_port

RULES = pathlib.Path(__file__).resolve().parent.parent / "rules.yml"
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Shorter a range holds too few scrapes, one a second.
SHORTEST = 4000


def shorter(text, factor):
    """The rules with every duration divided: ranges, offsets, and how long a condition must hold."""
    def milliseconds(number, unit):
        return max(1, round(int(number) * UNITS[unit] / factor))

    text = re.sub(r"\[(\d+)(ms|s|m|h|d)\]", lambda it: f"[{max(SHORTEST, milliseconds(*it.groups()))}ms]", text)
    text = re.sub(r"\b(offset|for:) (\d+)(ms|s|m|h|d)\b", lambda it: f"{it[1]} {milliseconds(it[2], it[3])}ms", text)
    return text


class StandIn:
    """A target that shows what it is told to; `@age` is for how many seconds it is there."""

    def __init__(self):
        self.text, self.began = "", time.monotonic()
        owner = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                age = str(int(time.monotonic() - owner.began))
                body = owner.text.replace("@age", age).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        # Prometheus hangs up when its time is over.
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Prometheus:
    def __init__(self, folder, stack, stand_in, factor):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        (self.folder / "rules.yml").write_text(shorter(RULES.read_text(), factor))
        jobs = {"edge": [], "worker": [], "stand-in": [f"127.0.0.1:{stand_in.port}"]}
        for process in stack.processes().values():
            if process["kind"] in jobs:
                jobs[process["kind"]].append(process["metrics"])
        lines = ["global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}",
                 "rule_files: [rules.yml]", "scrape_configs:"]
        for job, targets in jobs.items():
            lines.append(f"  - {{job_name: {job}, static_configs: [{{targets: {json.dumps(targets)}}}]}}")
        (self.folder / "prometheus.yml").write_text("\n".join(lines) + "\n")
        subprocess.run(["promtool", "check", "config", self.folder / "prometheus.yml"], check=True,
                       stdout=subprocess.DEVNULL)

    def start(self):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                 f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=warn"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually("Prometheus is ready", 60, lambda: urllib.request.urlopen(self.url + "/-/ready", timeout=2))

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, **query):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        if found.get("status") != "success":
            raise ValueError(found.get("error"))
        return found["data"]

    def firing(self):
        """The names of the alarms that fire."""
        alerts = self.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def alarms(self):
        """The names of all alarms that the rules have."""
        groups = self.ask("rules", type="alert")["groups"]
        return [rule["name"] for group in groups for rule in group["rules"]]
