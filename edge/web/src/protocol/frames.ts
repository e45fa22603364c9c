// The frames of the `simple-im.json` subprotocol, and the reading of those that come in. What is not of the expected
// shape is dropped here, so that nothing behind this module has to doubt its types.

/** A user or a group, as a conversation: `u3` is the one with user 3, `g9` that of group 9. */
export type ConvKey = `u${number}` | `g${number}`;

/** What a delivery or a stored message of one's own is: a message, a group's message, or a forwarded request. */
export type Kind = "m" | "gm" | "r";

/** A stored entry of a conversation, as it comes live, from the backlog and from `/history`. */
export interface Stored {
  kind: Kind;
  id: string;
  seq: number;
  /** Seconds since 1970. */
  ts: number;
  from: number;
  device: string;
  /** The text of a message, or what came with a contact request. */
  text: string;
  /** The other side; for a copy of one's own, the addressee. */
  to?: number;
  group?: number;
  /** A request's name. */
  t?: string;
  member?: number;
  name?: string;
  members?: number[];
  contactVersion?: number;
}

/** What may be sent and waits for an answer: the entry as it goes onto the wire, of one kind. */
export type Outgoing =
  | { kind: "m"; id: string; c: string; to: number; ack: "receipts" }
  | { kind: "gm"; id: string; c: string; group: number; ack?: "receipts" }
  | ({ kind: "r"; id: string; t: string } & Record<string, unknown>);

/** The final answer to something sent: it is stored (or done), or refused. */
export type Answer =
  | { ok: true; id: string; ts?: number; seq?: number; contactVersion?: number; groupId?: number }
  | { ok: false; id: string; code: string; reason: string };

/** A recipient has it, or has read up to it. */
export interface Receipt {
  conv: ConvKey;
  seq: number;
  by: number;
  level: "delivered" | "read";
}

export type Incoming =
  | { type: "delivery"; entry: Stored }
  | { type: "answer"; t: string; answer: Answer }
  | { type: "receipt"; receipt: Receipt; id: string }
  | { type: "notice"; t: string; after: number };

type Table = Record<string, unknown>;

const isTable = (value: unknown): value is Table => typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const whole = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;
/** `to = 3` and `[m.to] id = 3` alike. */
const idOf = (value: unknown): number | undefined => (isTable(value) ? whole(value.id) : whole(value));

/** The entries of a frame in their order; what cannot be read is left out. */
export function read(data: string): Incoming[] {
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return [];
  }
  if (!isTable(frame)) return [];
  const found: Incoming[] = [];
  for (const [kind, entries] of Object.entries(frame)) {
    if (!Array.isArray(entries)) continue;
    for (const entry of entries) {
      const one = isTable(entry) ? readEntry(kind, entry) : undefined;
      if (one) found.push(one);
    }
  }
  return found;
}

function readEntry(kind: string, table: Table): Incoming | undefined {
  if (kind === "m" || kind === "gm" || kind === "r") {
    const entry = stored(kind, table);
    return entry && { type: "delivery", entry };
  }
  if (kind === "rr") return { type: "answer", t: text(table.t), answer: readAnswer(table) };
  if (kind === "a") return readAck(table);
  if (kind === "n") return { type: "notice", t: text(table.t), after: whole(table.after) ?? 0 };
  return undefined;
}

/** A stored entry, from a frame or from the answer of `/history`. */
export function stored(kind: Kind, table: Table): Stored | undefined {
  const seq = whole(table.seq);
  const from = isTable(table.from) ? whole(table.from.id) : undefined;
  if (seq === undefined || from === undefined) return undefined;
  const entry: Stored = {
    kind,
    id: text(table.id),
    seq,
    ts: whole(table.ts) ?? 0,
    from,
    device: isTable(table.from) ? text(table.from.device) : "",
    text: kind === "r" ? text(table.message) : text(table.c),
  };
  const to = idOf(table.to);
  const group = idOf(table.group) ?? whole(table.group_id);
  const member = whole(table.member_id);
  const version = whole(table.contact_version);
  if (to !== undefined) entry.to = to;
  if (group !== undefined) entry.group = group;
  if (kind === "r") entry.t = text(table.t);
  if (member !== undefined) entry.member = member;
  if (typeof table.name === "string") entry.name = table.name;
  if (Array.isArray(table.members)) entry.members = table.members.filter((id): id is number => whole(id) !== undefined);
  if (version !== undefined) entry.contactVersion = version;
  return entry.to === undefined && entry.group === undefined ? undefined : entry;
}

function readAnswer(table: Table): Answer {
  const id = text(table.id);
  if (table.s !== 0) return { ok: false, id, code: text(table.code), reason: text(table.r) };
  const answer: Answer = { ok: true, id };
  const [seq, version, group] = [whole(table.seq), whole(table.contact_version), whole(table.group_id)];
  if (seq !== undefined) answer.seq = seq;
  if (version !== undefined) answer.contactVersion = version;
  if (group !== undefined) answer.groupId = group;
  return answer;
}

function readAck(table: Table): Incoming | undefined {
  const [id, level, seq, ts] = [text(table.id), table.lvl, whole(table.seq), whole(table.ts)];
  if (level === "stored" && seq !== undefined) {
    return { type: "answer", t: "", answer: { ok: true, id, seq, ts: ts ?? 0 } };
  }
  const by = idOf(table.from);
  if ((level !== "delivered" && level !== "read") || seq === undefined || by === undefined) return undefined;
  const group = idOf(table.group);
  return { type: "receipt", id, receipt: { conv: group === undefined ? `u${by}` : `g${group}`, seq, by, level } };
}

/** The conversation that an entry belongs to, as `me` sees it. */
export function convOf(entry: Pick<Stored, "group" | "from" | "to">, me: number): ConvKey {
  if (entry.group !== undefined) return `g${entry.group}`;
  return entry.from === me ? `u${entry.to ?? me}` : `u${entry.from}`;
}

/** Acknowledges exactly this delivery: by its place and whose conversation it is in. */
export function acknowledge(entry: Stored, me: number): Table {
  if (entry.group !== undefined) return { seq: entry.seq, group: entry.group };
  return entry.from === me
    ? { seq: entry.seq, to: { id: entry.to } }
    : { seq: entry.seq, from: { id: entry.from } };
}

/** Says that everything up to `seq` of a conversation is read. */
export function readUpTo(conv: ConvKey, seq: number): Table {
  const id = Number(conv.slice(1));
  return conv.startsWith("g") ? { lvl: "read", seq, group: id } : { lvl: "read", seq, from: { id } };
}

/** An entry as a frame of its own: a refusal then hits nothing else. */
export function frame(entry: Outgoing): string {
  const { kind, ...table } = entry;
  return JSON.stringify({ [kind]: [table] });
}
