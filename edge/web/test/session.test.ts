import assert from "node:assert/strict";
import { test } from "node:test";
import { TIMES } from "../src/protocol/session.ts";
import { Bench, delivery } from "./fakes.ts";

const ids = (entries: Record<string, unknown>[]) => entries.map(({ id }) => id);

function online(): Bench {
  const bench = new Bench();
  bench.session.start();
  bench.wire.login();
  return bench;
}

test("logs in with the cookie: user and device, no token", () => {
  const { wire, session } = online();
  assert.deepEqual(wire.entries("r")[0]?.user, { id: 1, device: "web-test" });
  assert.equal(session.status.state, "online");
});

test("what was written before the login goes out after it, in order, one frame each", () => {
  const bench = new Bench();
  bench.write("a");
  bench.write("b");
  bench.session.start();
  assert.deepEqual(bench.wire.entries("m"), []);
  bench.wire.login();
  assert.deepEqual(ids(bench.wire.entries("m")), ["a", "b"]);
  assert.equal(bench.wire.sent.length, 3);
});

test("what has no answer goes out again after a reconnect, in order, and nothing else", () => {
  const bench = online();
  for (const id of ["a", "b", "c"]) bench.write(id);
  bench.wire.stored("b", 1);
  bench.wire.events.closed(1006);
  assert.equal(bench.session.status.state, "waiting");
  bench.clock.pass(500);
  bench.wire.login();
  assert.equal(bench.wires.length, 2);
  assert.deepEqual(ids(bench.wire.entries("m")), ["a", "c"]);
});

test("an outbox outlives the page", () => {
  const first = online();
  first.write("a");
  const second = new Bench();
  for (const pending of first.outbox.all()) second.store.setItem(`im.out.1.${pending.entry.id}`, JSON.stringify(pending));
  second.session.start();
  second.wire.login();
  assert.deepEqual(ids(second.wire.entries("m")), ["a"]);
});

test("without an answer for ten seconds all of it goes out again on the same connection", () => {
  const bench = online();
  bench.write("a");
  bench.clock.pass(4_000);
  bench.write("b");
  bench.clock.pass(TIMES.resend - 4_000);
  assert.deepEqual(ids(bench.wire.entries("m")), ["a", "b", "a", "b"]);
  bench.wire.stored("a", 1);
  bench.wire.stored("b", 2);
  bench.clock.pass(60_000);
  assert.equal(bench.wires[0]?.entries("m").length, 4);
});

test("an answer that comes twice settles once", () => {
  const bench = online();
  bench.write("a");
  bench.wire.stored("a", 7);
  bench.wire.stored("a", 7);
  assert.deepEqual(bench.of("settled").map(({ answer }) => answer), [{ ok: true, id: "a", seq: 7, ts: 1 }]);
  assert.deepEqual(bench.outbox.all(), []);
});

test("a refused message stays, is not sent again, and the others are", () => {
  const bench = online();
  bench.write("a");
  bench.write("b");
  bench.wire.say({ rr: [{ id: "a", t: "", s: 1, code: "blocked", r: "no" }] });
  bench.wire.events.closed(1006);
  bench.clock.pass(500);
  bench.wire.login();
  assert.deepEqual(ids(bench.wire.entries("m")), ["b"]);
  assert.deepEqual(bench.outbox.get("a")?.refused, { code: "blocked", reason: "no" });
});

test("a passing refusal is tried again a bounded number of times", () => {
  const bench = online();
  bench.write("a");
  const refuse = () => bench.wire.say({ rr: [{ id: "a", t: "", s: 1, code: "unavailable", r: "later" }] });
  for (let round = 0; round < TIMES.retries; round += 1) {
    refuse();
    // The server answers heartbeats meanwhile.
    for (let beats = 0; beats < 4; beats += 1) {
      bench.clock.pass(5_000);
      bench.wire.say({});
    }
  }
  const sent = bench.wire.entries("m").length;
  refuse();
  assert.equal(bench.outbox.get("a")?.refused?.code, "unavailable");
  bench.clock.pass(25_000);
  assert.equal(bench.wire.entries("m").length, sent);
});

test("no more than the window is on its way", () => {
  const bench = online();
  for (let at = 0; at < TIMES.window + 3; at += 1) bench.write(`m${at}`);
  assert.equal(bench.wire.entries("m").length, TIMES.window);
  bench.wire.stored("m0", 1);
  assert.equal(bench.wire.entries("m").at(-1)?.id, `m${TIMES.window}`);
});

