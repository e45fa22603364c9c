import assert from "node:assert/strict";
import { test } from "node:test";
import { deliver, settle } from "../src/state/apply.ts";
import { conversation } from "../src/state/model.ts";
import { model, said } from "./fakes.ts";

test("a delivery that comes again counts once", () => {
  const state = model();
  deliver(state, said(1));
  deliver(state, said(1));
  assert.equal(conversation(state, "u2").unread, 1);
  assert.equal(conversation(state, "u2").timeline.items.length, 1);
});

test("what was read on another device, or is one's own, is not unread", () => {
  const state = model();
  conversation(state, "u2").read = 3;
  deliver(state, said(3));
  deliver(state, said(4, { from: 1, to: 2 }));
  assert.equal(conversation(state, "u2").unread, 0);
});

test("a request waits, is accepted, and the contact list is asked for", () => {
  const state = model();
  deliver(state, said(1, { kind: "r", t: "add_contact", text: "hello" }));
  assert.deepEqual(state.requests.get(2), { from: "them", message: "hello" });
  const entry = { kind: "r", id: "q", t: "accept_contact", to: 2 } as const;
  const wanted = settle(state, { entry, conv: "u2", at: 1 }, { ok: true, id: "q", seq: 2, contactVersion: 4 });
  assert.equal(wanted.contacts, true);
  assert.equal(state.requests.size, 0);
  assert(state.contacts.has(2));
});

test("a message that is stored takes its place; its copy from elsewhere changes nothing", () => {
  const state = model();
  const entry = { kind: "m", id: "a", c: "hi", to: 2, ack: "receipts" } as const;
  const wanted = settle(state, { entry, conv: "u2", at: 1 }, { ok: true, id: "a", seq: 5, ts: 9 });
  assert.deepEqual(wanted.users, [2], "whose name is not known is asked for");
  deliver(state, said(5, { from: 1, to: 2, id: "a" }));
  assert.deepEqual(conversation(state, "u2").timeline.items.map(({ id, seq }) => [id, seq]), [["a", 5]]);
});

test("one who is removed from a group has left it, one who is added again is back", () => {
  const state = model();
  const group = { kind: "r", group: 9 } as const;
  deliver(state, said(1, { ...group, t: "delete_group_member", member: 1 }));
  assert.equal(conversation(state, "g9").left, true);
  const { wanted } = deliver(state, said(2, { ...group, t: "create_group_member", member: 1 }));
  assert.equal(conversation(state, "g9").left, false);
  assert.equal(wanted.group, 9);
});

test("block and unblock are remembered, and what a blocked person has asked is forgotten", () => {
  const state = model();
  deliver(state, said(1, { kind: "r", t: "add_contact" }));
  for (const t of ["block", "unblock"]) {
    settle(state, { entry: { kind: "r", id: t, t, to: 2 }, conv: null, at: 1 }, { ok: true, id: t });
    assert.equal(state.blocked.has(2), t === "block");
    assert.equal(state.requests.size, 0);
  }
});

test("what the list has counted is not counted again when the backlog brings it", () => {
  const state = model();
  const conv = conversation(state, "u2");
  Object.assign(conv, { unread: 3, counted: 3 });
  for (const seq of [1, 2, 3, 4]) deliver(state, said(seq));
  assert.equal(conv.unread, 4);
});
