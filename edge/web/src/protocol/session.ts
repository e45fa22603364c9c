// The one connection of this browser: login, acknowledgement of deliveries, the sending of what waits in the outbox,
// and coming back after a loss. It owns no socket and no clock, both are given to it; so its rules are tested without.

import { Backoff } from "./backoff.ts";
import { type Answer, type ConvKey, type Receipt, type Stored, acknowledge, frame, read, readUpTo } from "./frames.ts";
import type { Outbox, Pending } from "./outbox.ts";

/** One connection, opened or opening. */
export interface Wire {
  send(data: string): void;
  close(): void;
}

export interface WireEvents {
  opened(): void;
  received(data: string): void;
  closed(code: number): void;
}

export interface Clock {
  now(): number;
  random(): number;
  /** Calls once after so many milliseconds; gives what cancels it. */
  after(ms: number, call: () => void): () => void;
}

export type Status =
  | { state: "connecting" }
  | { state: "online" }
  /** Lost; the next attempt is at `until`, in milliseconds since 1970. */
  | { state: "waiting"; until: number }
  /** The browser itself says that there is no network. */
  | { state: "offline" }
  /** This device is connected elsewhere. */
  | { state: "replaced" }
  /** The token is good no more. */
  | { state: "signed_out" };

export type SessionEvent =
  | { type: "status"; status: Status }
  | { type: "delivery"; entry: Stored }
  | { type: "settled"; pending: Pending; answer: Answer }
  | { type: "receipt"; receipt: Receipt };

export interface SessionOptions {
  me: number;
  device: string;
  outbox: Outbox;
  clock: Clock;
  open(events: WireEvents): Wire;
  emit(event: SessionEvent): void;
  id(): string;
}

/** All in milliseconds but the counts. */
export const TIMES = {
  /** From opening to the answer of the login. */
  login: 10_000,
  /** Silence after which a heartbeat is sent, and after which the connection is given up. */
  quiet: 20_000,
  dead: 30_000,
  /** Without an answer for so long, everything unanswered is sent again, in order. */
  resend: 10_000,
  /** How long acknowledgements are gathered, and how many a frame holds. */
  ackLinger: 50,
  ackBatch: 200,
  /** How many entries are on their way at a time. */
  window: 64,
  /** How often one that was refused for the moment (`unavailable`) is tried again, and after how long at first. */
  retries: 4,
  retry: 2_000,
} as const;

/** Close codes after which nothing is to be tried again: this device logged in elsewhere, the token is revoked. */
const FINAL: Partial<Record<number, Status>> = { 4001: { state: "replaced" }, 4002: { state: "signed_out" } };

/** Refusals that may pass by themselves. */
const PASSING = new Set(["unavailable", "rate_limited"]);

export class Session {
  status: Status = { state: "offline" };
  private wire: Wire | null = null;
  private loggedIn = false;
  private loginId = "";
  private stopped = true;
  private heard = 0;
  private readonly backoff: Backoff;
  /** When each entry went onto this wire, in the order of sending. */
  private readonly sentAt = new Map<string, number>();
  private readonly tries = new Map<string, number>();
  private acks: object[] = [];
  /** Read while there was no connection: one place a conversation. */
  private readonly reads = new Map<ConvKey, number>();
  private readonly cancels = new Map<string, () => void>();

  constructor(private readonly options: SessionOptions) {
    this.backoff = new Backoff(options.clock.random);
  }

  /** Connects, now and whenever the connection is lost. */
  start(): void {
    this.stopped = false;
    if (!this.wire) this.connect();
  }

  /** The browser has a network again, or someone asked: no waiting for the next attempt. */
  hurry(): void {
    if (this.stopped || this.wire) return;
    this.backoff.reset();
    this.connect();
  }

  /** Ends the connection and makes no other until `start`. */
  stop(status: Status = { state: "offline" }): void {
    this.stopped = true;
    this.drop();
    this.tell(status);
  }

  /** Sends what waits in the outbox and is not on its way yet. */
  flush(): void {
    if (!this.loggedIn) return;
    const now = this.options.clock.now();
    for (const { entry } of this.options.outbox.unanswered()) {
      if (this.sentAt.size >= TIMES.window) break;
      if (this.sentAt.has(entry.id)) continue;
      this.sentAt.set(entry.id, now);
      this.send(frame(entry));
    }
    this.watch();
  }

  /** Everything up to `seq` is read; said now, or after the next login. */
  markRead(conv: ConvKey, seq: number): void {
    if (this.loggedIn) this.acknowledge(readUpTo(conv, seq));
    else this.reads.set(conv, Math.max(seq, this.reads.get(conv) ?? 0));
  }

  private connect(): void {
    this.cancel("reconnect");
    this.tell({ state: "connecting" });
    // What an old wire still says is heard by nobody.
    let current = true;
    const mine = (call: () => void) => () => {
      if (current) call();
    };
    const wire = this.options.open({
      opened: mine(() => this.opened()),
      received: (data) => mine(() => this.received(data))(),
      closed: (code) =>
        mine(() => {
          current = false;
          this.lost(code);
        })(),
    });
    this.wire = {
      send: (data) => wire.send(data),
      close: () => {
        current = false;
        wire.close();
      },
    };
    this.timer("login", TIMES.login, () => this.lost(0));
  }

