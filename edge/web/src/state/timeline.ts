// What is known of one conversation: entries in the order of their places, each once, wherever they came from.

import type { Stored } from "../protocol/frames.ts";

export class Timeline {
  /** Ascending by `seq`, without doubles. */
  items: readonly Stored[] = [];
  /** There is nothing older than the first item. */
  complete = false;
  /** A page of history was merged at least once. */
  loaded = false;
  /** Places of which the server has said that nothing is missing right before them. */
  private readonly whole = new Set<number>();

  get first(): number {
    return this.items[0]?.seq ?? 0;
  }

  get last(): number {
    return this.items[this.items.length - 1]?.seq ?? 0;
  }

  has(seq: number): boolean {
    return this.items[this.slot(seq)]?.seq === seq;
  }

  /** Takes an entry in its place; false when it was there. */
  insert(entry: Stored): boolean {
    const at = this.slot(entry.seq);
    if (this.items[at]?.seq === entry.seq) return false;
    this.items = [...this.items.slice(0, at), entry, ...this.items.slice(at)];
    return true;
  }

  /** Takes in a page of history that ends before `before`, or at the newest entry. */
  merge(page: readonly Stored[], more: boolean): void {
    const known = new Map(this.items.map((entry) => [entry.seq, entry]));
    for (const entry of page) known.set(entry.seq, entry);
    this.items = [...known.values()].sort((a, b) => a.seq - b.seq);
    const oldest = page.reduce((least, { seq }) => Math.min(least, seq), Number.POSITIVE_INFINITY);
    if (page.length === 0 || oldest <= this.first) this.complete = !more;
    this.loaded = true;
  }

  /** Where the newest hole is: the places around it. Places follow each other without any, but for what one may not see. */
  hole(): { after: number; before: number } | undefined {
    for (let at = this.items.length - 1; at > 0; at -= 1) {
      const [older, newer] = [this.items[at - 1], this.items[at]];
      if (older && newer && older.seq + 1 < newer.seq && !this.whole.has(newer.seq)) {
        return { after: older.seq, before: newer.seq };
      }
    }
    return undefined;
  }

  /** Takes in the page of history before a hole: it fills it, or shows that nothing is missing, or what lies behind it is
   * forgotten, so that scrolling back loads it anew. */
  fill(hole: { after: number; before: number }, page: readonly Stored[], more: boolean): void {
    const oldest = page.reduce((least, { seq }) => Math.min(least, seq), hole.before);
    this.merge(page, more);
    if (more && oldest > hole.after) {
      this.items = this.items.slice(this.slot(oldest));
      this.complete = false;
      return;
    }
    for (const { seq } of [...page, { seq: hole.before }]) this.whole.add(seq);
  }

  /** Where `seq` is or belongs; new entries mostly belong at the end. */
  private slot(seq: number): number {
    let [low, high] = [0, this.items.length];
    if (seq > this.last) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.items[middle]?.seq ?? 0) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
