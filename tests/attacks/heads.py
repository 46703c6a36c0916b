#!/usr/bin/env python3
"""Open many connections from one address without a credential, each with 31 KB of an unfinished head."""

import json
import selectors
import socket
import sys
import time

from receiver import MIB, Cgroup, Judge, Neighbour, Receiver, arguments, more_files

HEAD = b"POST /webhook HTTP/1.1\r\nHost: bikhook\r\nX-Filler: " + b"x" * 31_000
STRANGER = "127.0.0.2"


def attack(address, count, seconds):
    """Opens the connections at full speed, replaces each one that is closed, and counts the answers with 408."""
    selector = selectors.DefaultSelector()
    opened = answered = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(min(200, count - len(selector.get_map()))):
            peer = socket.socket()
            peer.bind((STRANGER, 0))
            peer.setblocking(False)
            peer.connect_ex(address)
            selector.register(peer, selectors.EVENT_WRITE, 0)
            opened += 1
        for key, events in selector.select(0.01):
            peer, sent = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE and sent < len(HEAD):
                    sent += peer.send(HEAD[sent:])
                    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if sent < len(HEAD) else 0)
                    selector.modify(peer, wanted, sent)
                if events & selectors.EVENT_READ:
                    answered += peer.recv(4096).startswith(b"HTTP/1.1 408")
                    raise ConnectionError
            except OSError:
                selector.unregister(peer)
                peer.close()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return opened, answered


def one_round(judge, args, cgroup, proxied):
    trusted = ["127.0.0.1", STRANGER] if proxied else ["127.0.0.1"]
    with Receiver(args.binary, f"[http]\ntrusted_proxies = {json.dumps(trusted)}\n", cgroup) as receiver:
        begin = receiver.resident()
        neighbour = Neighbour(receiver.http)
        opened, answered = attack(receiver.http, args.connections, args.seconds)
        p50, p99, worst, failures = neighbour.finish()
        print(f"     {opened} connections opened, {answered} answers with 408; resident {begin / MIB:.0f} MiB before, "
              f"{receiver.resident() / MIB:.0f} MiB after; neighbour p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
              f"max {worst * 1e3:.0f} ms")
        judge.true("the receiver is running", receiver.runs())
        judge.holds("peak resident memory", receiver.resident_peak() / MIB, 512, " MiB")
        if cgroup:
            judge.holds("peak memory of the cgroup", cgroup.peak() / MIB, 1024, " MiB")
        judge.true(f"every post of the neighbour got 200 {failures[:3]}", not failures)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--connections", type=int, default=19_800)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    args.connections = min(args.connections, more_files() - 100)
    judge = Judge()
    for proxied in [False, True]:
        print(f"---- {args.connections} connections x {len(HEAD)} bytes, from "
              f"{'a trusted proxy' if proxied else 'an unknown address'}")
        one_round(judge, args, None, proxied)
        try:
            cgroup = Cgroup(1024 * MIB)
        except OSError as error:
            print(f"     skipped in a memory cgroup of 1 GiB: {error}", file=sys.stderr)
            continue
        print("---- the same in a memory cgroup of 1 GiB")
        try:
            one_round(judge, args, cgroup, proxied)
        finally:
            cgroup.remove()
    judge.exit()


main()