  private opened(): void {
    this.loginId = this.options.id();
    const user = { id: this.options.me, device: this.options.device };
    this.send(JSON.stringify({ r: [{ id: this.loginId, t: "login", user }] }));
  }

  private received(data: string): void {
    this.heard = this.options.clock.now();
    for (const incoming of read(data)) {
      if (this.stopped) return;
      switch (incoming.type) {
        case "delivery":
          // Emitted first: what the page has not taken in is not acknowledged, and comes again.
          this.options.emit(incoming);
          this.acknowledge(acknowledge(incoming.entry, this.options.me));
          break;
        case "receipt":
          this.options.emit({ type: "receipt", receipt: incoming.receipt });
          break;
        case "answer":
          this.answered(incoming.answer);
          break;
        case "notice":
          this.noticed(incoming.t, incoming.after);
      }
    }
  }

  private answered(answer: Answer): void {
    if (!this.loggedIn) {
      if (answer.id === this.loginId || answer.id === "") this.login(answer);
      return;
    }
    this.sentAt.delete(answer.id);
    if (!answer.ok && PASSING.has(answer.code) && this.again(answer.id)) return;
    this.tries.delete(answer.id);
    const { outbox } = this.options;
    const pending = answer.ok ? outbox.remove(answer.id) : outbox.refuse(answer.id, answer.code, answer.reason);
    // An answer that comes a second time finds nothing to settle.
    if (pending) this.options.emit({ type: "settled", pending, answer });
    this.flush();
  }

  /** Tries a refused entry once more later, a bounded number of times. */
  private again(id: string): boolean {
    const tries = (this.tries.get(id) ?? 0) + 1;
    if (tries > TIMES.retries) return false;
    this.tries.set(id, tries);
    // It holds its place on the way until then, so that `flush` leaves it alone.
    this.sentAt.set(id, Number.POSITIVE_INFINITY);
    this.timer(`retry ${id}`, TIMES.retry * 2 ** (tries - 1), () => {
      this.sentAt.delete(id);
      this.flush();
    });
    return true;
  }

  private login(answer: Answer): void {
    this.cancel("login");
    if (answer.ok) {
      this.loggedIn = true;
      this.backoff.reset();
      this.tell({ state: "online" });
      this.beat();
      for (const [conv, seq] of this.reads) this.acknowledge(readUpTo(conv, seq));
      this.reads.clear();
      this.flush();
    } else if (PASSING.has(answer.code)) {
      this.lost(0);
    } else {
      this.stop({ state: "signed_out" });
    }
  }

  private noticed(notice: string, after: number): void {
    if (notice === "replaced") this.stop({ state: "replaced" });
    // The node stops: somewhere within the time that it gives, not all sessions at once.
    if (notice === "move") this.timer("move", this.options.clock.random() * after, () => this.lost(0, true));
  }

  private lost(code: number, atOnce = false): void {
    this.drop();
    if (this.stopped) return;
    const final = FINAL[code];
    if (final) return this.stop(final);
    const wait = atOnce ? 0 : this.backoff.next();
    this.tell({ state: "waiting", until: this.options.clock.now() + wait });
    this.timer("reconnect", wait, () => this.connect());
  }

  private drop(): void {
    for (const name of [...this.cancels.keys()]) this.cancel(name);
    this.loggedIn = false;
    this.sentAt.clear();
    this.acks = [];
    this.wire?.close();
    this.wire = null;
  }

  /** While anything is unanswered, looks whether the oldest has waited too long; then all of it goes out again. */
  private watch(): void {
    const oldest = Math.min(...this.sentAt.values());
    this.cancel("resend");
    if (!Number.isFinite(oldest)) return;
    const wait = Math.max(0, oldest + TIMES.resend - this.options.clock.now());
    this.timer("resend", wait, () => {
      for (const [id, at] of [...this.sentAt]) if (Number.isFinite(at)) this.sentAt.delete(id);
      this.flush();
    });
  }

  private beat(): void {
    const { clock } = this.options;
    const check = () => {
      const silent = clock.now() - this.heard;
      if (silent >= TIMES.dead) return this.lost(0);
      if (silent >= TIMES.quiet) this.send("");
      this.timer("beat", TIMES.quiet / 2, check);
    };
    this.heard = clock.now();
    this.timer("beat", TIMES.quiet / 2, check);
  }

  private acknowledge(ack: object): void {
    this.acks.push(ack);
    if (this.acks.length >= TIMES.ackBatch) return this.sendAcks();
    if (this.acks.length === 1) this.timer("acks", TIMES.ackLinger, () => this.sendAcks());
  }

  private sendAcks(): void {
    this.cancel("acks");
    if (this.acks.length) this.send(JSON.stringify({ a: this.acks }));
    this.acks = [];
  }

  private send(data: string): void {
    this.wire?.send(data);
  }

  private tell(status: Status): void {
    this.status = status;
    this.options.emit({ type: "status", status });
  }

  private timer(name: string, ms: number, call: () => void): void {
    this.cancel(name);
    const cancel = this.options.clock.after(ms, () => {
      this.cancels.delete(name);
      call();
    });
    this.cancels.set(name, cancel);
  }

  private cancel(name: string): void {
    this.cancels.get(name)?.();
    this.cancels.delete(name);
  }
}
