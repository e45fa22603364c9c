// Before one is signed in: log in, or register and be logged in.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError, call, rows } from "../protocol/api.ts";
import type { User } from "../state/model.ts";
import { explain } from "./context.ts";
import { Field } from "./ui.tsx";

export function Auth({ device, onDone, notice }: { device: string; onDone: (me: User) => void; notice: string }): JSX.Element {
  const [fresh, setFresh] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(notice);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const value = (name: string) => String(form.get(name) ?? "");
    const [phone, password, name] = [value("phone").trim(), value("password"), value("name").trim()];
    setBusy(true);
    setError("");
    try {
      if (fresh) await call("POST", "/user", { phone, password, name });
      const reply = await call("POST", "/server/login", { phone, password, device });
      const user = (reply.response.user ?? {}) as Record<string, unknown>;
      const id = Number(user.id);
      const row = rows(await call("GET", `/user/id/${id}`), "user")[0];
      onDone({ id, phone, name: String(row?.name ?? name) });
    } catch (failure) {
      setError(failure instanceof ApiError ? explain(failure.code, failure.message) : String(failure));
      setBusy(false);
    }
  };

  return (
    <main class="auth">
      <form onSubmit={submit} aria-labelledby="auth-title">
        <div class="brand" aria-hidden="true">
          <span /> <span /> <span />
        </div>
        <h1 id="auth-title">simple-im</h1>
        <p class="lead">{fresh ? "A phone number and a name, and you are in." : "Good to see you. Log in to go on."}</p>
        <Field label="Phone number" name="phone" type="tel" inputMode="tel" autocomplete="username" required autofocus />
        {fresh && <Field label="Your name" name="name" autocomplete="name" required maxLength={60} />}
        <Field
          label="Password"
          name="password"
          type="password"
          required
          autocomplete={fresh ? "new-password" : "current-password"}
        />
        <p class="error" role="alert">
          {error}
        </p>
        <button class="primary wide" disabled={busy}>
          {busy ? "One moment…" : fresh ? "Create account" : "Log in"}
        </button>
        <p class="switch">
          {fresh ? "You have an account?" : "New here?"}{" "}
          <button type="button" class="link" onClick={() => (setFresh(!fresh), setError(""))}>
            {fresh ? "Log in" : "Create an account"}
          </button>
        </p>
      </form>
    </main>
  );
}
