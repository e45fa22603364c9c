// What was sent and has no answer yet, kept in the browser's storage, one key an entry: a reload, a crash and a change
// of the tab that holds the connection all leave it whole, and tabs that write at once do not overwrite each other.

import type { ConvKey, Outgoing } from "./frames.ts";

export interface Pending {
  entry: Outgoing;
  /** Where it is shown; requests that belong to no conversation have none. */
  conv: ConvKey | null;
  /** When it was written, in milliseconds since 1970; also its place in the order, with `id` to part equals. */
  at: number;
  /** Refused, for this reason; it waits for its writer to try again or to give it up. */
  refused?: { code: string; reason: string };
}

/** The part of `Storage` that is used, so that tests bring their own. */
export type Store = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** The most entries that wait at a time; one more is refused to the writer. */
export const OUTBOX_LIMIT = 500;

export class OutboxFull extends Error {}

export class Outbox {
  /** What its keys begin with. */
  readonly prefix: string;
  private last = 0;
  /** What was read last under each key, so that it is taken apart once. */
  private cache = new Map<string, { text: string; pending: Pending | undefined }>();

  constructor(
    private readonly store: Store,
    user: number,
    private readonly now: () => number = Date.now,
  ) {
    this.prefix = `im.out.${user}.`;
  }

  /** Keeps an entry. Throws `OutboxFull` when there is no room, in count or in the browser's storage. */
  add(entry: Outgoing, conv: ConvKey | null): Pending {
    if (this.all().length >= OUTBOX_LIMIT) throw new OutboxFull(`expected at most ${OUTBOX_LIMIT} unsent messages`);
    // Two of one millisecond keep their order.
    this.last = Math.max(this.now(), this.last + 1);
    const pending: Pending = { entry, conv, at: this.last };
    try {
      this.put(pending);
    } catch (cause) {
      throw new OutboxFull("the browser's storage has no room for another unsent message", { cause });
    }
    return pending;
  }

  get(id: string): Pending | undefined {
    return this.read(this.prefix + id);
  }

  /** Everything, in the order in which it was written. */
  all(): Pending[] {
    const found: Pending[] = [];
    for (let at = 0; at < this.store.length; at += 1) {
      const key = this.store.key(at);
      const pending = key?.startsWith(this.prefix) ? this.read(key) : undefined;
      if (pending) found.push(pending);
    }
    return found.sort((a, b) => a.at - b.at || (a.entry.id < b.entry.id ? -1 : 1));
  }

  /** What is to be sent: everything that was not refused. */
  unanswered(): Pending[] {
    return this.all().filter((pending) => !pending.refused);
  }

  /** Gives what it was, or nothing when it was settled before. */
  remove(id: string): Pending | undefined {
    const pending = this.get(id);
    this.store.removeItem(this.prefix + id);
    this.cache.delete(this.prefix + id);
    return pending;
  }

  refuse(id: string, code: string, reason: string): Pending | undefined {
    const found = this.get(id);
    if (!found) return undefined;
    const pending = { ...found, refused: { code, reason } };
    this.put(pending);
    return pending;
  }

  clear(): void {
    for (const pending of this.all()) this.store.removeItem(this.prefix + pending.entry.id);
  }

  private read(key: string): Pending | undefined {
    const text = this.store.getItem(key);
    const known = this.cache.get(key);
    if (text !== null && known?.text === text) return known.pending;
    const pending = parse(text);
    if (text === null) this.cache.delete(key);
    else this.cache.set(key, { text, pending });
    return pending;
  }

  private put(pending: Pending): void {
    this.store.setItem(this.prefix + pending.entry.id, JSON.stringify(pending));
  }
}

function parse(text: string | null): Pending | undefined {
  if (text === null) return undefined;
  try {
    const pending = JSON.parse(text) as Pending;
    return typeof pending.entry?.id === "string" && typeof pending.at === "number" ? pending : undefined;
  } catch {
    return undefined;
  }
}

/** An id that this device never used before: a random part a page, and a count. */
export function idMaker(random: () => number, now: () => number = Date.now): () => string {
  const page = now().toString(36) + Math.floor(random() * 36 ** 5).toString(36).padStart(5, "0");
  let count = 0;
  return () => `w${page}.${(count += 1)}`;
}
