// What goes wrong: nodes, networks, tabs and devices; nothing is lost and nothing is doubled.

import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Bench } from "./bench.ts";
import { until } from "./person.ts";
import { close } from "./tour.ts";

const numbered = (name: string, count: number) => Array.from({ length: count }, (_, at) => `${name} ${at}`);

export function faults(bench: () => Bench): void {
  test("a node is killed in mid-conversation", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    await alice.write("before");
    await bob.open("Alice");
    const [mine, theirs] = [numbered("alice", 30), numbered("bob", 30)];
    const killed = bench().stack.edge("e1").pid;
    for (const [at, text] of mine.entries()) {
      await Promise.all([alice.write(text), bob.write(theirs[at] ?? "")]);
      if (at === 10) process.kill(killed, "SIGKILL");
    }
    for (const person of [alice, bob]) {
      await person.sees(mine, /^alice/);
      await person.sees(theirs, /^bob/);
    }
    await alice.marked("alice 29", "read");
    // Both see the same order, and still do from history, of which a page or more is shown.
    const order = await alice.texts();
    assert.deepEqual(await bob.texts(), order);
    await alice.page.reload();
    await until(async () => (await alice.texts()).length >= 50, async () => `${await alice.texts()}`);
    const shown = await alice.texts();
    assert.deepEqual(shown, order.slice(-shown.length));
    await close(alice, bob);
  });

  test("the network goes and comes back", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    await alice.write("before");
    await bob.open("Alice");
    await bob.sees(["before"]);
    await bob.context.setOffline(true);
    await bob.page.getByText("You are offline.").waitFor();
    for (const text of numbered("bob", 3)) await bob.write(text);
    await bob.page.getByText("3 unsent messages are kept").waitFor();
    await bob.shot("offline");
    for (const text of numbered("alice", 3)) await alice.write(text);
    await alice.marked("alice 2", "stored");
    await bob.context.setOffline(false);
    for (const person of [alice, bob]) {
      await person.sees(numbered("alice", 3), /^alice/);
      await person.sees(numbered("bob", 3), /^bob/);
    }
    await bob.page.getByText("You are offline.").waitFor({ state: "hidden" });
    await bob.marked("bob 2", "read");
    await close(alice, bob);
  });

  test("what was written offline outlives the closing of the page", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    await alice.context.setOffline(true);
    await alice.write("kept");
    await alice.marked("kept", "sending");
    await alice.page.close();
    await alice.context.setOffline(false);
    alice.page = await alice.tab();
    await alice.open("Bob");
    await alice.marked("kept", "stored");
    await bob.open("Alice");
    await bob.sees(["kept"]);
    await close(alice, bob);
  });

  test("two tabs are one device: both see everything, and either may close", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    await alice.write("from the first tab");
    await alice.marked("from the first tab", "stored");
    const first = alice.page;
    const second = await alice.tab();
    await second.goto(first.url());
    await alice.sees(["from the first tab"], /./, second);
    await alice.write("from the second tab", second);
    await alice.sees(["from the first tab", "from the second tab"], /./, first);
    await first.close();
    alice.page = second;
    await alice.online();
    await bob.open("Alice");
    await bob.write("to the second tab");
    await alice.sees(["from the first tab", "from the second tab", "to the second tab"]);
    await alice.write("done");
    await alice.marked("done", "read");
    await close(alice, bob);
  });

  test("the same device elsewhere: this page says so, stays away, and comes back when asked", async () => {
    const alice = await bench().person("Alice", 0);
    const device = await alice.page.evaluate(() => localStorage.getItem("im.device"));
    const other = await bench().browser.newContext();
    const page = await other.newPage();
    await page.goto(alice.url);
    await page.evaluate((name) => localStorage.setItem("im.device", name ?? ""), device);
    await page.reload();
    await page.getByLabel("Phone number").fill(alice.phone);
    await page.getByLabel("Password").fill("correct horse");
    await page.getByRole("button", { name: "Log in", exact: true }).click();
    await alice.online(page);
    // The new login took the token of the old one, too.
    await until(
      async () => /connected from another window|logged out/.test(await alice.page.locator("body").innerText()),
      async () => alice.page.locator("body").innerText(),
    );
    await other.close();
    await close(alice);
  });

  test("a slow device keeps up: two hundred messages, each once, in order, and one can still write", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    await alice.write("before");
    await bob.open("Alice");
    const session = await bob.context.newCDPSession(bob.page);
    await session.send("Emulation.setCPUThrottlingRate", { rate: 6 });
    await session.send("Network.enable");
    await session.send("Network.emulateNetworkConditions", {
      offline: false, latency: 400, downloadThroughput: 50_000, uploadThroughput: 20_000,
    });
    const many = numbered("alice", 200);
    await alice.pour(many);
    const began = Date.now();
    await bob.write("still here");
    await alice.sees(["still here"], /^still/);
    assert(Date.now() - began < 10_000, `an answer took ${Date.now() - began} ms`);
    await bob.sees(many, /^alice/);
    await close(alice, bob);
  });
}
