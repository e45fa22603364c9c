// The page in a real browser, before a real stack with two nodes. Run by ops/web, which has built what it needs.

import { after, before } from "node:test";
import { Bench } from "./bench.ts";
import { faults } from "./faults.ts";
import { looks } from "./looks.ts";
import { markup } from "./markup.ts";
import { tour } from "./tour.ts";

let bench: Bench | undefined;
before(async () => {
  bench = await Bench.start();
});
after(() => bench?.stop());

const started = (): Bench => {
  if (!bench) throw new Error("expected a started bench");
  return bench;
};
tour(started);
faults(started);
markup(started);
looks(started);
