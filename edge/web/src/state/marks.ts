// How far others have got with one's own messages. The server tells each receipt to the sending device once, so they
// are kept in the browser; only the furthest place counts, which makes them safe to hear twice and in any order.

import type { ConvKey, Receipt } from "../protocol/frames.ts";
import type { Store } from "../protocol/outbox.ts";

/** By user: up to which place it was delivered, and read. */
type Reached = Record<string, [delivered: number, read: number]>;

/** The conversations whose marks are kept, the latest ones. */
const KEPT = 200;

export class Marks {
  private readonly key: string;
  private readonly reached: Map<string, Reached>;

  constructor(
    private readonly store: Store,
    user: number,
  ) {
    this.key = `im.marks.${user}`;
    this.reached = new Map(Object.entries(parse(store.getItem(this.key))));
  }

  /** False when it says nothing new. */
  note({ conv, seq, by, level }: Receipt): boolean {
    const users = this.reached.get(conv) ?? {};
    const [delivered, read] = users[by] ?? [0, 0];
    // Who has read it has it.
    const next: [number, number] = [Math.max(delivered, seq), level === "read" ? Math.max(read, seq) : read];
    if (next[0] === delivered && next[1] === read) return false;
    // A conversation that moves is put last, so that the first ones are those to forget.
    this.reached.delete(conv);
    this.reached.set(conv, { ...users, [by]: next });
    for (const old of this.reached.keys()) {
      if (this.reached.size <= KEPT) break;
      this.reached.delete(old);
    }
    this.save();
    return true;
  }

  /** How many others have the entry at `seq`, and how many have read it. */
  count(conv: ConvKey, seq: number): { delivered: number; read: number } {
    const users = Object.values(this.reached.get(conv) ?? {});
    return {
      delivered: users.filter(([delivered]) => delivered >= seq).length,
      read: users.filter(([, read]) => read >= seq).length,
    };
  }

  private save(): void {
    try {
      this.store.setItem(this.key, JSON.stringify(Object.fromEntries(this.reached)));
    } catch {
      // A full storage costs marks after a reload, no message.
    }
  }
}

function parse(text: string | null): Record<string, Reached> {
  try {
    return text ? (JSON.parse(text) as Record<string, Reached>) : {};
  } catch {
    return {};
  }
}
