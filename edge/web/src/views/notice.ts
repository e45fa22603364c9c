// Requests as sentences: who did what to contacts and groups.

import type { Stored } from "../protocol/frames.ts";
import { type Model, nameOf } from "../state/model.ts";

const who = (model: Model, id: number): string => (id === model.me.id ? "You" : nameOf(model, id));
const whom = (model: Model, id: number): string => (id === model.me.id ? "you" : nameOf(model, id));

export function sentence(model: Model, entry: Stored): string {
  const by = who(model, entry.from);
  const other = whom(model, entry.member ?? entry.to ?? entry.from);
  switch (entry.t) {
    case "add_contact":
      if (entry.contactVersion !== undefined) return "You are contacts now";
      return `${by} asked ${other} to be contacts${entry.text ? `: “${entry.text}”` : ""}`;
    case "accept_contact":
      return `${by} accepted. You are contacts now`;
    case "decline_contact":
      return `${by} declined the contact request`;
    case "delete_contact":
      return `${by} removed ${other} from the contacts`;
    case "create_group":
      return `${by} created the group “${entry.name ?? ""}”`;
    case "create_group_member":
      return `${by} added ${other}`;
    case "delete_group_member":
      return entry.member === undefined || entry.member === entry.from ? `${by} left` : `${by} removed ${other}`;
    case "delete_group":
      return `${by} dissolved the group`;
    default:
      return `${by}: ${entry.t ?? ""}`;
  }
}

/** An entry in one line, for the list of conversations. */
export function summary(model: Model, entry: Stored): string {
  if (entry.kind === "r") return sentence(model, entry);
  if (entry.from === model.me.id) return `You: ${entry.text}`;
  return entry.group === undefined ? entry.text : `${nameOf(model, entry.from)}: ${entry.text}`;
}
