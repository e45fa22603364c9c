// One's own profile, password, looks, this device, and the way out.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../protocol/api.ts";
import { explain, useClient } from "./context.ts";
import { Devices } from "./devices.tsx";
import type { Panel } from "./sidebar.tsx";
import { type Theme, setTheme, theme } from "./theme.ts";
import { Dialog, Field } from "./ui.tsx";

export function Settings({ show }: { show: (panel: Panel) => void }): JSX.Element {
  const client = useClient();
  const { me, pending } = client.model;
  const [sure, setSure] = useState(false);
  const unsent = pending.filter((one) => one.entry.kind !== "r").length;
  const out = () => (unsent && !sure ? setSure(true) : void client.logout());
  return (
    <Dialog title="Settings" onClose={() => show(null)}>
      <div class="stack">
        <Form title="Profile" button="Save name" done="Your name is saved.">
          <Field label="Name" name="name" defaultValue={me.name} required maxLength={60} autocomplete="name" dir="auto" />
          <p class="note">Phone number {me.phone}</p>
        </Form>
        <Form title="Password" button="Change password" done="Your password is changed; all other devices are logged out.">
          <Field label="Current password" name="old_password" type="password" required autocomplete="current-password" />
          <Field label="New password" name="password" type="password" required autocomplete="new-password" />
        </Form>
        <Looks />
        <section>
          <h3>Devices</h3>
          <Devices />
          <div class="actions">
            <button type="button" onClick={() => show("keys")}>
              Keyboard shortcuts
            </button>
            <button type="button" class="danger" onClick={out}>
              {sure ? `Log out and lose ${unsent} unsent?` : "Log out"}
            </button>
          </div>
        </section>
      </div>
    </Dialog>
  );
}

/** A part of the profile that is saved by itself. */
function Form(props: { title: string; button: string; done: string; children: JSX.Element[] }): JSX.Element {
  const client = useClient();
  const [error, setError] = useState("");
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    setError("");
    try {
      await client.saveProfile(Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, key === "name" ? String(value).trim() : String(value)])));
      client.toast(props.done);
      if (form.elements.namedItem("password")) form.reset();
    } catch (failure) {
      setError(failure instanceof ApiError ? explain(failure.code, failure.message) : String(failure));
    }
  };
  return (
    <form class="part" onSubmit={save} aria-label={props.title}>
      <h3>{props.title}</h3>
      {props.children}
      <p class="error" role="alert">
        {error}
      </p>
      <button>{props.button}</button>
    </form>
  );
}

function Looks(): JSX.Element {
  const [chosen, setChosen] = useState(theme());
  const choose = (next: Theme) => {
    setTheme(next);
    setChosen(next);
  };
  const labels: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" };
  return (
    <section>
      <h3>Appearance</h3>
      <div class="tabs" role="group" aria-label="Appearance">
        {(Object.keys(labels) as Theme[]).map((one) => (
          <button key={one} type="button" aria-pressed={chosen === one} onClick={() => choose(one)}>
            {labels[one]}
          </button>
        ))}
      </div>
    </section>
  );
}