test("deliveries are emitted before they are acknowledged, and acknowledged together, exactly", () => {
  const bench = online();
  bench.wire.say(delivery(1));
  bench.wire.say(delivery(2));
  bench.wire.say({ gm: [{ id: "g", c: "hi", ts: 1, seq: 4, group: 9, from: { id: 2 } }] });
  bench.wire.say({ m: [{ id: "own", c: "hi", ts: 1, seq: 3, to: { id: 2 }, from: { id: 1, device: "other" } }] });
  assert.equal(bench.of("delivery").length, 4);
  assert.deepEqual(bench.wire.entries("a"), []);
  bench.clock.pass(TIMES.ackLinger);
  assert.deepEqual(bench.wire.entries("a"), [
    { seq: 1, from: { id: 2 } },
    { seq: 2, from: { id: 2 } },
    { seq: 4, group: 9 },
    { seq: 3, to: { id: 2 } },
  ]);
});

test("acknowledgements that a lost connection took with it are not sent on the next: the deliveries come again", () => {
  const bench = online();
  bench.wire.say(delivery(1));
  bench.wire.events.closed(1006);
  bench.clock.pass(500);
  bench.wire.login();
  bench.clock.pass(1_000);
  assert.deepEqual(bench.wire.entries("a"), []);
});

test("what was read without a connection is said after the login, the furthest place only", () => {
  const bench = new Bench();
  bench.session.start();
  bench.session.markRead("u2", 5);
  bench.session.markRead("u2", 3);
  bench.wire.login();
  bench.clock.pass(TIMES.ackLinger);
  assert.deepEqual(bench.wire.entries("a"), [{ lvl: "read", seq: 5, from: { id: 2 } }]);
});

test("waits longer from attempt to attempt, and begins anew after a login", () => {
  const bench = online();
  const waits: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    bench.wire.events.closed(1006);
    const { status } = bench.session;
    assert(status.state === "waiting");
    waits.push(status.until - bench.clock.now());
    bench.clock.pass(status.until - bench.clock.now());
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  bench.wire.login();
  bench.wire.events.closed(1006);
  assert(bench.session.status.state === "waiting");
  assert.equal(bench.session.status.until - bench.clock.now(), 500);
});

test("a silent connection is asked, then given up", () => {
  const bench = online();
  bench.clock.pass(TIMES.quiet);
  assert.equal(bench.wire.sent.at(-1), "");
  bench.clock.pass(TIMES.dead - TIMES.quiet);
  assert.equal(bench.wires[0]?.closed, true);
  assert.equal(bench.session.status.state, "waiting");
});

test("a heartbeat's answer keeps it", () => {
  const bench = online();
  for (let at = 0; at < 10; at += 1) {
    bench.clock.pass(TIMES.quiet);
    bench.wire.say({});
  }
  assert.equal(bench.wires.length, 1);
});

test("a login without an answer is given up", () => {
  const bench = new Bench();
  bench.session.start();
  bench.wire.events.opened();
  bench.clock.pass(TIMES.login);
  assert.equal(bench.session.status.state, "waiting");
  assert.equal(bench.wires[0]?.closed, true);
});

for (const [code, state] of [[4001, "replaced"], [4002, "signed_out"]] as const) {
  test(`close code ${code} is final: ${state}`, () => {
    const bench = online();
    bench.wire.events.closed(code);
    bench.clock.pass(120_000);
    assert.equal(bench.session.status.state, state);
    assert.equal(bench.wires.length, 1);
  });
}

test("a refused token ends the session, a node that is not ready does not", () => {
  for (const [code, state] of [["token", "signed_out"], ["unavailable", "waiting"]] as const) {
    const bench = new Bench();
    bench.session.start();
    bench.wire.events.opened();
    bench.wire.say({ rr: [{ id: bench.wire.entries("r")[0]?.id, t: "login", s: 1, code, r: "" }] });
    assert.equal(bench.session.status.state, state);
  }
});

test("replaced: stays away until asked to come back", () => {
  const bench = online();
  bench.wire.say({ n: [{ t: "replaced" }] });
  bench.clock.pass(60_000);
  assert.equal(bench.wires.length, 1);
  bench.session.start();
  assert.equal(bench.wires.length, 2);
});

test("move: leaves within the time that is given, and comes back at once", () => {
  const bench = online();
  bench.wire.say({ n: [{ t: "move", server: "x", port: 1, after: 1200 }] });
  bench.clock.pass(1200);
  assert.equal(bench.wires.length, 2);
});

test("an old connection says nothing any more", () => {
  const bench = online();
  const old = bench.wire;
  old.events.closed(1006);
  bench.clock.pass(500);
  bench.wire.login();
  old.say(delivery(1));
  old.events.closed(4001);
  assert.equal(bench.of("delivery").length, 0);
  assert.equal(bench.session.status.state, "online");
});
