#!/usr/bin/env python3
"""Post 60 events with a storeId of 5 MiB, then 40,000 different owners. No page or answer may grow with them."""

import concurrent.futures
import http.client
import json
import sys
import time

from receiver import KEY, MIB, Judge, Receiver, arguments

PATHS = ["/", "/events", "/search", "/api/v1/funnel?by=store", "/api/v1/funnel?by=owner"]


def status(message, store, owner):
    return {
        "eventName": "message-status-update",
        "eventInfo": {"messageId": message, "channelId": "whatsapp", "status": "sent", "owner": owner, "ownerId": "57",
                      "assetValue": "919090900001"},
        "storeId": store,
        "id": message,
    }


def ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path, body, {"Authorization": f"Basic {KEY}"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"{method} {path} got {answer.status}: {text[:200]}")
    return text


def insight_has_all(receiver):
    """Waits until insight has read all events of the journal."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        cursor = json.loads(ask(receiver.admin, "GET", "/api/v1/insight"))["cursor"]
        if cursor == json.loads(ask(receiver.admin, "GET", "/api/v1/status"))["journal"]["lastSeq"]:
            return
        time.sleep(0.2)
    sys.exit("insight did not catch up within 5 minutes")


def main():
    args = arguments(__doc__).parse_args()
    judge = Judge()
    with Receiver(args.binary) as receiver:
        def post(events):
            ask(receiver.http, "POST", "/webhook", json.dumps(events))

        for n in range(60):
            post([status(f"long-{n}", f"{n}-" + "s" * (5 * MIB - 1024), "CAMPAIGN")])
        for begin in range(0, 40_000, 1_000):
            post([status(f"m-{n}", "shop", f"OWNER-{n}") for n in range(begin, begin + 1_000)])
        insight_has_all(receiver)
        for path in PATHS:
            judge.holds(f"size of {path}", len(ask(receiver.admin, "GET", path)) / MIB, 2, " MiB")
        peak = 0
        with concurrent.futures.ThreadPoolExecutor(4) as viewers:
            asked = [viewers.submit(ask, receiver.admin, "GET", "/") for _ in range(40)]
            while not all(one.done() for one in asked):
                peak = max(peak, receiver.resident())
                time.sleep(0.01)
        judge.holds("resident memory while four viewers load the page", peak / MIB, 512, " MiB")
    judge.exit()


main()
