// What comes in, put into the model. Every function may see the same thing twice and then changes nothing.

import { type Answer, type Stored, convOf } from "../protocol/frames.ts";
import type { Pending } from "../protocol/outbox.ts";
import { type Conversation, type Model, conversation } from "./model.ts";

/** What is to be asked of the server after an entry was taken in. */
export interface Wanted {
  /** The contact list has moved on. */
  contacts?: boolean;
  /** This group has changed. */
  group?: number;
  /** Names that are not known. */
  users: number[];
}

/** Takes in a delivery, live or from the backlog. */
export function deliver(model: Model, entry: Stored): { conv: Conversation; fresh: boolean; wanted: Wanted } {
  const conv = conversation(model, convOf(entry, model.me.id));
  const fresh = conv.timeline.insert(entry);
  const wanted: Wanted = { users: [] };
  if (fresh) {
    // What comes after the list was loaded may have been counted there.
    if (entry.from !== model.me.id && entry.seq > Math.max(conv.read, conv.counted)) conv.unread += 1;
    conv.counted = Math.max(conv.counted, entry.seq);
    if (entry.kind === "r") Object.assign(wanted, request(model, entry));
  }
  wanted.users = unknown(model, [entry.from, entry.to, entry.member]);
  return { conv, fresh, wanted };
}

function unknown(model: Model, ids: readonly (number | undefined)[]): number[] {
  return ids.filter((id): id is number => id !== undefined && id !== model.me.id && !model.users.has(id));
}

/** What a forwarded request changes in contacts, requests and groups. */
export function request(model: Model, entry: Stored): Partial<Wanted> {
  const me = model.me.id;
  if (entry.group !== undefined) {
    const conv = conversation(model, `g${entry.group}`);
    const gone = entry.t === "delete_group" || (entry.t === "delete_group_member" && (entry.member ?? entry.from) === me);
    if (gone) {
      conv.left = true;
      model.groups.delete(entry.group);
      return {};
    }
    if (entry.t === "create_group" || entry.member === me) conv.left = false;
    return { group: entry.group };
  }
  const other = entry.from === me ? entry.to : entry.from;
  if (other === undefined) return {};
  model.relations += 1;
  switch (entry.t) {
    case "add_contact":
      if (entry.contactVersion === undefined) {
        model.requests.set(other, { from: entry.from === me ? "me" : "them", message: entry.text });
      } else befriend(model, other);
      break;
    case "accept_contact":
      befriend(model, other);
      break;
    case "decline_contact":
      model.requests.delete(other);
      break;
    case "delete_contact":
      model.contacts.delete(other);
      model.requests.delete(other);
  }
  return entry.contactVersion === undefined ? {} : { contacts: true };
}

function befriend(model: Model, user: number): void {
  model.requests.delete(user);
  model.contacts.add(user);
}

/** What one's own entry became, now that it is stored; it takes its place among the others. */
export function settle(model: Model, pending: Pending, answer: Answer): Wanted {
  const wanted: Wanted = { users: [] };
  if (!answer.ok) return wanted;
  const { entry } = pending;
  if (entry.kind === "r") blocks(model, entry.t, Number(entry.to));
  const key = answer.groupId === undefined ? pending.conv : (`g${answer.groupId}` as const);
  if (answer.seq === undefined || key === null) return wanted;
  const stored: Stored = {
    kind: entry.kind,
    id: entry.id,
    seq: answer.seq,
    ts: answer.ts ?? Math.floor(pending.at / 1000),
    from: model.me.id,
    device: model.device,
    text: entry.kind === "r" ? String(entry.message ?? "") : entry.c,
  };
  const id = Number(key.slice(1));
  if (key.startsWith("g")) stored.group = id;
  else stored.to = id;
  if (entry.kind === "r") {
    stored.t = entry.t;
    if (typeof entry.member_id === "number") stored.member = entry.member_id;
    if (typeof entry.name === "string") stored.name = entry.name;
    if (answer.contactVersion !== undefined) stored.contactVersion = answer.contactVersion;
  }
  // Written before a reload, perhaps, that knows nothing of the other side yet.
  wanted.users = unknown(model, [stored.to, stored.member]);
  const conv = conversation(model, key);
  if (conv.timeline.insert(stored) && stored.kind === "r") Object.assign(wanted, request(model, stored));
  return wanted;
}

function blocks(model: Model, t: string, user: number): void {
  if (t !== "block" && t !== "unblock") return;
  model.relations += 1;
  if (t === "unblock") return void model.blocked.delete(user);
  model.blocked.add(user);
  // What the other side has asked is forgotten with it; what one has asked oneself waits on.
  if (model.requests.get(user)?.from === "them") model.requests.delete(user);
}
