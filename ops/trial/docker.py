"""One compose project of a trial's own, and what can be done to its containers."""
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from common import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORES = ("POSTGRES", "REDIS", "NATS_EDGE", "NATS_WORKER", "NATS_ADMIN")
HAPROXY = """FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy busybox \\
    && ln -s /bin/busybox /usr/local/bin/wget && mkdir -p /usr/local/etc/haproxy
USER haproxy
CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
"""


def docker(*arguments, check=True, **others):
    """What it prints."""
    done = subprocess.run(["docker", *arguments], text=True, capture_output=True, check=False, cwd=ROOT, **others)
    if check and done.returncode:
        raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def commands(*names):
    """What OPERATIONS.md has to type, by the names of its fences; each of these must be there."""
    text = (ROOT / "ops" / "docs" / "OPERATIONS.md").read_text()
    found = dict(re.findall(r"^```sh (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    if not set(names) <= set(found):
        raise ValueError(f"expected blocks {names} in OPERATIONS.md, found {set(found)}")
    return found


def there(image):
    return bool(docker("image", "inspect", image, check=False).strip("[]\n "))


class Compose:
    def __init__(self, project, **environment):
        """With passwords of its own: the examples are for nobody who publishes more than a loopback address."""
        secrets = {f"{whose}_PASSWORD": "p" + os.urandom(12).hex() for whose in STORES}
        self.project, self.environment = project, os.environ | secrets | environment

    def __call__(self, *arguments, check=True):
        return docker("compose", "--project-name", self.project, "--profile", "observability", *arguments, check=check,
                      env=self.environment)

    def config(self):
        return json.loads(self("config", "--format", "json"))

    def typed(self, folder, text):
        """Typed into a shell, which stops at the first command that fails; what it printed."""
        environment = self.environment | {"COMPOSE_PROJECT_NAME": self.project, "COMPOSE_FILE": str(ROOT / "compose.yaml")}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, text=True,
                              capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{text}\nexit {done.returncode}: {done.stdout[-1500:]}{done.stderr[-3000:]}")
        return done.stdout + done.stderr

    def images(self):
        """Has all of them here. Where no registry is reached: HAProxy is built of Debian's package; gives the services
        that must do without theirs."""
        without = []
        for name, service in self.config()["services"].items():
            image = service["image"]
            if "build" in service or there(image):
                continue
            docker("pull", "--quiet", image, check=False)
            if not there(image) and image.startswith("haproxy:"):
                with tempfile.TemporaryDirectory() as empty:
                    docker("build", "--network", "host", "--tag", image, "--file", "-", empty, input=HAPROXY)
            if not there(image):
                without.append(name)
        return without

    def containers(self, service):
        """Their ids, in the order of their numbers."""
        found = self("ps", "--all", "--quiet", service).split()
        return sorted(found, key=lambda id: inspect(id)["Name"])

    def healthy(self, service, count=None):
        states = [inspect(id)["State"] for id in self.containers(service)]
        fit = [state for state in states if state["Status"] == "running" and state["Health"]["Status"] == "healthy"]
        return len(fit) == len(states) and count in (None, len(fit))

    def kill(self, service, which=0):
        """SIGKILL from outside, so that Docker takes it for a crash, and starts the container again."""
        id = self.containers(service)[which]
        before = inspect(id)["State"]
        os.kill(before["Pid"], signal.SIGKILL)

        def back():
            now = inspect(id)["State"]
            return now["StartedAt"] != before["StartedAt"] and now["Health"]["Status"] == "healthy"
        began = time.monotonic()
        eventually(f"{service} is healthy again", 120, back)
        return inspect(id)["Name"].lstrip("/"), time.monotonic() - began

    def psql(self, sql):
        return self("exec", "-T", "postgres", "psql", "-qAtU", "im", "im", "-c", sql)

    def gone(self):
        """What is left of it: nothing, after `down --volumes`."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
        return [left for kind in kinds for left in docker(*kind, "--quiet", "--filter", label).split()]


def inspect(id):
    return json.loads(docker("inspect", id))[0]
