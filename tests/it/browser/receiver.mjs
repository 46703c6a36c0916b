// A receiver with a week of traffic, in a folder of its own, and a CRM to which it delivers events.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { campaign } from "./campaign.mjs";
import { eventually } from "./driver.mjs";

const KEY = "the-key-of-the-pictures";
/** Events that come last, one after the other. */
const RECENT = 120;
const LONG_MS = 120_000;

/** A CRM that has no customer whose id ends with 997. */
export function destination() {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const unknown = /"customerId":"\d+997"/.test(body);
      response.writeHead(unknown ? 422 : 204).end(unknown ? "no customer with this number" : undefined);
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** A receiver; `crm` is its CRM. */
export class Receiver {
  #binary;
  #crm;
  #home = mkdtempSync(join(tmpdir(), "bikhook-pictures-"));
  #child;
  http;
  admin;

  constructor(binary, crm) {
    this.#binary = binary;
    this.#crm = crm;
  }

  /** Lives through a week that ends now. */
  async live(messages) {
    writeFileSync(join(this.#home, "bikhook.toml"), this.#config());
    await this.#start();
    if (messages === 0) return;
    const events = campaign(Date.now(), messages);
    const past = events.slice(0, -RECENT);
    await this.#post(past, 200);
    await this.#send('[{"eventName": "message-status-update", "eventInfo": {"status": "sent"');
    if (messages > RECENT) await this.#send('[{"eventName": ["optedOut"], "id": "7d1c"}, 42]');
    await this.#handled();
    if (past.length > 0) await this.#dateBack(past);
    // The last events arrive while the page is open.
    await this.#post(events.slice(-RECENT, -RECENT / 2), 3);
    await this.#handled();
    await this.ask("/api/v1/handlers/exports/pause", { reason: "the disk of the exports is being replaced" });
    if (messages > RECENT) await this.ask("/api/v1/replays", { handler: "crm", filter: { statuses: ["failed"] }, rate: 5 });
    await this.#post(events.slice(-RECENT / 2), 3);
    await eventually("insight learns", async () => (await this.ask("/api/v1/insight")).lag === 0, LONG_MS);
  }

  /** A customer who waits for an answer, and wrote more than others; a message that failed. */
  async examples() {
    const { messages } = await this.ask("/api/v1/messages?state=failed&limit=1");
    const { contacts } = await this.ask("/api/v1/contacts/waiting");
    const talks = await Promise.all(contacts.slice(0, 30).map(({ id }) => this.ask(`/api/v1/contacts/${id}`)));
    const theirs = ({ entries }) => entries.filter(({ incoming }) => incoming).length;
    talks.sort((one, other) => theirs(other) - theirs(one) || other.entries.length - one.entries.length);
    return { message: messages[0] && `/messages/${messages[0].id}`, talk: talks[0] && `/conversations/${talks[0].contact.id}` };
  }

  async ask(path, body) {
    const post = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(this.admin + path, post);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  async end() {
    await this.#stop();
    rmSync(this.#home, { recursive: true });
  }

  async #start() {
    this.#child = spawn(this.#binary, ["--config", "bikhook.toml"], { cwd: this.#home, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on("data", (part) => (said += part));
    const [, http, admin] = await eventually("the receiver is ready", () => / ready http=(\S+) admin=(\S+)/.exec(said));
    this.http = `http://${http}`;
    this.admin = `http://${admin}`;
  }

  async #stop() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    if (this.#child.exitCode !== null) return;
    this.#child.kill("SIGTERM");
    await ended;
  }

  async #post(events, batch) {
    for (let at = 0; at < events.length; at += batch) {
      await this.#send(JSON.stringify(events.slice(at, at + batch).map(({ event }) => event)));
    }
  }

  async #dateBack(past) {
    await this.#stop();
    writeFileSync(join(this.#home, "times.json"), JSON.stringify(past.map(({ at }) => at)));
    execFileSync("python3", ["-c", REDATE, this.#home], { stdio: "inherit" });
    await this.#start();
  }

  async #handled() {
    await eventually("the handlers take what there is", async () => {
      const { handlers } = await this.ask("/api/v1/handlers");
      const reachable = handlers.filter(({ handler }) => handler !== "warehouse");
      return reachable.flatMap(({ lanes }) => lanes).every(({ lag }) => lag === 0);
    }, LONG_MS);
  }

  async #send(body) {
    const answer = await fetch(`${this.http}/webhook`, { method: "POST", headers: { authorization: `Basic ${KEY}` }, body });
    if (![200, 400].includes(answer.status)) throw new Error(`a body is answered with ${answer.status}`);
  }

  #config() {
    return `
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[sources.bik]
credentials.portal = { key = "${KEY}" }
[journal]
path = "data/journal.db"
disk_reserve = 0
[handlers.audit]
kind = "jsonl"
path = "data/events.jsonl"
[handlers.crm]
kind = "http"
url = "http://127.0.0.1:${this.#crm.address().port}/hooks/bik"
[handlers.exports]
kind = "jsonl"
path = "data/exports.jsonl"
events = ["message-status-update"]
[handlers.warehouse]
kind = "http"
url = "http://127.0.0.1:9/bik"
events = ["incoming-message"]
`;
  }
}

/** Everything was received just now: it is dated back to when it would have come. Insight then learns it anew. */
const REDATE = `
import json, os, sqlite3, sys
home = sys.argv[1]
times = json.load(open(home + "/times.json"))
journal = sqlite3.connect(home + "/data/journal.db")
at = lambda seq: times[min(max(seq, 1), len(times)) - 1]
journal.create_function("came", 1, at)
journal.execute("UPDATE event SET received_at = came(seq)")
journal.execute("UPDATE settle SET at = came(upto) + 350")
journal.execute("UPDATE dead SET came_at = came(seq), died_at = came(seq) + 900")
journal.execute("UPDATE aside SET since = came(seq) + 200")
journal.commit()
journal.close()
for name in ["insight.db", "insight.db-wal", "insight.db-shm"]:
    if os.path.exists(home + "/data/" + name):
        os.remove(home + "/data/" + name)
`;
