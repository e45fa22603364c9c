import assert from "node:assert/strict";
import { test } from "node:test";
import { devices, relations } from "../src/state/load.ts";
import { request } from "../src/state/apply.ts";
import { model, said } from "./fakes.ts";

/** Answers calls by their paths, in turn; gives the paths that were asked. */
function answers(table: Record<string, unknown[]>): string[] {
  const asked: string[] = [];
  globalThis.fetch = async (path) => {
    asked.push(String(path));
    const next = table[String(path)]?.shift();
    const body = typeof next === "function" ? next() : next;
    return Response.json(body ?? { response: [{ status: 1, code: "unknown", r: String(path) }] });
  };
  return asked;
}
const row = (id: number, more: object = {}) => ({ id, name: `user ${id}`, phone: "1", avatar: "", ...more });
const page = (list: string, entries: object[], more = 0) => ({ response: [{ status: 0, more }], [list]: entries });

test("what waits and who is blocked is what the server says, page after page", async () => {
  const state = model();
  state.requests.set(7, { from: "them", message: "answered on another device" });
  state.blocked.add(8);
  answers({
    "/contact/request": [page("request", [row(2, { message: "hi", ts: 1 })], 1)],
    "/contact/request?after=2": [page("request", [row(3, { own: 1, message: "", ts: 1 })])],
    "/contact/blocked": [page("user", [row(4)])],
  });
  await relations(state);
  assert.deepEqual([...state.requests], [[2, { from: "them", message: "hi" }], [3, { from: "me", message: "" }]]);
  assert.deepEqual([...state.blocked], [4]);
  assert.deepEqual([2, 3, 4].map((id) => state.users.get(id)?.name), ["user 2", "user 3", "user 4"]);
});

test("an answer that was overtaken is asked for again", async () => {
  const state = model();
  const overtaken = () => {
    request(state, said(1, { kind: "r", t: "decline_contact" }));
    return page("request", [row(2, { message: "hi", ts: 1 })]);
  };
  const asked = answers({
    "/contact/request": [overtaken, page("request", [])],
    "/contact/blocked": [page("user", []), page("user", [])],
  });
  await relations(state);
  assert.equal(state.requests.size, 0);
  assert.equal(asked.length, 4);
});

test("devices are told with what is known of them", async () => {
  answers({ "/device": [{ response: [{ status: 0 }], device: [{ device: "a", seen: 5, own: 1, online: 1 }, { device: "b", seen: 6, ended: 1 }] }] });
  assert.deepEqual(await devices(), [
    { name: "a", seen: 5000, own: true, online: true, ended: false },
    { name: "b", seen: 6000, own: false, online: false, ended: true },
  ]);
});
