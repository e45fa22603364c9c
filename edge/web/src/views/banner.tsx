// What is wrong with the connection, and short words on what was done.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useClient } from "./context.ts";

/** How long a toast stands, and a reconnect goes unmentioned, in milliseconds. */
const TOAST = 5_000;
const PATIENCE = 1_500;

export function Banner(): JSX.Element {
  const client = useClient();
  const { status, pending } = client.model;
  const [late, setLate] = useState(false);
  const fine = status.state === "online";
  useEffect(() => {
    setLate(false);
    // A short loss is mended before anyone needs to know.
    const timer = fine ? 0 : setTimeout(() => setLate(true), PATIENCE);
    return () => clearTimeout(timer);
  }, [fine]);
  const unsent = pending.filter((one) => !one.refused && one.entry.kind !== "r").length;
  const kept = unsent ? ` ${unsent} unsent ${unsent === 1 ? "message is" : "messages are"} kept and will be sent.` : "";

  const [text, action] = ((): [string, string] => {
    if (status.state === "replaced") return ["You are connected from another window.", "Use this one"];
    if (status.state === "offline") return [`You are offline.${kept}`, ""];
    if (fine || !late) return ["", ""];
    return [`Connecting…${kept}`, status.state === "waiting" ? "Try now" : ""];
  })();
  return (
    <div class="banner" role="status" hidden={!text}>
      <span>{text}</span>
      {action && (
        <button type="button" class="link" onClick={() => client.hurry()}>
          {action}
        </button>
      )}
    </div>
  );
}

export function Toast(): JSX.Element {
  const { model } = useClient();
  const { toast } = model;
  const [gone, setGone] = useState(0);
  useEffect(() => {
    if (!toast) return undefined;
    const timer = setTimeout(() => setGone(toast.at), TOAST);
    return () => clearTimeout(timer);
  }, [toast]);
  const shown = toast && toast.at > gone;
  return (
    <div class={`toast ${toast?.error ? "bad" : ""}`} role={toast?.error ? "alert" : "status"} hidden={!shown}>
      {shown ? toast.text : ""}
    </div>
  );
}
