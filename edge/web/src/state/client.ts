// The signed-in page: holds the model, listens to the link, and offers what the views can do.

import { Link, type LinkEvent } from "../protocol/link.ts";
import { ApiError, call, rows } from "../protocol/api.ts";
import type { Answer, ConvKey, Outgoing, Stored } from "../protocol/frames.ts";
import { Outbox, OutboxFull, idMaker } from "../protocol/outbox.ts";
import { browserClock, openSocket } from "../protocol/socket.ts";
import * as apply from "./apply.ts";
import * as load from "./load.ts";
import { Marks } from "./marks.ts";
import { type Conversation, type Model, type User, conversation, isGroup, nameOf, othersAfter, titleOf } from "./model.ts";

/** In a group larger than this nobody is asked whether they have read: the answers would outnumber the messages. */
const READERS = 30;

export class Client {
  readonly model: Model;
  private readonly link: Link;
  private readonly outbox: Outbox;
  private readonly newId = idMaker(Math.random);
  private readonly waiting = new Map<string, (answer: Answer) => void>();
  private readonly askedUsers = new Set<number>();
  private refreshing: Promise<void> | null = null;
  private over = false;

  constructor(
    me: User,
    device: string,
    private readonly changed: () => void,
    private readonly onEnd: () => void,
  ) {
    this.outbox = new Outbox(localStorage, me.id);
    this.model = {
      me, device,
      status: { state: "connecting" },
      ready: false,
      users: new Map([[me.id, me]]),
      contacts: new Set(),
      contactVersion: 0,
      requests: new Map(),
      blocked: new Set(),
      relations: 0,
      groups: new Map(),
      conversations: new Map(),
      pending: this.outbox.all(),
      marks: new Marks(localStorage, me.id),
      open: null,
      toast: null,
    };
    const options = { me: me.id, device, outbox: this.outbox, clock: browserClock, open: openSocket, id: this.newId };
    this.link = new Link(options, (event) => this.hear(event));
  }

  start(): void {
    this.link.start();
    void this.refresh();
  }

  close(): void {
    this.over = true;
    this.link.close();
  }

  /** Not signed in any more; told once. */
  private ended(): void {
    if (this.over) return;
    this.close();
    this.onEnd();
  }

  /** Loads the lists again: at the start, after a reconnect, and when the page was away for long. */
  refresh(): Promise<void> {
    this.refreshing ??= this.loadLists().finally(() => (this.refreshing = null));
    return this.refreshing;
  }

  private async loadLists(): Promise<void> {
    const { model } = this;
    try {
      const lists = [load.contacts(model), load.relations(model), load.groups(model), load.conversations(model)];
      await Promise.all([...lists, load.user(model, model.me.id)]);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return this.ended();
      // Offline: what is there stays, and the next connection tries again.
      return this.changed();
    }
    Object.assign(model.me, model.users.get(model.me.id));
    model.ready = true;
    this.changed();
    const strangers = [...model.conversations.values()].filter(({ key, id }) => !isGroup(key) && !model.users.has(id));
    const waiting = model.pending.flatMap(({ conv }) => (conv && !isGroup(conv) ? [Number(conv.slice(1))] : []));
    void this.lookUp([...strangers.map(({ id }) => id), ...waiting]);
    for (const conv of model.conversations.values()) void this.mend(conv);
  }

  /** Shows a conversation: its newest page is loaded, and a group's members. */
  async open(key: ConvKey | null): Promise<void> {
    this.model.open = key;
    this.changed();
    if (key === null) return;
    const conv = conversation(this.model, key);
    if (isGroup(key) && !conv.left) void load.group(this.model, conv.id).then(this.changed, () => undefined);
    else if (!isGroup(key)) void this.lookUp([conv.id]);
    if (!conv.timeline.loaded) await this.older(key);
  }

  /** Loads the page of history before what is there. */
  async older(key: ConvKey): Promise<void> {
    const conv = conversation(this.model, key);
    const { timeline } = conv;
    if (conv.loading || timeline.complete) return;
    conv.loading = true;
    delete conv.failed;
    this.changed();
    try {
      const { page, more } = await load.history(key, timeline.loaded ? timeline.first : undefined);
      timeline.merge(page, more);
      void this.lookUp(page.map(({ from }) => from));
      await load.mend(conv);
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") timeline.complete = timeline.loaded = true;
      else conv.failed = error instanceof Error ? error.message : String(error);
    }
    conv.loading = false;
    this.changed();
  }

  private async mend(conv: Conversation): Promise<void> {
    for (let page = 0; page < 3; page += 1) {
      if (!(await load.mend(conv).catch(() => false))) return;
      this.changed();
    }
  }

  send(key: ConvKey, text: string): void {
    const id = this.newId();
    const to = Number(key.slice(1));
    const count = this.model.groups.get(to)?.count ?? Number.POSITIVE_INFINITY;
    const entry: Outgoing = isGroup(key)
      ? { kind: "gm", id, c: text, group: to, ...(count <= READERS ? { ack: "receipts" as const } : {}) }
      : { kind: "m", id, c: text, to, ack: "receipts" };
    this.submit(entry, key);
  }

