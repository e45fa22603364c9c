// The tabs of one browser are one device and share its one connection: the tab that holds the lock runs the session,
// and tells the others everything it hears; they leave what they want sent in the outbox and nudge it. When that tab
// closes, the browser gives the lock to the next, which takes up the outbox as it stands.

import type { ConvKey, Outgoing } from "./frames.ts";
import type { Outbox, Pending } from "./outbox.ts";
import { Session, type SessionEvent, type SessionOptions, type Status } from "./session.ts";

export type LinkEvent =
  | SessionEvent
  /** Something was put into the outbox, or taken out by its writer, in any tab. */
  | { type: "outbox" }
  /** Read here, by any tab. */
  | { type: "read"; conv: ConvKey; seq: number }
  /** The user has logged out in another tab. */
  | { type: "logout" };

type Said = { event: LinkEvent } | { ask: "status" | "hurry" };

export class Link {
  status: Status = { state: "connecting" };
  private session: Session | null = null;
  private readonly channel: BroadcastChannel;
  /** Ends the listening and the waiting for the lock, or the holding of it. */
  private readonly end = new AbortController();

  constructor(
    private readonly options: Omit<SessionOptions, "emit">,
    private readonly heard: (event: LinkEvent) => void,
  ) {
    this.channel = new BroadcastChannel(`im.${options.me}`);
    this.channel.onmessage = ({ data }: MessageEvent<Said>) => this.listen(data);
  }

  private get outbox(): Outbox {
    return this.options.outbox;
  }

  start(): void {
    const { signal } = this.end;
    addEventListener("online", () => this.hurry(), { signal });
    addEventListener("offline", () => this.session?.stop({ state: "offline" }), { signal });
    // A tab's nudge may come before what it has written is seen here; this comes when it is.
    const stored = ({ key }: StorageEvent) => {
      if (!key?.startsWith(this.outbox.prefix)) return;
      this.session?.flush();
      this.heard({ type: "outbox" });
    };
    addEventListener("storage", stored, { signal });
    // Where there are no locks (a page without TLS, off localhost) each tab connects, and the newest one stays.
    if (!("locks" in navigator)) return this.lead();
    const leading = navigator.locks.request(`im.${this.options.me}`, { signal }, () => {
      if (signal.aborted) return undefined;
      this.lead();
      return new Promise<void>((done) => signal.addEventListener("abort", () => done()));
    });
    // Closed before it was this tab's turn.
    leading.catch(() => undefined);
    this.post({ ask: "status" });
  }

  /** Puts an entry into the outbox and sees that it is sent. Throws when there is no room. */
  submit(entry: Outgoing, conv: ConvKey | null): Pending {
    const pending = this.outbox.add(entry, conv);
    this.changed();
    return pending;
  }

  /** Gives a refused entry up. */
  discard(id: string): void {
    this.outbox.remove(id);
    this.changed();
  }

  markRead(conv: ConvKey, seq: number): void {
    this.session?.markRead(conv, seq);
    this.say({ type: "read", conv, seq });
  }

  /** Connects without waiting for the next attempt; after `replaced` too. */
  hurry(): void {
    if (!this.session) return this.post({ ask: "hurry" });
    this.session.start();
    this.session.hurry();
  }

  /** No connection any more, here and in the other tabs. */
  logout(): void {
    this.say({ type: "logout" });
    this.close();
  }

  close(): void {
    this.session?.stop({ state: "signed_out" });
    this.session = null;
    this.end.abort();
    this.channel.close();
  }

  private lead(): void {
    this.session = new Session({ ...this.options, emit: (event) => this.tell(event) });
    if (navigator.onLine) this.session.start();
    else this.tell({ type: "status", status: { state: "offline" } });
  }

  /** To this tab and the others. */
  private tell(event: LinkEvent): void {
    if (event.type === "status") this.status = event.status;
    this.say(event);
    this.heard(event);
  }

  private say(event: LinkEvent): void {
    this.post({ event });
  }

  private post(said: Said): void {
    if (!this.end.signal.aborted) this.channel.postMessage(said);
  }

  private changed(): void {
    this.tell({ type: "outbox" });
    this.session?.flush();
  }

  private listen(said: Said): void {
    if ("ask" in said) {
      if (!this.session) return;
      if (said.ask === "status") this.say({ type: "status", status: this.status });
      if (said.ask === "hurry") this.hurry();
      return;
    }
    const { event } = said;
    if (event.type === "status") this.status = event.status;
    if (event.type === "outbox") this.session?.flush();
    if (event.type === "read") this.session?.markRead(event.conv, event.seq);
    this.heard(event);
  }
}
