// A generated week of a merchant's traffic: broadcasts, automations, order updates, and customers who write. It is the
// same for the same seed, except for the time "now".

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FIRST = ["Asha", "Rohan", "Meera", "Vikram", "Ananya", "Kabir", "Priya", "Arjun", "Diya", "Ishaan", "Leela", "Nikhil"];
const LAST = ["Rao", "Mehta", "Iyer", "Kapoor", "Nair", "Desai", "Bose", "Reddy", "Joshi", "Khan"];
const REASONS = [
  ["Message failed to send because more than 24 hours have passed since the customer last replied to this number.", 6],
  ["Message Undeliverable.", 5],
  ["This message was not delivered to maintain healthy ecosystem engagement.", 4],
  ["Spam rate limit hit", 1],
];
const CATEGORIES = [
  { owner: "CAMPAIGN", ids: ["57", "61"], share: 60, reads: 0.55, fails: 0.09, texts: [
    "Flat 20 % off this weekend, on everything in the store. Reply STOP to opt out.",
    "New in: the monsoon collection. See it before everybody else 🌧️",
  ] },
  { owner: "BOT", ids: ["12"], share: 22, reads: 0.72, fails: 0.03, texts: [
    "You left something in your cart. It is kept for you until tomorrow.",
    "Thank you for your order! How did you like it?",
  ] },
  { owner: "DEV_API", ids: [null], share: 12, reads: 0.81, fails: 0.01, texts: [
    "Your order has been packed and will reach you by Thursday.",
    "Your order is out for delivery. Please keep the phone at hand.",
  ] },
  { owner: "AGENT", ids: ["8", "9"], share: 6, reads: 0.93, fails: 0.02, texts: [
    "Sure, I have changed the address. Anything else?",
    "It left our warehouse this morning: you have it tomorrow.",
  ] },
];
const QUESTIONS = [
  "Where is my order?", "Can I still change the address?", "Ok, thanks!", "नमस्ते! क्या यह लाल रंग में भी है?",
  "Do you ship to Pune?", "It arrived today, it is lovely 😍", "Is cash on delivery possible?",
];

/** Events by the time at which they come: `{ at, event }`, `messages` messages over the last week before `now`. */
export function campaign(now, messages, seed = 7) {
  const dice = new Dice(seed);
  const customers = Array.from({ length: Math.ceil(messages / 3) }, (_none, at) => ({
    customerId: String(240_000 + at),
    firstName: dice.pick(FIRST),
    lastName: dice.pick(LAST),
    phone: `+9190${String(dice.below(100_000_000)).padStart(8, "0")}`,
  }));
  const coming = [];
  const tell = (at, who, name, info, id) => coming.push({ at: Math.round(at), event: {
    eventName: name,
    eventInfo: { channelId: "whatsapp", failureReason: null, ...info, assetValue: who.phone },
    storeId: "p60HYv5wjgQaOrPdqT5N",
    customerDetails: { customerId: who.customerId, firstName: who.firstName, lastName: who.lastName },
    id,
  } });
  for (let message = 0; message < messages; message += 1) {
    const who = dice.pick(customers);
    const kind = dice.weighed(CATEGORIES.map((one) => [one, one.share]));
    const made = now - hourOf(dice, kind.owner === "CAMPAIGN");
    const id = `wamid.HBgM${dice.hex(28).toUpperCase()}`;
    const about = { messageId: id, createdAt: new Date(made).toISOString(), owner: kind.owner, ownerId: dice.pick(kind.ids), message: dice.pick(kind.texts) };
    const told = (at, status, more = {}) => tell(at, who, "message-status-update", { ...about, status, ...more }, dice.uuid());
    let at = made + 400 + dice.below(1_500);
    told(at, "sent");
    if (dice.chance(kind.fails)) {
      told(at + 900 + dice.below(4_000), "failed", { failureReason: dice.weighed(REASONS) });
      continue;
    }
    if (dice.chance(0.06)) continue;
    at += 700 + dice.below(dice.chance(0.2) ? 40 * 60_000 : 9_000);
    told(at, "delivered");
    if (!dice.chance(kind.reads)) continue;
    at += 4_000 + dice.below(dice.chance(0.5) ? 20 * 60_000 : 8 * HOUR);
    told(at, "read");
    if (!dice.chance(kind.owner === "AGENT" ? 0.8 : 0.12)) continue;
    at += 20_000 + dice.below(30 * 60_000);
    const asked = at;
    tell(at, who, "incoming-message", { messageId: `wamid.HBgM${dice.hex(28).toUpperCase()}`, createdAt: new Date(at - 900).toISOString(), status: "", message: dice.pick(QUESTIONS), owner: "", ownerId: null, isDeleted: false }, dice.uuid());
    if (!dice.chance(0.7)) continue;
    const answer = { messageId: `wamid.HBgM${dice.hex(28).toUpperCase()}`, createdAt: new Date(asked + 90_000).toISOString(), owner: "AGENT", ownerId: "8", message: dice.pick(CATEGORIES[3].texts) };
    for (const [status, after] of [["sent", 91_000], ["delivered", 93_000], ["read", 200_000]]) {
      tell(asked + after, who, "message-status-update", { ...answer, status }, dice.uuid());
    }
  }
  return coming.filter(({ at }) => at < now).sort((one, other) => one.at - other.at);
}

/** How long ago a message was made: broadcasts go out at eleven and at five, the rest by day. */
function hourOf(dice, isBroadcast) {
  const day = dice.below(7) * DAY;
  if (isBroadcast) return day + (dice.chance(0.6) ? 5 : 11) * HOUR - dice.below(50 * 60_000);
  return day + dice.below(14 * HOUR);
}

/** Mulberry32: small, and good enough for traffic. */
class Dice {
  #state;

  constructor(seed) {
    this.#state = seed;
  }

  unit() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(end) {
    return Math.floor(this.unit() * end);
  }

  chance(share) {
    return this.unit() < share;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  weighed(pairs) {
    let left = this.unit() * pairs.reduce((sum, [, weight]) => sum + weight, 0);
    return (pairs.find(([, weight]) => (left -= weight) < 0) ?? pairs[0])[0];
  }

  hex(digits) {
    return Array.from({ length: digits }, () => this.below(16).toString(16)).join("");
  }

  uuid() {
    return `${this.hex(8)}-${this.hex(4)}-4${this.hex(3)}-8${this.hex(3)}-${this.hex(12)}`;
  }
}
