// Left: who one is, a search, and the lists of conversations and of people.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Conversation, isGroup, latest, listed, titleOf } from "../state/model.ts";
import { useClient } from "./context.ts";
import { summary } from "./notice.ts";
import { People, incoming } from "./people.tsx";
import { brief } from "./times.ts";
import { Avatar, IconButton } from "./ui.tsx";

export type Panel = "settings" | "new" | "details" | "keys" | null;

export function Sidebar({ show }: { show: (panel: Panel) => void }): JSX.Element {
  const client = useClient();
  const { model } = client;
  const [tab, setTab] = useState<"chats" | "people">("chats");
  const [query, setQuery] = useState("");
  const waiting = incoming(model).length;
  const unread = listed(model).filter((conv) => conv.unread > 0).length;

  // Escape leaves the search, not the conversation.
  const leave = (event: KeyboardEvent & { currentTarget: HTMLInputElement }) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    event.currentTarget.blur();
    setQuery("");
  };

  return (
    <aside class="sidebar" aria-label="Conversations and people">
      <header>
        <button type="button" class="me" onClick={() => show("settings")} aria-label={`${model.me.name}: profile and settings`}>
          <Avatar id={model.me.id} name={model.me.name} />
          <span class="name">{model.me.name}</span>
        </button>
        <IconButton icon="gear" label="Settings" onClick={() => show("settings")} />
        <IconButton icon="plus" label="New conversation" keys="Alt+N" class="tinted" onClick={() => show("new")} />
      </header>
      <label class="search">
        <span class="visually-hidden">Search conversations and people</span>
        <input
          id="search"
          type="search"
          placeholder="Search"
          title="Search (Ctrl+K)"
          autocomplete="off"
          value={query}
          onInput={(event) => setQuery(event.currentTarget.value)}
          onKeyDown={leave}
        />
      </label>
      <div class="tabs" role="group" aria-label="What to list">
        <button type="button" aria-pressed={tab === "chats"} onClick={() => setTab("chats")}>
          Chats {unread > 0 && <Count n={unread} label="with unread messages" />}
        </button>
        <button type="button" aria-pressed={tab === "people"} onClick={() => setTab("people")}>
          People {waiting > 0 && <Count n={waiting} label="requests waiting" />}
        </button>
      </div>
      {tab === "chats" ? <Chats query={query} show={show} /> : <People query={query} show={show} />}
    </aside>
  );
}

export function Count({ n, label }: { n: number; label: string }): JSX.Element {
  return (
    <span class="count">
      {n > 99 ? "99+" : n}
      <span class="visually-hidden"> {label}</span>
    </span>
  );
}

function Chats({ query, show }: { query: string; show: (panel: Panel) => void }): JSX.Element {
  const { model } = useClient();
  const wanted = query.trim().toLowerCase();
  const found = listed(model).filter((conv) => titleOf(model, conv.key).toLowerCase().includes(wanted));
  if (!found.length) {
    return (
      <div class="empty">
        {wanted ? <p>No conversation of that name.</p> : <p>{model.ready ? "No conversations yet." : "Loading…"}</p>}
        {!wanted && model.ready && (
          <button type="button" onClick={() => show("new")}>
            Find someone
          </button>
        )}
      </div>
    );
  }
  return (
    <nav class="list" aria-label="Conversations" onKeyDown={arrows}>
      {found.map((conv) => (
        <Row key={conv.key} conv={conv} />
      ))}
    </nav>
  );
}

function Row({ conv }: { conv: Conversation }): JSX.Element {
  const { model } = useClient();
  const title = titleOf(model, conv.key);
  const last = conv.timeline.items.at(-1);
  const waiting = model.pending.filter((one) => one.conv === conv.key && one.entry.kind !== "r").at(-1);
  const text = waiting && waiting.entry.kind !== "r" ? `You: ${waiting.entry.c}` : last ? summary(model, last) : "";
  return (
    <a class="row" href={`#/${conv.key}`} aria-current={model.open === conv.key ? "page" : undefined}>
      <Avatar id={conv.id} name={title} group={isGroup(conv.key)} />
      <span class="name">{title}</span>
      <time>{brief(latest(model, conv))}</time>
      <span class="last">{waiting?.refused ? `Not sent · ${text}` : text}</span>
      {conv.unread > 0 && <Count n={conv.unread} label="unread" />}
    </a>
  );
}

/** Up and down move among the rows of a list. */
export function arrows(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.altKey) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>("a.row")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  rows[at + step]?.focus();
  event.preventDefault();
}
