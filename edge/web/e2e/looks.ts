// How it looks and how it is to be used without a mouse: screenshots in four variants, names, focus, contrast.

import { strict as assert } from "node:assert";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import type { Bench } from "./bench.ts";
import { Person } from "./person.ts";
import { close } from "./tour.ts";

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/** Text on its ground: each pair must be readable. */
const PAIRS = [
  ["ink", "paper"], ["ink", "surface"], ["ink-soft", "surface"], ["ink-soft", "sunken"], ["mine-ink", "mine"],
  ["accent-ink", "accent"], ["accent", "surface"], ["danger", "surface"], ["warn-ink", "warn"],
] as const;

const SAID: [mine: boolean, text: string][] = [
  [false, "Morning! Did the train leave on time?"],
  [true, "It did, for once. Somewhere past Lyon now 🚄"],
  [false, "你好！今天晚上一起吃饭吗？"],
  [true, "好啊，七点在老地方见。"],
  [false, "🍜"],
  [true, "The notes are here: https://example.com/notes?week=47, for when you are awake."],
  [false, "Thank you. I will read them on the way; the part about the harbour sounds like a day of its own."],
  [true, "See you at seven."],
];

export function looks(bench: () => Bench): void {
  test("looks right: phone and desktop, light and dark", async () => {
    const alice = await bench().person("Alice Martin", 0);
    const bob = await bench().person("Bob", 1);
    await alice.find(bob);
    await bob.find(alice);
    for (const [mine, text] of SAID) {
      const [from, to] = mine ? [alice, bob] : [bob, alice];
      await from.write(text);
      await to.page.getByText(text).last().waitFor();
    }
    for (const name of ["大傻", "Carol 🌿 Nguyen"]) {
      const other = await bench().person(name, 1);
      await other.find(alice);
      await other.write(name === "大傻" ? "周末去爬山吗？⛰️" : "Thanks for the hike!");
      await alice.row(name).waitFor();
      await close(other);
    }
    await alice.marked("See you at seven.", "read");
    // The same device in windows of other kinds, one after the other.
    const storageState = await alice.context.storageState();
    await alice.page.close();
    for (const [size, options] of [["desktop", DESKTOP], ["phone", PHONE]] as const) {
      for (const colorScheme of ["light", "dark"] as const) {
        const login = await Person.at(bench().browser, alice.url, alice.name, { ...options, colorScheme });
        await login.page.goto(alice.url);
        await login.button("Log in").waitFor();
        await login.shot(`${size}-${colorScheme}-login`);
        await close(login);
        const shown = await Person.at(bench().browser, alice.url, alice.name, { ...options, colorScheme, storageState });
        await shown.page.goto(alice.url);
        await shown.online();
        await shown.row("Bob").waitFor();
        await shown.shot(`${size}-${colorScheme}-list`);
        await shown.open("Bob");
        await shown.page.getByText("See you at seven.").last().waitFor();
        await shown.shot(`${size}-${colorScheme}-conversation`);
        await shown.details();
        await shown.shot(`${size}-${colorScheme}-details`);
        assert.deepEqual(await tooWide(shown), [], `${size}: sticks out`);
        assert.deepEqual(await faint(shown), [], `${size} ${colorScheme}: too faint`);
        await close(shown);
      }
    }
    await close(alice, bob);
  });

  test("without a mouse: log in, find, write, move, and know where one is", async () => {
    const [alice, bob] = await bench().pair();
    const { keyboard } = alice.page;
    await keyboard.press("Alt+n");
    await alice.page.getByRole("dialog").waitFor();
    await keyboard.type(bob.phone);
    await keyboard.press("Enter");
    await alice.page.locator("dialog").getByRole("button", { name: bob.phone }).waitFor();
    await keyboard.press("Tab");
    await keyboard.press("Tab");
    await keyboard.press("Enter");
    await alice.page.getByRole("main", { name: "Conversation: Bob" }).waitFor();
    await alice.page.locator("#composer:focus").waitFor();
    await keyboard.type("one line");
    await keyboard.press("Shift+Enter");
    await keyboard.type("and another");
    await keyboard.press("Enter");
    await alice.sees(["one line\nand another"]);
    await bob.page.locator("#announcer").filter({ hasText: "Alice: one line" }).waitFor({ state: "attached" });

    await keyboard.press("Control+k");
    await keyboard.type("bo");
    assert.equal(await alice.row("Bob").count(), 1);
    await keyboard.press("Escape");
    await keyboard.press("?");
    await alice.page.getByRole("dialog", { name: "Keyboard" }).waitFor();
    await keyboard.press("Escape");
    for (let step = 0; step < 12; step += 1) {
      await keyboard.press("Tab");
      const outline = await alice.page.evaluate(() => {
        const focused = document.activeElement;
        return !focused || focused === document.body ? "page" : getComputedStyle(focused).outlineStyle;
      });
      assert.notEqual(outline, "none", `step ${step} shows no focus`);
    }
    assert.deepEqual(await nameless(alice), []);
    await close(alice, bob);
  });

  test("weighs less than 60 kB", () => {
    const files = readdirSync("edge/web/dist", { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
    const sizes = files.map(({ parentPath, name }) => gzipSync(readFileSync(`${parentPath}/${name}`), { level: 9 }).length);
    const sum = sizes.reduce((all, size) => all + size, 0);
    console.log(`page weight: ${sum} bytes gzipped in ${sizes.length} files`);
    assert(sum < 60_000);
  });
}

/** What a screen reader could not name. */
function nameless(person: Person): Promise<string[]> {
  return person.page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("button, a, input, textarea, [role]")]
      .filter((one) => one.checkVisibility())
      .filter((one) => !one.textContent?.trim() && !one.ariaLabel && !(one as HTMLInputElement).labels?.length)
      .filter((one) => one.id !== "announcer" && !["status", "alert"].includes(one.role ?? ""))
      .map((one) => one.outerHTML.slice(0, 80)),
  );
}

/** What is wider than the window. */
function tooWide(person: Person): Promise<string[]> {
  return person.page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("#app *:not(.visually-hidden)")]
      .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
      .map((one) => one.outerHTML.slice(0, 80)),
  );
}

/** Pairs of colours with a contrast below 4.5 to 1. */
function faint(person: Person): Promise<string[]> {
  return person.page.evaluate((pairs) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    const probe = document.body.appendChild(document.createElement("i"));
    const light = (name: string) => {
      probe.style.color = `var(--${name})`;
      if (!canvas) return 0;
      canvas.fillStyle = getComputedStyle(probe).color;
      canvas.fillRect(0, 0, 1, 1);
      const [r = 0, g = 0, b = 0] = [...canvas.getImageData(0, 0, 1, 1).data]
        .map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = pairs.flatMap(([front, back]) => {
      const [a, b] = [light(front), light(back)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ratio < 4.5 ? [`${front} on ${back}: ${ratio.toFixed(2)}`] : [];
    });
    probe.remove();
    return found;
  }, PAIRS.map((pair) => [...pair] as [string, string]));
}
