// Right: one conversation, its head, its messages, and the place to write.

import type { JSX } from "preact";
import type { ConvKey } from "../protocol/frames.ts";
import { type Model, conversation, isGroup, titleOf } from "../state/model.ts";
import { Composer } from "./composer.tsx";
import { go, useClient } from "./context.ts";
import { Messages } from "./messages.tsx";
import { RequestCard } from "./people.tsx";
import type { Panel } from "./sidebar.tsx";
import { useAsk } from "./ask.ts";
import { Avatar, IconButton } from "./ui.tsx";

export function ConversationView({ open, show }: { open: ConvKey; show: (panel: Panel) => void }): JSX.Element {
  const { model } = useClient();
  const conv = conversation(model, open);
  const title = titleOf(model, open);
  return (
    <main class="conversation" aria-label={`Conversation: ${title}`}>
      <header>
        <IconButton icon="back" label="All conversations" keys="Esc" class="back" onClick={() => go(null)} />
        <button type="button" class="head" onClick={() => show("details")} aria-label={`${title}: details`}>
          <Avatar id={conv.id} name={title} group={isGroup(open)} />
          <span class="name">{title}</span>
          <span class="last">{subtitle(model, open)}</span>
        </button>
        <IconButton icon="info" label="Details" onClick={() => show("details")} />
      </header>
      <Relation open={open} />
      <Messages key={open} open={open} />
      {conv.left ? <p class="closed">You are no member of this group any more.</p> : <Composer key={`c${open}`} open={open} />}
    </main>
  );
}

function subtitle(model: Model, key: ConvKey): string {
  const id = Number(key.slice(1));
  if (isGroup(key)) {
    const count = model.groups.get(id)?.count;
    return count ? `${count} ${count === 1 ? "member" : "members"}` : "Group";
  }
  if (id === model.me.id) return "Only you read this";
  if (model.blocked.has(id)) return "Blocked";
  return model.contacts.has(id) ? "Contact" : "Not a contact";
}

/** What stands between the two: a request to answer, or someone blocked. */
function Relation({ open }: { open: ConvKey }): JSX.Element | null {
  const { model } = useClient();
  const [ask, busy] = useAsk();
  const id = Number(open.slice(1));
  if (isGroup(open)) return null;
  if (model.blocked.has(id)) {
    return (
      <div class="relation">
        <span>You have blocked this person.</span>
        <button type="button" disabled={busy} onClick={() => ask("unblock", { to: id }, null)}>
          Unblock
        </button>
      </div>
    );
  }
  return model.requests.get(id)?.from === "them" ? <RequestCard id={id} /> : null;
}
