// Begins the page: who was signed in here, which device this browser is.

import { options, render } from "preact";
import type { User } from "./state/model.ts";
import { App } from "./views/app.tsx";
import { applyTheme } from "./views/theme.ts";

const ME = "im.me";
const DEVICE = "im.device";

function remembered(): User | null {
  try {
    const user = JSON.parse(localStorage.getItem(ME) ?? "null") as User | null;
    return user && Number.isSafeInteger(user.id) ? user : null;
  } catch {
    return null;
  }
}

function keep(me: User | null): void {
  if (me) localStorage.setItem(ME, JSON.stringify({ id: me.id, name: me.name, phone: me.phone }));
  else localStorage.removeItem(ME);
}

/** This browser's name among a user's devices, made once. */
function device(): string {
  const known = localStorage.getItem(DEVICE);
  if (known) return known;
  const random = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => (byte % 36).toString(36)).join("");
  const made = `web-${random}`;
  localStorage.setItem(DEVICE, made);
  return made;
}

applyTheme();
// Someone else has logged in, or out, in another tab: the cookie is theirs now.
addEventListener("storage", (event) => {
  if (event.key === "im.theme") applyTheme();
  const id = (text: string | null) => (text ? (JSON.parse(text) as User).id : null);
  if (event.key === ME && id(event.oldValue) !== id(event.newValue)) location.reload();
});

// Many things may come in between two pictures; a hidden page has no pictures, but a title.
options.debounceRendering = (draw) => {
  if (document.hidden) setTimeout(draw, 50);
  else requestAnimationFrame(draw);
};
const root = document.getElementById("app");
if (root) render(<App remembered={remembered()} device={device()} keep={keep} />, root);
