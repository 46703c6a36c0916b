#!/usr/bin/env python3
"""Open idle sockets up to the connection limit, on the admin address and on the public address."""

import subprocess
import time

from receiver import MIB, Judge, Neighbour, Receiver, arguments, connect, more_files


def health(receiver):
    """Returns the seconds that `bikhook health` takes, or None if it fails."""
    begun = time.monotonic()
    asked = subprocess.run([receiver.binary, "health", "--admin", "http://%s:%d" % receiver.admin],
                           cwd=receiver.folder, capture_output=True, timeout=60)
    return time.monotonic() - begun if asked.returncode == 0 else None


def main():
    parser = arguments(__doc__)
    parser.add_argument("--connections", type=int, default=19_700, help="number of idle sockets on the public address")
    args = parser.parse_args()
    public = min(args.connections, more_files() - 400)
    judge = Judge()
    with Receiver(args.binary, f"[http]\nconnections = {public}\n") as receiver:
        quiet = health(receiver)
        print(f"     health takes {quiet:.3f} s without other connections")
        idle = [connect(receiver.admin) for _ in range(200)]
        for round in range(3):
            seconds = health(receiver)
            judge.holds(f"health with {len(idle)} idle sockets, round {round + 1}", seconds or 99, 1, " s")
        neighbour = Neighbour(receiver.http)
        idle += [connect(receiver.http) for _ in range(public + 100)]
        newcomer = Neighbour(receiver.http)
        time.sleep(5)
        _, newcomer_p99, _, newcomer_failures = newcomer.finish()
        p50, p99, worst, failures = neighbour.finish()
        print(f"     resident {receiver.resident() / MIB:.0f} MiB with {public} idle connections; neighbour p50 "
              f"{p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, max {worst * 1e3:.0f} ms")
        judge.holds("peak resident memory", receiver.resident_peak() / MIB, 512, " MiB")
        judge.holds("p99 of a sender that connects at the connection limit", newcomer_p99, 1, " s")
        judge.true(f"every post got 200 {(failures + newcomer_failures)[:3]}", not failures + newcomer_failures)
    judge.exit()


main()
