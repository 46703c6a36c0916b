#!/usr/bin/env python3
"""Words from the wire: 60 events with a storeId of 5 MiB, then 40,000 owners. No page may grow with them.

    tests/attacks/words.py [PATH OF THE BINARY]      default: target/release/bikhook

Prints the size of the overview and of the funnel by store, and the resident memory while four viewers ask. Exits with 1
where a page has more than 2 MiB or the memory grows past 512 MiB.
"""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PAGE_LIMIT = 2 * MIB
MEMORY_LIMIT = 512 * MIB
KEY = "attack-key-0123456789"


def status(message, store, owner):
    return {
        "eventName": "message-status-update",
        "eventInfo": {"messageId": message, "channelId": "whatsapp", "status": "sent", "owner": owner, "ownerId": "57",
                      "assetValue": "919090900001"},
        "storeId": store,
        "id": message,
    }


class Receiver:
    """The real binary in a folder of its own, with its shipped limits."""

    def __init__(self, binary, folder):
        config = folder / "bikhook.toml"
        config.write_text(f"""
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[sources.bik]
credentials.portal = {{ key = "{KEY}" }}
[journal]
path = "{folder}/journal.db"
disk_reserve = 0
[handlers.audit]
kind = "jsonl"
path = "{folder}/events.jsonl"
""")
        self.log = folder / "log"
        self.process = subprocess.Popen([binary, "--config", config], stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        while not (ready := re.search(r" ready .*?http=(\S+) admin=(\S+)", self.log.read_text())):
            if self.process.poll() is not None:
                sys.exit("the receiver did not start:\n" + self.log.read_text())
            time.sleep(0.05)
        self.public, self.admin = ready.groups()

    def post(self, events):
        connection = http.client.HTTPConnection(self.public, timeout=60)
        connection.request("POST", "/webhook", json.dumps(events), {"Authorization": f"Basic {KEY}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"a post was answered {answer.status}: {body[:200]}")
        connection.close()

    def get(self, path):
        connection = http.client.HTTPConnection(self.admin, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            sys.exit(f"{path} was answered {answer.status}: {body[:200]}")
        return body

    def resident(self):
        line = re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())
        return int(line[1]) * 1024

    def insight_has_all(self):
        """Waits until insight has taken in what the journal holds."""
        end = time.monotonic() + 300
        while time.monotonic() < end:
            status = json.loads(self.get("/api/v1/insight"))
            if status["cursor"] == json.loads(self.get("/api/v1/status"))["journal"]["lastSeq"]:
                return
            time.sleep(0.2)
        sys.exit("insight does not catch up")


def main():
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/bikhook")
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(binary, pathlib.Path(folder))
        try:
            return attack(receiver)
        finally:
            receiver.process.kill()
            receiver.process.wait()


def attack(receiver):
    for n in range(60):
        receiver.post([status(f"long-{n}", f"{n}-" + "s" * (5 * MIB - 1024), "CAMPAIGN")])
    for begin in range(0, 40_000, 1_000):
        receiver.post([status(f"m-{n}", "shop", f"OWNER-{n}") for n in range(begin, begin + 1_000)])
    receiver.insight_has_all()
    paths = ["/", "/events", "/search", "/api/v1/funnel?by=store", "/api/v1/funnel?by=owner"]
    sizes = {path: len(receiver.get(path)) for path in paths}
    peak = 0
    with concurrent.futures.ThreadPoolExecutor(4) as viewers:
        asked = [viewers.submit(receiver.get, "/") for _ in range(40)]
        while not all(one.done() for one in asked):
            peak = max(peak, receiver.resident())
            time.sleep(0.01)
    for path, size in sizes.items():
        print(f"{path:32} {size / 1024:10.1f} KiB")
    print(f"resident with four viewers       {peak / MIB:10.1f} MiB")
    return 0 if max(sizes.values()) <= PAGE_LIMIT and peak <= MEMORY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
