// What the keyboard does, and the list of it.

import type { JSX } from "preact";
import { listed } from "../state/model.ts";
import type { Client } from "../state/client.ts";
import { go } from "./context.ts";
import type { Panel } from "./sidebar.tsx";
import { Dialog } from "./ui.tsx";

const KEYS: [keys: string, does: string][] = [
  ["Ctrl K", "Search conversations and people"],
  ["Alt N", "New conversation or group"],
  ["Alt ↑  Alt ↓", "Conversation above, below"],
  ["Alt U", "Next unread conversation"],
  ["Alt I", "Details of this conversation"],
  ["Enter", "Send; with Shift a new line"],
  ["Esc", "Close a dialog; leave the conversation"],
  ["?", "This list"],
];

export function Keys({ onClose }: { onClose: () => void }): JSX.Element {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

export function pressed(event: KeyboardEvent, client: Client, show: (panel: Panel) => void): void {
  if (document.querySelector("dialog[open]") || event.isComposing) return;
  const { model } = client;
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  const key = event.key.toLowerCase();
  const rows = listed(model);
  const step = (by: number) => {
    const at = rows.findIndex((conv) => conv.key === model.open);
    const next = rows[at < 0 ? 0 : (at + by + rows.length) % rows.length];
    if (next) go(next.key);
  };
  const alt: Record<string, () => void> = {
    KeyN: () => show("new"),
    KeyI: () => model.open && show("details"),
    KeyU: () => go(rows.find((conv) => conv.unread > 0 && conv.key !== model.open)?.key ?? model.open),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
  };
  let done = true;
  if ((event.ctrlKey || event.metaKey) && key === "k") document.getElementById("search")?.focus();
  else if (event.altKey && !event.ctrlKey && alt[event.code]) alt[event.code]?.();
  else if (event.key === "?" && !typing) show("keys");
  else if (event.key === "Escape" && model.open) go(null);
  else done = false;
  if (done) event.preventDefault();
}
