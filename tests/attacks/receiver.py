"""A receiver for an attack: its process, its memory, and a well-behaved neighbour that posts to it."""

import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
KEY = "the-key-of-the-good-neighbour"


def arguments(description):
    """Returns the parser for the arguments that all attacks share. An attack can add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("binary", nargs="?", default=ROOT / "target/release/bikhook", type=pathlib.Path,
                        help="binary to attack (default: target/release/bikhook)")
    return parser


def more_files():
    """Raises the limit on open files to the maximum, and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Cgroup:
    """A memory cgroup (version 1 or 2) for one process. Needs root."""

    def __init__(self, limit):
        root = pathlib.Path("/sys/fs/cgroup")
        self.v1 = (root / "memory").is_dir()
        self.folder = (root / "memory" if self.v1 else root) / f"bikhook-attack-{os.getpid()}"
        self.folder.mkdir()
        try:
            name = "memory.limit_in_bytes" if self.v1 else "memory.max"
            (self.folder / name).write_text(str(limit))
        except OSError:
            self.folder.rmdir()
            raise

    def enter(self):
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self):
        """The peak memory in bytes, including the memory of sockets and cached files."""
        name = "memory.max_usage_in_bytes" if self.v1 else "memory.peak"
        return int((self.folder / name).read_text())

    def remove(self):
        for _ in range(50):
            try:
                return self.folder.rmdir()
            except OSError:  # the process has not ended yet
                time.sleep(0.1)


class Receiver:
    """A receiver in a private folder, with the default limits except for the settings in `config`."""

    def __init__(self, binary, config="", cgroup=None, nofile=None):
        self.binary = str(pathlib.Path(binary).resolve())
        if not os.access(self.binary, os.X_OK):
            sys.exit(f"no executable at {self.binary}: build it with `cargo build --release`, or give a path")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bikhook-attack-"))
        if "[sources" not in config:
            config += f'\n[sources.bik]\ncredentials.neighbour = {{ key = "{KEY}" }}\n'
        if "[http]" not in config:
            config = "[http]\n" + config
        config = config.replace("[http]\n", '[http]\nlisten = "127.0.0.1:0"\n', 1)
        config += f"""
[admin]
listen = "127.0.0.1:0"
[journal]
path = "{self.folder}/journal.db"
disk_reserve = 0
[handlers.file]
kind = "jsonl"
path = "{self.folder}/events.jsonl"
"""
        self.config = self.folder / "bikhook.toml"
        self.config.write_text(config)

        def prepare():
            if cgroup:
                cgroup.enter()
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

        self.log = self.folder / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([self.binary, "--config", str(self.config)], preexec_fn=prepare,
                                            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        ready = None
        begun = time.monotonic()
        while not ready:
            ready = re.search(r" ready http=(\S+) admin=(\S+)", self.log.read_text())
            if self.process.poll() is not None or time.monotonic() - begun > 60:
                sys.exit(f"the receiver did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.http, self.admin = (split(address) for address in ready.groups())

    def runs(self):
        return self.process.poll() is None

    def status(self, key):
        """The value of a line of /proc/PID/status, in bytes."""
        try:
            text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(rf"{key}:\s+(\d+) kB", text)
        return int(found.group(1)) * 1024 if found else 0

    def resident(self):
        return self.status("VmRSS")

    def resident_peak(self):
        return self.status("VmHWM")

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        if self.runs():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if failed and failed is not SystemExit:
            sys.stderr.write(self.log.read_text()[-4000:])
        shutil.rmtree(self.folder)


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def event(name):
    return json.dumps([{"eventName": "message-status-update", "eventInfo": {"messageId": f"m-{name}", "status": "sent"},
                        "id": f"e-{name}"}])


class Neighbour(threading.Thread):
    """Posts an event every 20 ms, and records latencies and failures."""

    def __init__(self, address, path="/webhook", key=KEY):
        super().__init__(daemon=True)
        self.address, self.path, self.key = address, path, key
        self.done = threading.Event()
        self.seconds, self.failures = [], []
        self.start()

    def run(self):
        connection = None
        while not self.done.is_set():
            begun = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection(*self.address, timeout=30)
                connection.request("POST", self.path, event(f"{id(self)}-{len(self.seconds)}"),
                                   {"Authorization": self.key})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection = None
            self.seconds.append(time.monotonic() - begun)
            self.done.wait(0.02)

    def finish(self):
        """Stops it. Returns its p50, p99 and maximum latency in seconds, and its failures."""
        self.done.set()
        self.join()
        ordered = sorted(self.seconds)
        quantile = lambda part: ordered[min(len(ordered) - 1, int(len(ordered) * part))]
        return quantile(0.5), quantile(0.99), ordered[-1], self.failures


class Judge:
    """Prints each bound with the measured value. The exit code is 1 if one is exceeded."""

    def __init__(self):
        self.failed = False

    def holds(self, what, seen, bound, unit=""):
        held = seen <= bound
        self.failed |= not held
        print(f"{'ok  ' if held else 'FAIL'} {what}: {seen:.4g}{unit} (at most {bound:.4g}{unit})", flush=True)

    def true(self, what, held):
        self.failed |= not held
        print(f"{'ok  ' if held else 'FAIL'} {what}", flush=True)

    def exit(self):
        sys.exit(1 if self.failed else 0)


def connect(address, source=None, timeout=10):
    """Opens a connection, from the local address `source` if given."""
    return socket.create_connection(address, timeout, source_address=(source, 0) if source else None)
