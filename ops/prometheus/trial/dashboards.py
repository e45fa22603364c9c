"""Whether every panel of every dashboard has something to show."""
import json
import math
import pathlib
import re
import time

BOARDS = pathlib.Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
# What Grafana puts in place of its own variables, for a picture of the last five minutes.
BUILT_IN = {"__rate_interval": "20s", "__range": "5m", "__interval": "5s", "instance": ".+"}


def queries():
    """Every panel's: dashboard, title, PromQL."""
    for file in sorted(BOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                text = re.sub(r"\$\{?(\w+)\}?", lambda it: BUILT_IN[it[1]], target["expr"])
                yield file.stem, panel["title"], text


def empty(prometheus):
    """How many queries there are, and those without a number in the last five minutes."""
    now, found, asked = time.time(), [], 0
    for board, title, text in queries():
        asked += 1
        result = prometheus.ask("query_range", query=text, start=now - 300, end=now, step=5)["result"]
        values = [float(value) for series in result for _, value in series["values"]]
        if all(math.isnan(value) for value in values):
            found.append(f"{board}: {title}: {text}")
    return asked, found
