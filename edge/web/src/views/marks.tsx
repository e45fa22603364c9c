// What has become of one's own message: waiting, stored, delivered, read, or refused.

import type { JSX } from "preact";
import type { IconName } from "./icons.ts";
import { Icon } from "./ui.tsx";

export type Mark = "sending" | "stored" | "delivered" | "read" | "refused";

const SHOWN: Record<Mark, [icon: IconName, label: string]> = {
  sending: ["clock", "Sending"],
  stored: ["check", "Sent and stored"],
  delivered: ["checks", "Delivered"],
  read: ["checks", "Read"],
  refused: ["alert", "Not sent"],
};

export function MarkIcon({ mark, detail }: { mark: Mark; detail: string }): JSX.Element {
  const [icon, label] = SHOWN[mark];
  const title = detail ? `${label} ${detail}` : label;
  return (
    <span class={`mark ${mark}`} role="img" aria-label={title} title={title} data-mark={mark}>
      <Icon name={icon} />
    </span>
  );
}
