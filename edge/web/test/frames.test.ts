import assert from "node:assert/strict";
import { test } from "node:test";
import { convOf, frame, read, readUpTo } from "../src/protocol/frames.ts";

test("what is no frame is dropped, and nothing throws", () => {
  for (const data of ["", "{", "1", "null", "[]", "{}", '{"m":1}', '{"m":[1,null,[]]}', '{"m":[{"seq":"x"}]}', '{"zz":[{}]}']) {
    assert.deepEqual(read(data), [], data);
  }
});

test("markup in a text is a text", () => {
  const c = "<img src=x onerror=alert(1)>";
  const [first] = read(JSON.stringify({ m: [{ id: "a", c, ts: 1, seq: 1, to: { id: 1 }, from: { id: 2, device: "d" } }] }));
  assert(first?.type === "delivery");
  assert.equal(first.entry.text, c);
});

test("the two sides of a conversation, and one's own copy", () => {
  assert.equal(convOf({ from: 2, to: 1 }, 1), "u2");
  assert.equal(convOf({ from: 1, to: 2 }, 1), "u2");
  assert.equal(convOf({ from: 1, to: 1 }, 1), "u1");
  assert.equal(convOf({ from: 2, group: 9 }, 1), "g9");
});

test("answers, receipts and notices", () => {
  const say = (value: object) => read(JSON.stringify(value))[0];
  assert.deepEqual(say({ a: [{ id: "a", lvl: "queued" }] }), undefined);
  assert.deepEqual(say({ a: [{ id: "a", lvl: "read", seq: 4, group: 9, from: { id: 2 } }] }), {
    type: "receipt",
    id: "a",
    receipt: { conv: "g9", seq: 4, by: 2, level: "read" },
  });
  assert.deepEqual(say({ rr: [{ id: "r", t: "create_group", s: 0, seq: 1, group_id: 9 }] }), {
    type: "answer",
    t: "create_group",
    answer: { ok: true, id: "r", seq: 1, groupId: 9 },
  });
  assert.deepEqual(say({ n: [{ t: "move", server: "s", port: 1, after: 9 }] }), { type: "notice", t: "move", after: 9 });
});

test("an entry goes out as one frame of its kind", () => {
  assert.equal(frame({ kind: "gm", id: "a", c: "好", group: 9 }), '{"gm":[{"id":"a","c":"好","group":9}]}');
  assert.deepEqual(readUpTo("g9", 4), { lvl: "read", seq: 4, group: 9 });
});
