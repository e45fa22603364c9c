// A clock that is moved by hand, a storage in memory, a server's end of a connection, and a page's model.

import type { Stored } from "../src/protocol/frames.ts";
import type { Store } from "../src/protocol/outbox.ts";
import { Outbox, idMaker } from "../src/protocol/outbox.ts";
import { type Clock, Session, type SessionEvent, type WireEvents } from "../src/protocol/session.ts";
import { Marks } from "../src/state/marks.ts";
import type { Model } from "../src/state/model.ts";

export class FakeClock implements Clock {
  time = 1_000_000;
  private timers: { at: number; call: () => void }[] = [];

  now = (): number => this.time;
  random = (): number => 1;

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.time + ms, call };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((one) => one !== timer));
  }

  /** Moves on, and calls what falls due on the way, in order. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((one) => one !== next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
  }
}

export function memory(room = Number.POSITIVE_INFINITY): Store {
  const map = new Map<string, string>();
  return {
    get length() {
      return map.size;
    },
    key: (at) => [...map.keys()][at] ?? null,
    getItem: (key) => map.get(key) ?? null,
    setItem(key, value) {
      if (value.length > room) throw new Error("QuotaExceededError");
      map.set(key, value);
    },
    removeItem: (key) => void map.delete(key),
  };
}

type Entry = Record<string, unknown>;

/** What the session sent on one connection, and what the test makes the server say. */
export class FakeWire {
  readonly sent: string[] = [];
  closed = false;

  constructor(readonly events: WireEvents) {}

  /** The entries of one kind that were sent, in order. */
  entries(kind: string): Entry[] {
    return this.sent.filter(Boolean).flatMap((data) => (JSON.parse(data) as Record<string, Entry[]>)[kind] ?? []);
  }

  say(frame: object): void {
    this.events.received(JSON.stringify(frame));
  }

  /** Opens, and answers the login. */
  login(): void {
    this.events.opened();
    const { id } = this.entries("r")[0] ?? {};
    this.say({ rr: [{ id, t: "login", s: 0 }] });
  }

  stored(id: unknown, seq: number): void {
    this.say({ a: [{ id, lvl: "stored", ts: 1, seq }] });
  }
}

export class Bench {
  readonly clock = new FakeClock();
  readonly store = memory();
  readonly outbox = new Outbox(this.store, 1, this.clock.now);
  readonly wires: FakeWire[] = [];
  readonly events: SessionEvent[] = [];
  readonly session = new Session({
    me: 1,
    device: "web-test",
    outbox: this.outbox,
    clock: this.clock,
    id: idMaker(() => 0.5, this.clock.now),
    emit: (event) => this.events.push(event),
    open: (events) => {
      const wire = new FakeWire(events);
      this.wires.push(wire);
      return { send: (data) => wire.sent.push(data), close: () => (wire.closed = true) };
    },
  });

  /** The newest connection. */
  get wire(): FakeWire {
    const wire = this.wires.at(-1);
    if (!wire) throw new Error("expected a connection, found none");
    return wire;
  }

  write(id: string, text = id): void {
    this.outbox.add({ kind: "m", id, c: text, to: 2, ack: "receipts" }, "u2");
    this.session.flush();
  }

  of<T extends SessionEvent["type"]>(type: T): Extract<SessionEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<SessionEvent, { type: T }> => event.type === type);
  }
}

export const delivery = (seq: number, from = 2): object => ({
  m: [{ id: `d${seq}`, c: `text ${seq}`, ts: 1, seq, to: { id: 1 }, from: { id: from, device: "phone" } }],
});

/** What user 1 knows who has just logged in. */
export const model = (): Model => ({
  me: { id: 1, name: "Me", phone: "" },
  device: "d",
  status: { state: "online" },
  ready: true,
  users: new Map(),
  contacts: new Set(),
  contactVersion: 0,
  requests: new Map(),
  blocked: new Set(),
  relations: 0,
  groups: new Map(),
  conversations: new Map(),
  pending: [],
  marks: new Marks(memory(), 1),
  open: null,
  toast: null,
});

/** Something that user 2 said to user 1. */
export const said = (seq: number, more: Partial<Stored> = {}): Stored => ({
  kind: "m", id: `x${seq}`, seq, ts: 1, from: 2, to: 1, device: "", text: "hi", ...more,
});
