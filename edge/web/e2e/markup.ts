// Text never becomes markup, wherever it is shown, and the page's policy would not run it if it did.

import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Bench } from "./bench.ts";
import { close } from "./tour.ts";

const EVIL = [
  "<img src=x onerror=\"document.title='hit'\">",
  "<script>document.title='hit'</script>",
  "\"><svg onload=document.title='hit'>",
  "javascript:document.title='hit'",
  "http://a.example/\"onmouseover=\"document.title='hit'",
];

export function markup(bench: () => Bench): void {
  test("markup stays text: in messages, names, requests, groups", async () => {
    const bad = "<b onclick=alert(1)>Eve</b>";
    const [eve, bob] = await Promise.all([bench().person(bad, 0), bench().person("Bob", 1)]);
    await eve.find(bob);
    await eve.details();
    await eve.page.getByLabel("Add to contacts").fill(EVIL[0] ?? "");
    await eve.button("Send request").click();
    await eve.page.getByText("Your request is waiting").waitFor();
    await eve.page.keyboard.press("Escape");
    for (const text of EVIL) await eve.write(text);
    await bob.open(bad);
    await bob.sees(EVIL);
    await eve.button("New conversation").click();
    await eve.button("In a group").click();
    await eve.page.getByLabel("Name of the group").fill("<i>group</i>");
    await eve.page.getByLabel("Members").fill(bob.phone);
    await eve.button("Find").click();
    await eve.page.locator("dialog").getByRole("button", { name: bob.phone }).click();
    await eve.button("Create group").click();
    await bob.row("<i>group</i>").waitFor();
    for (const { page } of [eve, bob]) {
      const found = await page.evaluate(() => ({
        title: document.title,
        foreign: document.querySelectorAll("#app img, #app script, #app b, #app i, #app svg[onload], #app [onclick]").length,
        hrefs: [...document.querySelectorAll<HTMLAnchorElement>(".text a")].map((link) => link.protocol),
      }));
      assert.equal(found.foreign, 0);
      assert(!found.title.includes("hit"), found.title);
      assert(found.hrefs.every((protocol) => protocol === "http:" || protocol === "https:"));
    }
    await close(eve, bob);
  });

  test("the policy: nothing inline, no framing, a cookie that scripts cannot see", async () => {
    const alice = await bench().person("Alice", 0);
    const response = await alice.page.request.get(alice.url);
    const policy = response.headers()["content-security-policy"] ?? "";
    for (const part of ["default-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) {
      assert(policy.includes(part), policy);
    }
    assert(!policy.includes("unsafe"), policy);
    assert.equal(await alice.page.evaluate(() => document.cookie), "");
    const refused = await alice.page.evaluate(() => {
      try {
        const div = document.createElement("div");
        div.innerHTML = "<p>x</p>";
        return "taken";
      } catch (error) {
        return (error as Error).name;
      }
    });
    assert.equal(refused, "TypeError");
    await alice.context.close();
  });
}
