// A group's members: who is in, adding, removing, leaving, dissolving.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { nameOf } from "../state/model.ts";
import { useAsk } from "./ask.ts";
import { useClient } from "./context.ts";
import { Finder } from "./finder.tsx";
import { Avatar, IconButton } from "./ui.tsx";

export function Members({ id, onClose }: { id: number; onClose: () => void }): JSX.Element {
  const client = useClient();
  const { model } = client;
  const [ask, busy] = useAsk();
  const [sure, setSure] = useState(false);
  const group = model.groups.get(id);
  const key = `g${id}` as const;
  if (!group) return <p class="note">You are no member of this group any more.</p>;
  const creator = group.creator === model.me.id;
  const members = group.members ?? [];

  const add = async (user: number) => {
    const answer = await ask("create_group_member", { group_id: id, member_id: user }, key);
    if (answer.ok) client.toast(`${nameOf(model, user)} is in.`);
  };
  const remove = (user: number) => void ask("delete_group_member", { group_id: id, member_id: user }, key);
  const leave = async () => {
    if (!sure) return setSure(true);
    const t = creator ? "delete_group" : "delete_group_member";
    const answer = await ask(t, { group_id: id }, key);
    if (answer.ok) onClose();
  };

  return (
    <div class="stack">
      <h3>{group.count} members</h3>
      <ul class="members">
        {members.map((user) => (
          <li key={user}>
            <Avatar id={user} name={nameOf(model, user)} small />
            <span class="name">{user === model.me.id ? `${nameOf(model, user)} (you)` : nameOf(model, user)}</span>
            {user === group.creator && <span class="tag">creator</span>}
            {creator && user !== model.me.id && (
              <IconButton icon="close" label={`Remove ${nameOf(model, user)}`} onClick={() => remove(user)} />
            )}
          </li>
        ))}
      </ul>
      <Finder
        label="Add someone"
        hint={creator ? "Name or phone number" : "One of your contacts"}
        skip={members}
        onPick={(user) => void add(user)}
      />
      <div class="actions">
        <button type="button" class="danger" disabled={busy} onClick={leave}>
          {creator ? "Dissolve group" : "Leave group"}
          {sure && " – really?"}
        </button>
      </div>
    </div>
  );
}
