// Requests that wait, contacts, and who is blocked.

import type { JSX } from "preact";
import type { Model } from "../state/model.ts";
import { nameOf } from "../state/model.ts";
import { useClient } from "./context.ts";
import type { Panel } from "./sidebar.tsx";
import { arrows } from "./sidebar.tsx";
import { useAsk } from "./ask.ts";
import { Avatar } from "./ui.tsx";

/** Who asked to be a contact and waits for an answer. */
export function incoming(model: Model): number[] {
  return [...model.requests].filter(([id, { from }]) => from === "them" && !model.blocked.has(id)).map(([id]) => id);
}

export function People({ query, show }: { query: string; show: (panel: Panel) => void }): JSX.Element {
  const { model } = useClient();
  const wanted = query.trim().toLowerCase();
  const named = (ids: Iterable<number>) =>
    [...ids]
      .filter((id) => nameOf(model, id).toLowerCase().includes(wanted))
      .sort((a, b) => nameOf(model, a).localeCompare(nameOf(model, b)));
  const sent = [...model.requests].filter(([, { from }]) => from === "me").map(([id]) => id);
  const contacts = named([...model.contacts].filter((id) => !model.blocked.has(id)));

  return (
    <div class="list" onKeyDown={arrows}>
      <Section title="Requests for you" ids={named(incoming(model))} row={(id) => <RequestCard key={id} id={id} />} />
      <Section title="Waiting for an answer" ids={named(sent)} row={(id) => <Person key={id} id={id} />} />
      <Section title="Contacts" ids={contacts} row={(id) => <Person key={id} id={id} />} />
      <Section title="Blocked" ids={named(model.blocked)} row={(id) => <Person key={id} id={id} />} />
      {!contacts.length && (
        <div class="empty">
          <p>{wanted ? "No contact of that name." : "No contacts yet."}</p>
          <button type="button" onClick={() => show("new")}>
            Find someone
          </button>
        </div>
      )}
    </div>
  );
}

function Section({ title, ids, row }: { title: string; ids: number[]; row: (id: number) => JSX.Element }): JSX.Element | null {
  if (!ids.length) return null;
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {ids.map(row)}
    </section>
  );
}

function Person({ id }: { id: number }): JSX.Element {
  const { model } = useClient();
  return (
    <a class="row" href={`#/u${id}`} aria-current={model.open === `u${id}` ? "page" : undefined}>
      <Avatar id={id} name={nameOf(model, id)} />
      <span class="name">{nameOf(model, id)}</span>
      <span class="last">{model.users.get(id)?.phone}</span>
    </a>
  );
}

/** Someone's request, with the two answers. */
export function RequestCard({ id }: { id: number }): JSX.Element {
  const { model } = useClient();
  const [ask, busy] = useAsk();
  const name = nameOf(model, id);
  const message = model.requests.get(id)?.message;
  return (
    <article class="request" aria-label={`Contact request of ${name}`}>
      <a class="row" href={`#/u${id}`}>
        <Avatar id={id} name={name} />
        <span class="name">{name}</span>
        <span class="last">{message || "would like to be your contact"}</span>
      </a>
      <div class="actions">
        <button type="button" class="primary" disabled={busy} onClick={() => ask("accept_contact", { to: id }, `u${id}`)}>
          Accept
        </button>
        <button type="button" disabled={busy} onClick={() => ask("decline_contact", { to: id }, `u${id}`)}>
          Decline
        </button>
      </div>
    </article>
  );
}
