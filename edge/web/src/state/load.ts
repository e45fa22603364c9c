// Asks the HTTP API for what the model needs, and puts the answers into it.

import { type ConvKey, type Kind, type Stored, stored } from "../protocol/frames.ts";
import { type Reply, call, rows } from "../protocol/api.ts";
import { type Conversation, type Group, type Model, type Request, type User, conversation, isGroup, othersAfter } from "./model.ts";

/** Entries a page of history. */
const PAGE = 50;
/** The most pages of a list that are fetched one after the other. */
const PAGES = 50;
/** How many small calls are under way at a time. */
const AT_ONCE = 4;

const number = (value: unknown): number => (typeof value === "number" ? value : Number(value) || 0);

export function userOf(row: Record<string, unknown>): User {
  return { id: number(row.id), name: String(row.name ?? ""), phone: String(row.phone ?? "") };
}

function groupOf(row: Record<string, unknown>): Group {
  return { id: number(row.id), name: String(row.name ?? ""), creator: number(row.creator), count: number(row.count) };
}

/** Follows a list from page to page; `next` says where the following one begins. */
async function pages(path: (after: string) => string, start: string, next: (reply: Reply) => string | undefined): Promise<Reply[]> {
  const found: Reply[] = [];
  let after: string | undefined = start;
  for (let page = 0; page < PAGES && after !== undefined; page += 1) {
    const reply: Reply = await call("GET", path(after));
    found.push(reply);
    after = reply.response.more === 1 ? next(reply) : undefined;
  }
  return found;
}

export async function contacts(model: Model): Promise<void> {
  const path = (version: string) => `/contact/version/${version}`;
  const replies = await pages(path, String(model.contactVersion), (reply) => String(reply.response.contact_version));
  for (const reply of replies) {
    for (const row of rows(reply, "user")) {
      const user = userOf(row);
      model.users.set(user.id, user);
      if (row.deleted === 1) model.contacts.delete(user.id);
      else {
        model.contacts.add(user.id);
        model.requests.delete(user.id);
      }
    }
    model.contactVersion = Math.max(model.contactVersion, number(reply.response.contact_version));
  }
}

/** The requests that wait and who is blocked: asked again when one of them changed meanwhile, within reason. */
export async function relations(model: Model): Promise<void> {
  const all = async (path: string, list: string): Promise<Record<string, unknown>[]> => {
    const replies = await pages((after) => (after ? `${path}?after=${after}` : path), "", (page) => lastOf(page, list, "id"));
    return replies.flatMap((reply) => rows(reply, list));
  };
  for (let left = 3; left > 0; left -= 1) {
    const before = model.relations;
    const [waiting, blocked] = await Promise.all([all("/contact/request", "request"), all("/contact/blocked", "user")]);
    for (const row of [...waiting, ...blocked]) model.users.set(number(row.id), userOf(row));
    if (model.relations !== before && left > 1) continue;
    model.requests = new Map(waiting.map((row) => [number(row.id), requestOf(row)]));
    model.blocked = new Set(blocked.map((row) => number(row.id)));
    return;
  }
}

function requestOf(row: Record<string, unknown>): Request {
  return { from: row.own === 1 ? "me" : "them", message: String(row.message ?? "") };
}

export async function groups(model: Model): Promise<void> {
  const path = (after: string) => (after ? `/group?after=${after}` : "/group");
  for (const reply of await pages(path, "", (page) => lastOf(page, "group", "id"))) {
    for (const group of rows(reply, "group").map(groupOf)) {
      model.groups.set(group.id, { ...model.groups.get(group.id), ...group });
    }
  }
}

export async function conversations(model: Model): Promise<void> {
  const path = (after: string) => `/conversation?limit=200${after ? `&after=${encodeURIComponent(after)}` : ""}`;
  for (const reply of await pages(path, "", (page) => lastOf(page, "conversation", "conversation"))) {
    for (const row of rows(reply, "conversation")) listedRow(model, row);
  }
}

function listedRow(model: Model, row: Record<string, unknown>): void {
  const key: ConvKey = row.group === undefined ? `u${number(row.user)}` : `g${number(row.group)}`;
  const conv = conversation(model, key);
  const last = stored(row.kind as Kind, (row.last ?? {}) as Record<string, unknown>);
  if (last) conv.timeline.insert(last);
  // What was read here a moment ago may not be there yet, and what came a moment ago may not be counted.
  if (number(row.read) >= conv.read) {
    conv.read = number(row.read);
    conv.unread = number(row.unread) + othersAfter(model, conv, Math.max(conv.read, last?.seq ?? 0));
    conv.counted = conv.timeline.last;
  }
  conv.left = row.left === 1;
}

const lastOf = (reply: Reply, list: string, key: string): string | undefined => {
  const value = rows(reply, list).at(-1)?.[key];
  return value === undefined ? undefined : String(value);
};

/** A page of a conversation that ends before `before`, or with the newest entry. */
export async function history(key: ConvKey, before?: number): Promise<{ page: Stored[]; more: boolean }> {
  const whose = isGroup(key) ? "group" : "with";
  const reply = await call("GET", `/history?${whose}=${key.slice(1)}&limit=${PAGE}${before ? `&before=${before}` : ""}`);
  const page: Stored[] = [];
  for (const kind of ["m", "gm", "r"] as const) {
    for (const row of rows(reply, kind)) {
      const entry = stored(kind, row);
      if (entry) page.push(entry);
    }
  }
  return { page, more: reply.response.more === 1 };
}

/** Closes the newest hole of a conversation that is shown; one call, and none when there is no hole. */
export async function mend(conv: Conversation): Promise<boolean> {
  const hole = conv.timeline.loaded ? conv.timeline.hole() : undefined;
  if (!hole) return false;
  const { page, more } = await history(conv.key, hole.before);
  conv.timeline.fill(hole, page, more);
  return true;
}

export async function group(model: Model, id: number): Promise<void> {
  const reply = await call("GET", `/group/${id}`);
  for (const row of rows(reply, "user")) model.users.set(number(row.id), userOf(row));
  const row = rows(reply, "group")[0];
  if (!row) return;
  const members = Array.isArray(row.members) ? row.members.map(number) : [];
  model.groups.set(id, { ...groupOf(row), members });
}

export async function user(model: Model, id: number): Promise<void> {
  const row = rows(await call("GET", `/user/id/${id}`), "user")[0];
  if (row) model.users.set(id, userOf(row));
}

/** A device of this user's. */
export interface Device {
  name: string;
  /** When it was last seen, in milliseconds since 1970; to the hour while it is connected. */
  seen: number;
  own: boolean;
  online: boolean;
  /** It is logged out. */
  ended: boolean;
}

export async function devices(): Promise<Device[]> {
  return rows(await call("GET", "/device"), "device").map((row) => ({
    name: String(row.device ?? ""),
    seen: number(row.seen) * 1000,
    own: row.own === 1,
    online: row.online === 1,
    ended: row.ended === 1,
  }));
}

/** A bounded number at a time; what fails is left to the next occasion. */
export async function each<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const worker = async () => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await work(one).catch(() => undefined);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
