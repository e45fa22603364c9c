// A person at a browser of their own: what they do, by what they see (roles and labels, as a screen reader has them).

import { strict as assert } from "node:assert";
import { mkdirSync } from "node:fs";
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";

export const SHOTS = "target/web/shots";
mkdirSync(SHOTS, { recursive: true });

const MARKS = ["sending", "stored", "delivered", "read"];

export const PASSWORD = "correct horse";
let phones = 13_800_000_000 + Math.floor(Math.random() * 1e8);

export class Person {
  /** Everything that the page complained of. */
  readonly complaints: string[] = [];

  private constructor(
    readonly context: BrowserContext,
    public page: Page,
    readonly url: string,
    public name: string,
    readonly phone: string,
  ) {}

  static async at(
    browser: Browser,
    url: string,
    name: string,
    options: BrowserContextOptions = {},
    phone = String((phones += 1)),
  ): Promise<Person> {
    const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1100, height: 760 }, ...options });
    context.setDefaultTimeout(15_000);
    const page = await context.newPage();
    const person = new Person(context, page, url, name, phone);
    person.watch(page);
    return person;
  }

  private watch(page: Page): void {
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) this.complaints.push(message.text());
    });
    page.on("dialog", (dialog) => (this.complaints.push(`dialog ${dialog.message()}`), void dialog.dismiss()));
  }

  async register(): Promise<this> {
    await this.page.goto(this.url);
    await this.page.getByRole("button", { name: "Create an account" }).click();
    await this.page.getByLabel("Phone number").fill(this.phone);
    await this.page.getByLabel("Your name").fill(this.name);
    await this.page.getByLabel("Password").fill(PASSWORD);
    await this.page.getByRole("button", { name: "Create account" }).click();
    await this.online();
    return this;
  }

  async login(password = PASSWORD): Promise<void> {
    await this.page.goto(this.url);
    await this.page.getByLabel("Phone number").fill(this.phone);
    await this.page.getByLabel("Password").fill(password);
    await this.page.getByRole("button", { name: "Log in", exact: true }).click();
  }

  /** The same person at another browser. */
  async elsewhere(browser: Browser): Promise<Person> {
    const other = await Person.at(browser, this.url, this.name, {}, this.phone);
    await other.login();
    await other.online();
    return other;
  }

  async online(page = this.page): Promise<void> {
    await page.locator('.page[data-state="online"]').waitFor();
  }

  /** Another tab of the same browser. */
  async tab(): Promise<Page> {
    const page = await this.context.newPage();
    this.watch(page);
    await page.goto(this.url);
    await this.online(page);
    return page;
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: typeof name === "string" });
  }

  /** Opens the conversation with someone found by phone number. */
  async find(other: Person): Promise<void> {
    await this.button("New conversation").click();
    await this.page.getByLabel("Who?").fill(other.phone);
    await this.button("Find").click();
    await this.page.locator("dialog").getByRole("button", { name: other.phone }).click();
    await this.page.getByRole("main", { name: `Conversation: ${other.name}` }).waitFor();
  }

  /** Opens a conversation of the list. */
  async open(title: string): Promise<void> {
    await this.page.getByRole("button", { name: /^Chats/ }).click();
    await this.row(title).click();
    await this.page.getByRole("main", { name: `Conversation: ${title}` }).waitFor();
  }

  row(title: string): Locator {
    return this.page.getByRole("navigation", { name: "Conversations" }).getByRole("link").filter({ hasText: title });
  }

  async write(text: string, page = this.page): Promise<void> {
    await page.locator("#composer").fill(text);
    await page.locator("#composer").press("Enter");
  }

  /** Writes faster than anyone types. */
  async pour(texts: string[]): Promise<void> {
    await this.page.evaluate(async (all) => {
      const area = document.querySelector<HTMLTextAreaElement>("#composer");
      for (const text of all) {
        if (!area) return;
        area.value = text;
        area.dispatchEvent(new Event("input", { bubbles: true }));
        area.form?.requestSubmit();
        await new Promise((done) => setTimeout(done, 2));
      }
    }, texts);
  }

  /** What stands in the open conversation, in its order. */
  async texts(page = this.page): Promise<string[]> {
    return page.locator(".message .text").allTextContents();
  }

  /** Waits until the conversation holds exactly these texts among those that match. */
  async sees(expected: string[], match: RegExp = /./, page = this.page): Promise<void> {
    const found = async () => (await this.texts(page)).filter((text) => match.test(text));
    await until(async () => (await found()).length >= expected.length, async () => `${this.name} sees ${await found()}`);
    assert.deepEqual(await found(), expected);
  }

  async details(): Promise<void> {
    await this.button("Details").click();
    await this.page.locator("dialog").waitFor();
  }

  mark(text: string): Locator {
    return this.page.locator(".message").filter({ hasText: text }).last().locator("[data-mark]");
  }

  /** Waits until one's own message has this mark, or one beyond it. */
  async marked(text: string, mark: string): Promise<void> {
    const found = () => this.mark(text).getAttribute("data-mark");
    const reached = async () => MARKS.indexOf((await found()) ?? "") >= MARKS.indexOf(mark);
    await until(reached, async () => `${text} is ${await found()}, not ${mark}`);
  }

  shot(name: string): Promise<unknown> {
    return this.page.screenshot({ path: `${SHOTS}/${name}.png` });
  }
}

/** Asks again and again, within a deadline. */
export async function until(holds: () => Promise<boolean>, otherwise: () => Promise<string>, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`expected within ${ms} ms; found ${await otherwise()}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
