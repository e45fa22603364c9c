// The whole tour: everything that the page offers, by two people on two nodes.

import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Bench } from "./bench.ts";
import { PASSWORD, Person, until } from "./person.ts";

export function tour(bench: () => Bench): void {
  test("registered, found, asked, accepted; messages with their marks; unread counts", async () => {
    const [alice, bob] = await bench().pair();
    await bob.find(alice);
    await bob.details();
    await bob.page.getByLabel("Add to contacts").fill("It's Bob");
    await bob.button("Send request").click();
    await bob.page.getByText("Your request is waiting for an answer.").waitFor();
    await bob.page.keyboard.press("Escape");

    await alice.page.getByRole("button", { name: /^People 1/ }).click();
    await alice.page.getByText("It's Bob").waitFor();
    await alice.button("Accept").click();
    await alice.page.getByRole("region", { name: "Contacts" }).getByText("Bob").waitFor();
    await bob.page.getByText("Alice accepted. You are contacts now").first().waitFor();

    await bob.write("hello Alice");
    await bob.marked("hello Alice", "stored");
    await bob.write("你好 👋🏽");
    const row = alice.row("Bob");
    await alice.page.getByRole("button", { name: /^Chats/ }).click();
    await row.getByText(/unread/).waitFor();
    await alice.open("Bob");
    await alice.sees(["hello Alice", "你好 👋🏽"]);
    await bob.marked("你好 👋🏽", "read");
    await until(async () => (await row.locator(".count").count()) === 0, async () => "a count");
    await alice.write("hello Bob");
    await alice.marked("hello Bob", "read");
    await bob.sees(["hello Alice", "你好 👋🏽", "hello Bob"]);
    await close(alice, bob);
  });

  test("declined, blocked and unblocked", async () => {
    const [alice, bob] = await bench().pair();
    await bob.find(alice);
    await bob.details();
    await bob.button("Send request").click();
    await bob.page.getByText("Your request is waiting").waitFor();
    await bob.page.keyboard.press("Escape");
    await alice.open("Bob");
    await alice.button("Decline").click();
    await bob.page.getByText("Alice declined the contact request").first().waitFor();

    await alice.details();
    await alice.button("Block").click();
    await alice.page.getByText("You have blocked this person.").waitFor();
    await bob.write("are you there?");
    await bob.page.getByText("Not sent. This person does not take messages from you.").waitFor();
    await alice.page.reload();
    await alice.button("Unblock").click();
    await alice.page.getByText("You have blocked this person.").waitFor({ state: "hidden" });
    await bob.button("Try again").click();
    await bob.marked("are you there?", "read");
    await alice.sees(["are you there?"]);
    await close(alice, bob);
  });

  test("a group: made, spoken in, a member added and removed, left, dissolved", async () => {
    const [alice, bob] = await bench().pair();
    const carol = await bench().person("Carol", 1);
    await alice.button("New conversation").click();
    await alice.button("In a group").click();
    await alice.page.getByLabel("Name of the group").fill("周末 hikers");
    await alice.page.getByLabel("Members").fill(bob.phone);
    await alice.button("Find").click();
    await alice.page.locator("dialog").getByRole("button", { name: bob.phone }).click();
    await alice.button("Create group").click();
    await alice.page.getByText("You created the group “周末 hikers”").first().waitFor();
    await alice.write("welcome");

    await bob.open("周末 hikers");
    await bob.sees(["welcome"]);
    await alice.details();
    await alice.page.getByLabel("Add someone").fill(carol.phone);
    await alice.button("Find").click();
    await alice.page.locator("dialog").getByRole("button", { name: carol.phone }).click();
    await alice.page.locator("dialog").getByText("3 members").waitFor();
    await carol.open("周末 hikers");
    await carol.write("hi all");
    await bob.sees(["welcome", "hi all"]);

    await alice.button("Remove Carol").click();
    await carol.page.getByText("You are no member of this group any more.").waitFor();
    await alice.page.keyboard.press("Escape");
    await bob.details();
    await bob.button("Leave group").click();
    await bob.button(/really/).click();
    await alice.page.getByText("Bob left").first().waitFor();
    await alice.details();
    await alice.button("Dissolve group").click();
    await alice.button(/really/).click();
    await alice.page.getByText("You are no member of this group any more.").first().waitFor();
    await close(alice, bob, carol);
  });

  test("history loads as one scrolls up, each message once, in order", async () => {
    const [alice, bob] = await bench().pair();
    await alice.find(bob);
    const all = Array.from({ length: 130 }, (_, at) => `number ${at}`);
    await alice.pour(all);
    await alice.marked("number 129", "stored");
    await bob.page.reload();
    await bob.open("Alice");
    await until(async () => (await bob.texts()).length >= 50, async () => `${(await bob.texts()).length}`);
    assert((await bob.texts()).length < 130);
    const log = bob.page.getByRole("log");
    await until(
      async () => {
        await log.evaluate((element) => element.scrollTo(0, 0));
        return (await bob.texts()).length === 130;
      },
      async () => `${(await bob.texts()).length} messages`,
    );
    assert.deepEqual(await bob.texts(), all);
    await close(alice, bob);
  });

  test("another browser knows what waits and who is blocked, and logs the first one out", async () => {
    const [alice, bob] = await bench().pair();
    const carol = await bench().person("Carol", 1);
    await bob.find(alice);
    await bob.details();
    await bob.page.getByLabel("Add to contacts").fill("It's Bob");
    await bob.button("Send request").click();
    await bob.page.getByText("Your request is waiting for an answer.").waitFor();
    await alice.find(carol);
    await alice.details();
    await alice.button("Block").click();
    await alice.page.getByText("You have blocked this person.").waitFor();

    const [again, bobs] = [await alice.elsewhere(bench().browser), await bob.elsewhere(bench().browser)];
    await bobs.page.getByRole("button", { name: /^People/ }).click();
    await bobs.page.getByRole("region", { name: "Waiting for an answer" }).getByText("Alice").waitFor();
    await again.page.getByRole("button", { name: /^People 1/ }).click();
    await again.page.getByText("It's Bob").waitFor();
    await again.page.getByRole("region", { name: "Blocked" }).getByText("Carol").click();
    await again.button("Unblock").click();
    await again.page.getByRole("region", { name: "Blocked" }).waitFor({ state: "detached" });
    await again.button("Accept").click();
    await again.page.getByRole("region", { name: "Contacts" }).getByText("Bob").waitFor();

    await again.button("Settings").click();
    const devices = again.page.getByRole("list", { name: "Your devices" });
    await devices.getByText("this browser").waitFor();
    await devices.getByText("connected").waitFor();
    await devices.getByRole("button", { name: /^Log out / }).click();
    await devices.getByText("logged out").waitFor();
    await again.shot("devices");
    await alice.page.getByText("You are logged out.").waitFor();
    await again.page.keyboard.press("Escape");
    await again.online();
    await close(alice, bob, carol, again, bobs);
  });

  test("profile, password, logout", async () => {
    const [alice, bob] = await bench().pair();
    await alice.button("Settings").click();
    await alice.page.getByLabel("Name", { exact: true }).fill("Alice 大");
    await alice.button("Save name").click();
    await alice.page.getByText("Your name is saved.").waitFor();
    await alice.page.getByLabel("Current password").fill(PASSWORD);
    await alice.page.getByLabel("New password").fill("another one");
    await alice.button("Change password").click();
    await alice.page.getByText("Your password is changed").waitFor();
    await alice.button("Log out").click();
    await alice.page.getByText("You are logged out.").waitFor();
    await alice.login();
    await alice.page.getByText("Phone number and password do not fit.").waitFor();
    await alice.login("another one");
    await alice.online();
    alice.name = "Alice 大";
    await bob.find(alice);
    await close(alice, bob);
  });
}

/** Ends their browsers; nobody may have met an error. */
export async function close(...people: Person[]): Promise<void> {
  for (const person of people) {
    assert.deepEqual(person.complaints, [], `${person.name}'s page complained`);
    await person.context.close();
  }
}
