import assert from "node:assert/strict";
import { test } from "node:test";
import type { Stored } from "../src/protocol/frames.ts";
import { Timeline } from "../src/state/timeline.ts";

const entry = (seq: number): Stored => ({ kind: "m", id: `i${seq}`, seq, ts: seq, from: 2, to: 1, device: "", text: "" });
const page = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => entry(from + at));
const seqs = (timeline: Timeline) => timeline.items.map(({ seq }) => seq);

test("whatever comes, in whatever order and how often: each place once, in order", () => {
  const timeline = new Timeline();
  const fresh = [3, 1, 3, 2, 5, 1, 4].map((seq) => timeline.insert(entry(seq)));
  assert.deepEqual(fresh, [true, true, false, true, true, false, true]);
  assert.deepEqual(seqs(timeline), [1, 2, 3, 4, 5]);
});

test("history and live entries overlap without doubles", () => {
  const timeline = new Timeline();
  timeline.insert(entry(9));
  timeline.merge(page(5, 9), true);
  assert.equal(timeline.complete, false);
  timeline.merge(page(1, 5), false);
  assert.deepEqual(seqs(timeline), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(timeline.complete, true);
});

test("a hole is seen, and a page that reaches over it fills it", () => {
  const timeline = new Timeline();
  timeline.merge(page(1, 3), false);
  timeline.insert(entry(7));
  assert.deepEqual(timeline.hole(), { after: 3, before: 7 });
  timeline.fill({ after: 3, before: 7 }, page(2, 6), true);
  assert.equal(timeline.hole(), undefined);
  assert.deepEqual(seqs(timeline), [1, 2, 3, 4, 5, 6, 7]);
});

test("a hole wider than a page: what is behind it is loaded anew by scrolling", () => {
  const timeline = new Timeline();
  timeline.merge(page(1, 3), false);
  timeline.insert(entry(100));
  timeline.fill({ after: 3, before: 100 }, page(50, 99), true);
  assert.equal(timeline.first, 50);
  assert.equal(timeline.complete, false);
  assert.equal(timeline.hole(), undefined);
});

test("places that one may not see are no hole for ever", () => {
  const timeline = new Timeline();
  timeline.merge([...page(1, 3), ...page(8, 9)], false);
  timeline.fill({ after: 3, before: 8 }, page(1, 3), false);
  assert.equal(timeline.hole(), undefined);
});
