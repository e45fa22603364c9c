// What every test shares: the stack, a front for each of its two nodes, the browser.

import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium } from "playwright-core";
import { Person } from "./person.ts";
import { Front, Stack } from "./stack.ts";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export class Bench {
  private constructor(
    readonly stack: Stack,
    readonly browser: Browser,
    /** Reach the first, and the second node as long as they live. */
    readonly fronts: [Front, Front],
  ) {}

  static async start(): Promise<Bench> {
    const stack = await Stack.start("target/debug/simple-im");
    const port = (name: string) => stack.edge(name).port;
    const fronts: [Front, Front] = [
      await Front.start(() => [port("e1"), port("e2")]),
      await Front.start(() => [port("e2"), port("e1")]),
    ];
    const executablePath = process.env.CHROMIUM ?? BROWSERS.find((path) => existsSync(path));
    if (!executablePath) throw new Error("expected Chromium (ops/install installs it), found none");
    const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
    return new Bench(stack, browser, fronts);
  }

  /** Someone new at a node. */
  async person(name: string, node: 0 | 1, options: BrowserContextOptions = {}): Promise<Person> {
    return (await Person.at(this.browser, this.fronts[node].url, name, options)).register();
  }

  /** Two new people, one on each node. */
  async pair(): Promise<[Person, Person]> {
    return Promise.all([this.person("Alice", 0), this.person("Bob", 1)]);
  }

  async stop(): Promise<void> {
    await this.browser.close();
    for (const front of this.fronts) front.stop();
    await this.stack.stop();
  }
}
