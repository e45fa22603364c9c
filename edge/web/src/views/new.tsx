// A new conversation: with a person, or in a new group.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { nameOf } from "../state/model.ts";
import { useAsk } from "./ask.ts";
import { go, useClient } from "./context.ts";
import { Finder } from "./finder.tsx";
import { Dialog, Field } from "./ui.tsx";

/** The server's limit of members that a new group is made of. */
const MEMBERS = 500;

export function New({ onClose }: { onClose: () => void }): JSX.Element {
  const [group, setGroup] = useState(false);
  const open = (id: number) => {
    onClose();
    go(`u${id}`);
  };
  return (
    <Dialog title="New conversation" onClose={onClose}>
      <div class="tabs" role="group" aria-label="Kind of conversation">
        <button type="button" aria-pressed={!group} onClick={() => setGroup(false)}>
          With a person
        </button>
        <button type="button" aria-pressed={group} onClick={() => setGroup(true)}>
          In a group
        </button>
      </div>
      {group ? <NewGroup onClose={onClose} /> : <Finder label="Who?" hint="Name or phone number" skip={[]} onPick={open} focused />}
    </Dialog>
  );
}

function NewGroup({ onClose }: { onClose: () => void }): JSX.Element {
  const { model } = useClient();
  const [ask, busy] = useAsk();
  const [name, setName] = useState("");
  const [members, setMembers] = useState<number[]>([]);
  const create = async () => {
    const answer = await ask("create_group", { name: name.trim(), members }, null);
    if (!answer.ok || answer.groupId === undefined) return;
    onClose();
    go(`g${answer.groupId}`);
  };
  return (
    <div class="stack">
      <Field label="Name of the group" value={name} maxLength={60} dir="auto" onInput={(event) => setName(event.currentTarget.value)} />
      {members.length > 0 && (
        <ul class="chips" aria-label="Members">
          {members.map((id) => (
            <li key={id}>
              {nameOf(model, id)}
              <button type="button" aria-label={`Leave out ${nameOf(model, id)}`} onClick={() => setMembers(members.filter((one) => one !== id))}>
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <Finder
        label="Members"
        hint="Name or phone number"
        skip={[...members, model.me.id]}
        onPick={(id) => members.length < MEMBERS && setMembers([...members, id])}
      />
      <button type="button" class="primary wide" disabled={busy || !name.trim()} onClick={create}>
        Create group
      </button>
    </div>
  );
}
