import assert from "node:assert/strict";
import { test } from "node:test";
import { OUTBOX_LIMIT, Outbox, OutboxFull, idMaker } from "../src/protocol/outbox.ts";
import { Marks } from "../src/state/marks.ts";
import { memory } from "./fakes.ts";

const message = (id: string) => ({ kind: "m", id, c: id, to: 2, ack: "receipts" }) as const;

test("the outbox keeps the order of writing, also within a millisecond and over several tabs", () => {
  const store = memory();
  const [one, other] = [new Outbox(store, 1, () => 5), new Outbox(store, 1, () => 100)];
  one.add(message("z"), "u2");
  one.add(message("a"), "u2");
  other.add(message("m"), "u2");
  assert.deepEqual(new Outbox(store, 1).all().map(({ entry }) => entry.id), ["z", "a", "m"]);
});

test("the outbox of one user is not another's, and foreign keys do not disturb it", () => {
  const store = memory();
  store.setItem("im.out.1.broken", "{");
  store.setItem("im.out.1.empty", "{}");
  new Outbox(store, 1).add(message("a"), "u2");
  new Outbox(store, 12).add(message("b"), "u2");
  assert.deepEqual(new Outbox(store, 1).all().map(({ entry }) => entry.id), ["a"]);
});

test("a full outbox refuses, by count and by room", () => {
  const outbox = new Outbox(memory(), 1);
  for (let at = 0; at < OUTBOX_LIMIT; at += 1) outbox.add(message(`${at}`), "u2");
  assert.throws(() => outbox.add(message("more"), "u2"), OutboxFull);
  assert.throws(() => new Outbox(memory(10), 1).add(message("large"), "u2"), OutboxFull);
});

test("ids differ within a page and between pages", () => {
  const [one, other] = [idMaker(() => 0.1, () => 1), idMaker(() => 0.2, () => 1)];
  assert.equal(new Set([one(), one(), other(), other()]).size, 4);
});

test("marks only move on, survive, and read means delivered", () => {
  const store = memory();
  const marks = new Marks(store, 1);
  assert.equal(marks.note({ conv: "u2", seq: 5, by: 2, level: "delivered" }), true);
  assert.equal(marks.note({ conv: "u2", seq: 4, by: 2, level: "delivered" }), false);
  assert.equal(marks.note({ conv: "u2", seq: 3, by: 2, level: "read" }), true);
  assert.deepEqual(new Marks(store, 1).count("u2", 4), { delivered: 1, read: 0 });
  assert.deepEqual(new Marks(store, 1).count("u2", 3), { delivered: 1, read: 1 });
  assert.deepEqual(new Marks(store, 2).count("u2", 3), { delivered: 0, read: 0 });
});
