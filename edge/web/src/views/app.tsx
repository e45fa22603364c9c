// The whole page: the login, or the two sides with their dialogs, the banner, and what is said to screen readers.

import type { JSX } from "preact";
import { useEffect, useReducer, useState } from "preact/hooks";
import { Client } from "../state/client.ts";
import { type User, listed, titleOf } from "../state/model.ts";
import { Auth } from "./auth.tsx";
import { Banner, Toast } from "./banner.tsx";
import { ClientContext, go, routed } from "./context.ts";
import { ConversationView } from "./conversation.tsx";
import { Details } from "./details.tsx";
import { Keys, pressed } from "./keys.tsx";
import { New } from "./new.tsx";
import { Settings } from "./settings.tsx";
import { type Panel, Sidebar } from "./sidebar.tsx";

/** Longer away than this, in milliseconds, the lists are loaded again: other devices have read meanwhile. */
const AWAY = 60_000;

export function App({ remembered, device, keep }: { remembered: User | null; device: string; keep: (me: User | null) => void }): JSX.Element {
  const [me, setMe] = useState(remembered);
  const [notice, setNotice] = useState("");
  const enter = (user: User) => {
    keep(user);
    setNotice("");
    setMe(user);
  };
  const leave = () => {
    keep(null);
    setNotice("You are logged out.");
    setMe(null);
    go(null);
  };
  if (!me) return <Auth device={device} notice={notice} onDone={enter} />;
  return <SignedIn key={me.id} me={me} device={device} onEnd={leave} />;
}

function SignedIn({ me, device, onEnd }: { me: User; device: string; onEnd: () => void }): JSX.Element {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [client] = useState(() => new Client(me, device, () => redraw(undefined), onEnd));
  const [panel, show] = useState<Panel>(null);
  const { model } = client;

  useEffect(() => {
    let left = Date.now();
    const route = () => void client.open(routed());
    const key = (event: KeyboardEvent) => pressed(event, client, show);
    const seen = () => {
      if (document.visibilityState === "hidden") left = Date.now();
      else if (Date.now() - left > AWAY) void client.refresh();
    };
    // A page that the browser had put to sleep has heard nothing meanwhile.
    const woken = (event: PageTransitionEvent) => event.persisted && location.reload();
    client.start();
    route();
    addEventListener("hashchange", route);
    addEventListener("keydown", key);
    addEventListener("pageshow", woken);
    document.addEventListener("visibilitychange", seen);
    return () => {
      removeEventListener("hashchange", route);
      removeEventListener("keydown", key);
      removeEventListener("pageshow", woken);
      document.removeEventListener("visibilitychange", seen);
      client.close();
    };
  }, [client]);

  const unread = listed(model).reduce((sum, conv) => sum + conv.unread, 0);
  const title = model.open ? titleOf(model, model.open) : "simple-im";
  useEffect(() => {
    document.title = unread ? `(${unread}) ${title}` : title;
  }, [unread, title]);
  const close = () => show(null);

  return (
    <ClientContext.Provider value={client}>
      <div class={`page ${model.open ? "open" : ""}`} data-state={model.status.state}>
        <Banner />
        <div class="sides">
          <Sidebar show={show} />
          {model.open ? (
            <ConversationView open={model.open} show={show} />
          ) : (
            <main class="welcome" aria-label="No conversation chosen">
              <div class="brand" aria-hidden="true">
                <span /> <span /> <span />
              </div>
              <p>Choose a conversation, or begin a new one.</p>
              <p class="last">
                <kbd>Ctrl K</kbd> searches, <kbd>Alt N</kbd> begins, <kbd>?</kbd> shows all keys.
              </p>
            </main>
          )}
        </div>
        {panel === "settings" && <Settings show={show} />}
        {panel === "new" && <New onClose={close} />}
        {panel === "keys" && <Keys onClose={close} />}
        {panel === "details" && model.open && <Details key={model.open} open={model.open} onClose={close} />}
        <Toast />
        <div id="announcer" class="visually-hidden" aria-live="polite" />
      </div>
    </ClientContext.Provider>
  );
}
