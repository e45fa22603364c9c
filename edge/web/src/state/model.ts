// What the page knows, as plain data; `apply.ts` changes it by what comes in, the views only read it.

import type { ConvKey } from "../protocol/frames.ts";
import type { Pending } from "../protocol/outbox.ts";
import type { Status } from "../protocol/session.ts";
import type { Marks } from "./marks.ts";
import { Timeline } from "./timeline.ts";

export interface User {
  id: number;
  name: string;
  phone: string;
}

export interface Group {
  id: number;
  name: string;
  creator: number;
  count: number;
  /** Known once the group was looked at. */
  members?: number[];
}

/** A contact request that waits: from the other side, or for it. */
export interface Request {
  from: "them" | "me";
  message: string;
}

export interface Conversation {
  key: ConvKey;
  /** The user, or the group. */
  id: number;
  timeline: Timeline;
  read: number;
  /** Others' entries beyond `read`, up to `counted`. */
  unread: number;
  counted: number;
  /** No member any more. */
  left: boolean;
  loading: boolean;
  /** History could not be loaded, for this reason. */
  failed?: string;
}

export interface Model {
  me: User;
  device: string;
  status: Status;
  /** The lists were loaded once. */
  ready: boolean;
  users: Map<number, User>;
  contacts: Set<number>;
  contactVersion: number;
  requests: Map<number, Request>;
  blocked: Set<number>;
  /** How often something was heard that changes `requests` or `blocked`: an answer from before it is out of date. */
  relations: number;
  groups: Map<number, Group>;
  conversations: Map<ConvKey, Conversation>;
  pending: Pending[];
  marks: Marks;
  /** The conversation on the screen. */
  open: ConvKey | null;
  /** A short word on what just happened, also for screen readers. */
  toast: { text: string; at: number; error: boolean } | null;
}

/** The conversation of that name, made if it is new. */
export function conversation(model: Model, key: ConvKey): Conversation {
  let found = model.conversations.get(key);
  if (!found) {
    const places = { read: 0, unread: 0, counted: 0 };
    found = { key, id: Number(key.slice(1)), timeline: new Timeline(), ...places, left: false, loading: false };
    model.conversations.set(key, found);
  }
  return found;
}

/** How many of others' entries lie beyond a place, of those that are known. */
export function othersAfter(model: Model, conv: Conversation, seq: number): number {
  return conv.timeline.items.reduce((sum, entry) => sum + Number(entry.seq > seq && entry.from !== model.me.id), 0);
}

export const isGroup = (key: ConvKey): boolean => key.startsWith("g");

export function nameOf(model: Model, user: number): string {
  if (user === model.me.id) return model.me.name || "You";
  return model.users.get(user)?.name || `User ${user}`;
}

export function titleOf(model: Model, key: ConvKey): string {
  const id = Number(key.slice(1));
  if (isGroup(key)) return model.groups.get(id)?.name || `Group ${id}`;
  return id === model.me.id ? "Notes to yourself" : nameOf(model, id);
}

/** The newest thing in a conversation, in milliseconds since 1970, for the order of the list. */
export function latest(model: Model, conv: Conversation): number {
  const items = conv.timeline.items;
  const stored = (items[items.length - 1]?.ts ?? 0) * 1000;
  const waiting = model.pending.reduce((at, one) => (one.conv === conv.key ? Math.max(at, one.at) : at), 0);
  return Math.max(stored, waiting);
}

/** Conversations, the one with the newest entry first. */
export function listed(model: Model): Conversation[] {
  return [...model.conversations.values()]
    .filter((conv) => conv.timeline.items.length || model.pending.some((one) => one.conv === conv.key))
    .map((conv) => ({ conv, at: latest(model, conv) }))
    .sort((a, b) => b.at - a.at || (a.conv.key < b.conv.key ? -1 : 1))
    .map(({ conv }) => conv);
}
