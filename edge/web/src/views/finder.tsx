// Finding a person: among the contacts by name, among everyone by the whole phone number.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../protocol/api.ts";
import { nameOf } from "../state/model.ts";
import { explain, useClient } from "./context.ts";
import { Avatar, Field } from "./ui.tsx";

/** What looks like a phone number. */
const PHONE = /^\+?[\d ()-]{3,}$/;

interface Props {
  label: string;
  hint: string;
  skip: readonly number[];
  onPick: (user: number) => void;
  /** It is what its dialog is for. */
  focused?: boolean;
}

export function Finder({ label, hint, skip, onPick, focused }: Props): JSX.Element {
  const client = useClient();
  const { model } = client;
  const [query, setQuery] = useState("");
  const [found, setFound] = useState<number | null>(null);
  const [error, setError] = useState("");
  const wanted = query.trim().toLowerCase();
  const contacts = [...model.contacts].filter(
    (id) => !skip.includes(id) && (nameOf(model, id).toLowerCase().includes(wanted) || model.users.get(id)?.phone.includes(wanted)),
  );
  const shown = [...new Set(found === null ? contacts : [found, ...contacts])].filter((id) => !skip.includes(id)).slice(0, 20);

  const look = async (event: SubmitEvent) => {
    event.preventDefault();
    // What stands there now: the page may not have been drawn since the last key.
    const typed = String(new FormData(event.currentTarget as HTMLFormElement).get("who")).trim();
    setError(PHONE.test(typed) ? "" : "People who are no contacts are found by their whole phone number.");
    if (!PHONE.test(typed)) return;
    try {
      const user = await client.find(typed.replace(/[ ()-]/g, ""));
      setFound(user?.id ?? null);
    } catch (failure) {
      setError(failure instanceof ApiError ? explain(failure.code, failure.message) : String(failure));
    }
  };
  const pick = (id: number) => {
    setQuery("");
    setFound(null);
    onPick(id);
  };

  return (
    <form class="finder" onSubmit={(event) => void look(event)}>
      <div class="inline">
        <Field
          label={label}
          placeholder={hint}
          value={query}
          autocomplete="off"
          type="search"
          name="who"
          autofocus={focused ?? false}
          onInput={(event) => (setQuery(event.currentTarget.value), setFound(null), setError(""))}
        />
        <button>Find</button>
      </div>
      <p class="error" role="alert">
        {error}
      </p>
      <ul class="members">
        {(wanted || found !== null ? shown : contacts.slice(0, 8)).map((id) => (
          <li key={id}>
            <button type="button" class="pick" onClick={() => pick(id)}>
              <Avatar id={id} name={nameOf(model, id)} small />
              <span class="name">{nameOf(model, id)}</span>
              <span class="last">{model.users.get(id)?.phone}</span>
            </button>
          </li>
        ))}
      </ul>
    </form>
  );
}
