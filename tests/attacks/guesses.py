#!/usr/bin/env python3
"""Guess keys at full speed from one address, next to a neighbour at the same address with a valid key."""

import threading
import time

from receiver import MIB, Judge, Neighbour, Receiver, arguments, connect


def guess(address, done, counts):
    request = b"POST /webhook HTTP/1.1\r\nHost: bikhook\r\nAuthorization: wrong\r\nContent-Length: 2\r\n\r\n[]"
    peer = None
    while not done.is_set():
        try:
            peer = peer or connect(address)
            peer.sendall(request)
            answer = peer.recv(4096)
            if not answer:
                raise ConnectionError
            counts.append(answer[9:12])
            if b"connection: close" in answer.lower():
                raise ConnectionError
        except OSError:
            peer = peer and peer.close()


def main():
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    judge = Judge()
    with Receiver(args.binary) as receiver:
        done, counts = threading.Event(), []
        guessers = [threading.Thread(target=guess, args=(receiver.http, done, counts)) for _ in range(50)]
        for guesser in guessers:
            guesser.start()
        neighbour = Neighbour(receiver.http)
        time.sleep(args.seconds)
        p50, p99, worst, failures = neighbour.finish()
        done.set()
        for guesser in guessers:
            guesser.join()
        print(f"     neighbour p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, max {worst * 1e3:.0f} ms; resident "
              f"{receiver.resident() / MIB:.0f} MiB; log lines: {len(receiver.log.read_text().splitlines())}")
        judge.holds("guesses per second over 50 connections", len(counts) / args.seconds, 70)
        judge.true(f"every post of the neighbour got 200 {failures[:3]}", not failures)
        judge.holds("maximum latency of the neighbour", worst, 0.9, " s")
    judge.exit()


main()
