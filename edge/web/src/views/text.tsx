// What people wrote, as text nodes and nothing else; addresses of the web become links.

import type { JSX } from "preact";

const ADDRESS = /https?:\/\/[^\s<>"'，。；：！？）】》]+/gu;
/** One to three of them, with what joins and colours them. */
const EMOJI = /^(?:\p{Extended_Pictographic}(?:[\p{Emoji_Modifier}\ufe0f]|\u200d\p{Extended_Pictographic})*\s*){1,3}$/u;

export function Text({ text }: { text: string }): JSX.Element {
  if (text.length < 40 && EMOJI.test(text)) return <span class="emoji">{text}</span>;
  const parts: (string | JSX.Element)[] = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    // A full stop or a bracket after an address belongs to the sentence.
    const address = match[0].replace(/[.,;:!?)\]]+$/, "");
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(end, match.index));
    parts.push(
      <a href={address} target="_blank" rel="noopener noreferrer">
        {address}
      </a>,
    );
    end = match.index + address.length;
  }
  parts.push(text.slice(end));
  return <>{parts}</>;
}
