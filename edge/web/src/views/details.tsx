// About the other side: a person and what stands between the two, or a group and its members.

import type { JSX } from "preact";
import type { ConvKey } from "../protocol/frames.ts";
import { isGroup, nameOf, titleOf } from "../state/model.ts";
import { useAsk } from "./ask.ts";
import { useClient } from "./context.ts";
import { Members } from "./members.tsx";
import { Avatar, Dialog } from "./ui.tsx";

export function Details({ open, onClose }: { open: ConvKey; onClose: () => void }): JSX.Element {
  const { model } = useClient();
  const id = Number(open.slice(1));
  return (
    <Dialog title={isGroup(open) ? "Group" : "Person"} onClose={onClose}>
      <div class="portrait">
        <Avatar id={id} name={titleOf(model, open)} group={isGroup(open)} />
        <strong>{titleOf(model, open)}</strong>
        <span class="last">{isGroup(open) ? "" : model.users.get(id)?.phone}</span>
      </div>
      {isGroup(open) ? <Members id={id} onClose={onClose} /> : <Relations id={id} onClose={onClose} />}
    </Dialog>
  );
}

/** What one can do about a person. */
function Relations({ id, onClose }: { id: number; onClose: () => void }): JSX.Element | null {
  const client = useClient();
  const { model } = client;
  const [ask, busy] = useAsk();
  const request = model.requests.get(id);
  const contact = model.contacts.has(id);
  const blocked = model.blocked.has(id);
  const key = `u${id}` as const;
  if (id === model.me.id) return <p class="note">What you write here, only your own devices get.</p>;

  const add = async (event: SubmitEvent) => {
    event.preventDefault();
    const message = String(new FormData(event.currentTarget as HTMLFormElement).get("message") ?? "").trim();
    const answer = await ask("add_contact", { to: id, message }, key);
    if (answer.ok) client.toast(`${nameOf(model, id)} has been asked.`);
  };
  const block = async () => {
    const answer = await ask(blocked ? "unblock" : "block", { to: id }, null);
    if (answer.ok) client.toast(blocked ? `${nameOf(model, id)} may write to you again.` : `${nameOf(model, id)} is blocked.`);
    onClose();
  };

  return (
    <div class="stack">
      {!contact && !request && !blocked && (
        <form class="inline" onSubmit={add}>
          <label class="field">
            <span>Add to contacts</span>
            <input name="message" maxLength={200} placeholder="A word on who you are" dir="auto" />
          </label>
          <button class="primary" disabled={busy}>
            Send request
          </button>
        </form>
      )}
      {request?.from === "me" && <p class="note">Your request is waiting for an answer.</p>}
      {request?.from === "them" && (
        <div class="actions">
          <button type="button" class="primary" disabled={busy} onClick={() => ask("accept_contact", { to: id }, key)}>
            Accept request
          </button>
          <button type="button" disabled={busy} onClick={() => ask("decline_contact", { to: id }, key)}>
            Decline
          </button>
        </div>
      )}
      <div class="actions">
        {contact && (
          <button type="button" disabled={busy} onClick={() => ask("delete_contact", { to: id }, key)}>
            Remove from contacts
          </button>
        )}
        <button type="button" class={blocked ? "" : "danger"} disabled={busy} onClick={block}>
          {blocked ? "Unblock" : "Block"}
        </button>
      </div>
      {!blocked && <p class="note">Who is blocked cannot write to you, and is not told.</p>}
    </div>
  );
}
