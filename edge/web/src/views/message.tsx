// One message, stored or not yet.

import type { JSX } from "preact";
import type { Stored } from "../protocol/frames.ts";
import type { Pending } from "../protocol/outbox.ts";
import { explain, useClient } from "./context.ts";
import { type Mark, MarkIcon } from "./marks.tsx";
import { Text } from "./text.tsx";
import { clock } from "./times.ts";
import { Avatar, memo } from "./ui.tsx";

interface Props {
  entry: Stored;
  author: string;
  /** The first of several that stand together. */
  first: boolean;
  /** In a group, where it must be seen who speaks. */
  grouped: boolean;
  /** What became of it, for one's own. */
  mark: Mark | undefined;
  detail: string;
}

export const Message = memo(function Message({ entry, author, first, grouped, mark, detail }: Props): JSX.Element {
  const mine = mark !== undefined;
  const at = entry.ts * 1000;
  return (
    <li class={`message ${mine ? "mine" : "theirs"} ${first ? "first" : ""} ${grouped ? "grouped" : ""}`} data-seq={entry.seq}>
      {grouped && !mine && first && <Avatar id={entry.from} name={author} small />}
      <div class="bubble" dir="auto">
        {first && (
          <span class={grouped && !mine ? `author ink-${entry.from % 8}` : "visually-hidden"}>{mine ? "You" : author}</span>
        )}
        <span class="text">
          <Text text={entry.text} />
        </span>
        <span class="meta">
          <time dateTime={new Date(at).toISOString()} title={new Date(at).toLocaleString()}>
            {clock(at)}
          </time>
          {mark && <MarkIcon mark={mark} detail={detail} />}
        </span>
      </div>
    </li>
  );
});

/** A message that waits in the outbox, or that was refused. */
export function Unsent({ pending }: { pending: Pending }): JSX.Element | null {
  const client = useClient();
  const { entry, refused, at } = pending;
  if (entry.kind === "r") return null;
  return (
    <li class={`message mine first ${refused ? "refused" : "sending"}`} data-id={entry.id}>
      <div class="bubble" dir="auto">
        <span class="visually-hidden">You</span>
        <span class="text">
          <Text text={entry.c} />
        </span>
        <span class="meta">
          <time>{clock(at)}</time>
          <MarkIcon mark={refused ? "refused" : "sending"} detail="" />
        </span>
      </div>
      {refused && (
        <p class="why" role="alert">
          Not sent. {explain(refused.code, refused.reason)}{" "}
          <button type="button" class="link" onClick={() => client.retry(entry.id)}>
            Try again
          </button>{" "}
          <button type="button" class="link" onClick={() => client.discard(entry.id)}>
            Delete
          </button>
        </p>
      )}
    </li>
  );
}
