#!/usr/bin/env python3
"""Send 600 slow bodies with the credential of one source, next to a neighbour that posts to another source."""

import threading
import time

from receiver import MIB, Judge, Neighbour, Receiver, arguments, connect, more_files

SOURCES = """
[sources.a]
path = "/a"
credentials.portal = { key = "the-key-of-source-a" }
[sources.b]
path = "/b"
credentials.portal = { key = "the-key-of-source-b" }
"""


def slow_bodies(receiver, count, done):
    """Keeps this many bodies of source A in flight, each with one byte per second."""
    head = (b"POST /a HTTP/1.1\r\nHost: bikhook\r\nAuthorization: the-key-of-source-a\r\n"
            b"Content-Length: 100000\r\n\r\n[")
    peers = {}
    while not done.is_set():
        for n in range(count):
            try:
                if n not in peers:
                    peers[n] = connect(receiver.http)
                    peers[n].sendall(head)
                    peers[n].setblocking(False)
                else:
                    peers[n].send(b" ")
                    if peers[n].recv(1):
                        raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                peers.pop(n).close()
        done.wait(1)
    for peer in peers.values():
        peer.close()


def measured(receiver, seconds):
    neighbour = Neighbour(receiver.http, "/b", "the-key-of-source-b")
    time.sleep(seconds)
    return neighbour.finish()


def main():
    parser = arguments(__doc__)
    parser.add_argument("--bodies", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    more_files()
    judge = Judge()
    with Receiver(args.binary, SOURCES) as receiver:
        measured(receiver, 2)  # warm-up
        _, quiet, _, failures = measured(receiver, args.seconds)
        done = threading.Event()
        attacker = threading.Thread(target=slow_bodies, args=(receiver, args.bodies, done))
        attacker.start()
        time.sleep(3)
        p50, p99, worst, more = measured(receiver, args.seconds)
        done.set()
        attacker.join()
        failures += more
        print(f"     neighbour p99 {quiet * 1e3:.1f} ms without attack; under attack p50 {p50 * 1e3:.1f} ms, "
              f"p99 {p99 * 1e3:.1f} ms, max {worst * 1e3:.0f} ms; resident {receiver.resident() / MIB:.0f} MiB")
        judge.true(f"every post to source B got 200 {failures[:3]}", not failures)
        judge.holds("p99 of source B under attack", p99 * 1e3, max(2 * quiet * 1e3, 5), " ms")
    judge.exit()


main()
