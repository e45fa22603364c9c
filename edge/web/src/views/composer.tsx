// Where one writes. Enter sends, Shift+Enter begins a line; what is half written stays with its conversation.

import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ConvKey } from "../protocol/frames.ts";
import { titleOf } from "../state/model.ts";
import { useClient } from "./context.ts";
import { Icon } from "./ui.tsx";

/** The server's limit of a text, in bytes. */
const TEXT_BYTES = 32_768;

const long = (text: string): boolean => text.length > TEXT_BYTES / 4 && new TextEncoder().encode(text).length > TEXT_BYTES;

const drafts = new Map<ConvKey, string>();

export function Composer({ open }: { open: ConvKey }): JSX.Element {
  const client = useClient();
  const [text, setText] = useState(drafts.get(open) ?? "");
  const ref = useRef<HTMLTextAreaElement>(null);
  const tooLong = long(text);
  const empty = !text.trim();

  // A finger that opens a conversation does not want the keyboard over it; a keyboard does.
  useLayoutEffect(() => {
    if (matchMedia("(hover: hover)").matches) ref.current?.focus({ preventScroll: true });
  }, []);
  useLayoutEffect(() => {
    const area = ref.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [text]);

  const change = (next: string) => {
    setText(next);
    if (next) drafts.set(open, next);
    else drafts.delete(open);
  };
  const send = () => {
    // What stands there now: the page may not have been drawn since the last key.
    const now = ref.current?.value.trim() ?? "";
    if (!now || long(now)) return;
    client.send(open, now);
    change("");
    ref.current?.focus();
  };
  const key = (event: KeyboardEvent) => {
    // While an input method composes (Chinese, Japanese), Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    send();
  };

  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      <label>
        <span class="visually-hidden">Message to {titleOf(client.model, open)}</span>
        <textarea
          id="composer"
          ref={ref}
          rows={1}
          dir="auto"
          placeholder="Write a message"
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={key}
          enterkeyhint="send"
        />
      </label>
      {tooLong && <span class="error">Too long for one message</span>}
      <button class="send" aria-label="Send" title="Send (Enter)" disabled={empty || tooLong}>
        <Icon name="send" />
      </button>
    </form>
  );
}