  /** Sends a refused message again, as a new one: the answer to the old one stands. */
  retry(id: string): void {
    const pending = this.outbox.get(id);
    if (!pending?.conv || pending.entry.kind === "r") return;
    const { conv, entry } = pending;
    this.link.discard(id);
    this.send(conv, entry.c);
  }

  discard(id: string): void {
    this.link.discard(id);
  }

  /** A request to the server, answered once it is done or refused. */
  ask(t: string, args: Record<string, unknown>, conv: ConvKey | null): Promise<Answer> {
    const id = this.newId();
    return new Promise((answer) => {
      this.waiting.set(id, answer);
      if (!this.submit({ kind: "r", id, t, ...args }, conv)) {
        this.waiting.delete(id);
        answer({ ok: false, id, code: "full", reason: "too many unsent messages" });
      }
    });
  }

  private submit(entry: Outgoing, conv: ConvKey | null): boolean {
    try {
      this.link.submit(entry, conv);
      return true;
    } catch (error) {
      if (!(error instanceof OutboxFull)) throw error;
      this.toast("Too many unsent messages. Wait until some are sent.", true);
      return false;
    }
  }

  /** The newest entry of a conversation was seen. */
  seen(key: ConvKey): void {
    const conv = conversation(this.model, key);
    const { last } = conv.timeline;
    if (last <= conv.read && conv.unread === 0) return;
    this.link.markRead(key, last);
    this.read(key, last);
  }

  /** Connects at once, also when another browser took this device's place. */
  hurry(): void {
    this.link.hurry();
  }

  async find(phone: string): Promise<User | undefined> {
    const row = rows(await call("GET", `/user/phone/${encodeURIComponent(phone)}`), "user")[0];
    const user = row && load.userOf(row);
    if (user) this.model.users.set(user.id, user);
    return user;
  }

  async saveProfile(args: Record<string, string>): Promise<void> {
    await call("PUT", "/user", args);
    if (args.name) this.model.me.name = args.name;
    this.changed();
  }

  /** Logs another device out; this one has `logout`. */
  async endDevice(name: string): Promise<void> {
    await call("DELETE", `/device?device=${encodeURIComponent(name)}`);
  }

  async logout(): Promise<void> {
    await call("POST", "/server/logout").catch(() => undefined);
    this.link.logout();
    this.outbox.clear();
    this.ended();
  }

  toast(text: string, error = false): void {
    this.model.toast = { text, at: Date.now(), error };
    this.changed();
  }

  private hear(event: LinkEvent): void {
    const { model } = this;
    switch (event.type) {
      case "status": {
        const before = model.status.state;
        model.status = event.status;
        if (event.status.state === "online" && before !== "online" && model.ready) void this.refresh();
        if (event.status.state === "signed_out") this.ended();
        break;
      }
      case "delivery":
        this.delivered(event.entry);
        break;
      case "settled":
        this.settled(event);
        break;
      case "receipt":
        model.marks.note(event.receipt);
        break;
      case "outbox":
        model.pending = this.outbox.all();
        break;
      case "read":
        this.read(event.conv, event.seq);
        break;
      case "logout":
        this.ended();
    }
    this.changed();
  }

  private delivered(entry: Stored): void {
    const { conv, fresh, wanted } = apply.deliver(this.model, entry);
    const named = this.follow(wanted);
    if (!fresh) return;
    if (conv.timeline.hole()) void this.mend(conv);
    if (entry.kind === "r" || entry.from === this.model.me.id) return;
    void named.then(() => {
      const where = isGroup(conv.key) ? ` in ${titleOf(this.model, conv.key)}` : "";
      announce(`${nameOf(this.model, entry.from)}${where}: ${entry.text.slice(0, 200)}`);
    });
  }

  private settled({ pending, answer }: Extract<LinkEvent, { type: "settled" }>): void {
    void this.follow(apply.settle(this.model, pending, answer));
    // A refused request has been told to who asked; only messages wait to be tried again.
    if (!answer.ok && pending.entry.kind === "r") this.outbox.remove(answer.id);
    this.model.pending = this.outbox.all();
    this.waiting.get(answer.id)?.(answer);
    this.waiting.delete(answer.id);
  }

  /** Done when the names are known. */
  private follow(wanted: apply.Wanted): Promise<void> {
    if (wanted.contacts) void load.contacts(this.model).then(this.changed, () => undefined);
    if (wanted.group !== undefined) void load.group(this.model, wanted.group).then(this.changed, () => undefined);
    return this.lookUp(wanted.users);
  }

  private read(key: ConvKey, seq: number): void {
    const conv = conversation(this.model, key);
    conv.read = Math.max(conv.read, seq);
    conv.unread = othersAfter(this.model, conv, conv.read);
    this.changed();
  }

  /** Asks for the names that are missing, each once. */
  private lookUp(ids: readonly number[]): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.model.users.has(id) && !this.askedUsers.has(id));
    for (const id of missing) this.askedUsers.add(id);
    return load.each(missing, async (id) => {
      await load.user(this.model, id).catch(() => this.askedUsers.delete(id));
      this.changed();
    });
  }
}

/** Tells screen readers of what is not focused. */
export function announce(text: string): void {
  const region = document.getElementById("announcer");
  if (region) region.textContent = text;
}
