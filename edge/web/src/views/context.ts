// The client, for every view below the app.

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Client } from "../state/client.ts";
import type { ConvKey } from "../protocol/frames.ts";

export const ClientContext = createContext<Client | null>(null);

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (!client) throw new Error("expected a signed-in client around this view");
  return client;
}

/** The conversation that the address names: `#/u3`, `#/g9`. */
export function routed(): ConvKey | null {
  const match = /^#\/([ug])(\d{1,15})$/.exec(location.hash);
  return match ? (`${match[1]}${match[2]}` as ConvKey) : null;
}

export function go(key: ConvKey | null): void {
  location.hash = key ? `/${key}` : "/";
}

/** What a refusal means, for people. */
export function explain(code: string, reason: string): string {
  const known: Record<string, string> = {
    blocked: "This person does not take messages from you.",
    waiting: "Your request is waiting already.",
    exists: "Already done.",
    no_request: "There is no request any more.",
    not_member: "You are not a member of this group.",
    forbidden: "Only the group's creator may do this.",
    not_found: "Nobody was found.",
    credentials: "Phone number and password do not fit.",
    taken: "This phone number is registered already.",
    rate_limited: "Too many attempts. Wait a minute, then try again.",
    limit: "A limit is reached.",
    too_long: "This is too long.",
    unavailable: "The service is not available right now. Try again.",
    network: "The server cannot be reached. Check your connection and try again.",
  };
  return known[code] ?? reason;
}
