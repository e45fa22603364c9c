// The messages of a conversation: older ones load as one scrolls up, new ones are followed while one is at the end.

import { Fragment, type JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ConvKey, Stored } from "../protocol/frames.ts";
import { type Conversation, type Model, conversation, isGroup, nameOf } from "../state/model.ts";
import { useClient } from "./context.ts";
import type { Mark } from "./marks.tsx";
import { Message, Unsent } from "./message.tsx";
import { sentence } from "./notice.ts";
import { dayName, sameDay } from "./times.ts";
import { Icon } from "./ui.tsx";

/** Nearer to the end than this, in pixels, one is at it; nearer to the beginning than the other, more is loaded. */
const NEAR_END = 64;
const NEAR_BEGINNING = 600;
/** Messages of one person within so many seconds stand together. */
const TOGETHER = 300;

export function Messages({ open }: { open: ConvKey }): JSX.Element {
  const client = useClient();
  const { model } = client;
  const conv = conversation(model, open);
  const { timeline } = conv;
  const pending = model.pending.filter((one) => one.conv === open && one.entry.kind !== "r" && !shown(conv, one.entry.id));
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const before = useRef({ first: 0, height: 0 });
  const [away, setAway] = useState(false);
  // Where one had read to when the conversation was opened.
  const [unreadFrom] = useState(conv.unread > 0 ? conv.read : Number.POSITIVE_INFINITY);

  const see = () => {
    if (atEnd.current && document.visibilityState === "visible" && timeline.loaded) client.seen(open);
  };
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const { first, height } = before.current;
    if (atEnd.current) element.scrollTop = element.scrollHeight;
    // What came in above must not push away what one is reading.
    else if (timeline.first < first) element.scrollTop += element.scrollHeight - height;
    before.current = { first: timeline.first, height: element.scrollHeight };
  });
  useEffect(() => {
    see();
    // A page that does not fill the window cannot be scrolled.
    const element = box.current;
    if (element && timeline.loaded && !conv.failed && element.scrollTop < NEAR_BEGINNING && !atEnd.current) void client.older(open);
    if (element && timeline.loaded && !conv.failed && element.scrollHeight <= element.clientHeight + 8) void client.older(open);
  });
  useEffect(() => {
    const follow = new ResizeObserver(() => {
      if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
    });
    if (box.current) follow.observe(box.current);
    document.addEventListener("visibilitychange", see);
    return () => {
      follow.disconnect();
      document.removeEventListener("visibilitychange", see);
    };
  }, []);

  const scrolled = () => {
    const element = box.current;
    if (!element) return;
    atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END;
    setAway(!atEnd.current);
    if (element.scrollTop < NEAR_BEGINNING && timeline.loaded && !conv.failed) void client.older(open);
    see();
  };
  const toEnd = () => box.current?.scrollTo({ top: box.current.scrollHeight, behavior: "smooth" });

  return (
    <div class="messages">
      <div ref={box} class="scroller" tabIndex={0} role="log" aria-label="Messages" aria-live="off" onScroll={scrolled}>
        <Beginning conv={conv} retry={() => void client.older(open)} />
        <ol>
          {timeline.items.map((entry, at) => (
            <Fragment key={entry.seq}>
              <Divider entry={entry} older={timeline.items[at - 1]} unreadFrom={unreadFrom} me={model.me.id} />
              {entry.kind === "r" ? <li class="notice">{sentence(model, entry)}</li> : said(model, open, entry, timeline.items[at - 1])}
            </Fragment>
          ))}
          {pending.map((one) => (
            <Unsent key={one.entry.id} pending={one} />
          ))}
        </ol>
      </div>
      {away && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" />
          {conv.unread > 0 ? `${conv.unread} new` : "Latest"}
        </button>
      )}
    </div>
  );
}

/** Stored and still in the outbox: another tab has not taken it out yet. */
function shown(conv: Conversation, id: string): boolean {
  return conv.timeline.items.slice(-50).some((entry) => entry.id === id);
}

function said(model: Model, open: ConvKey, entry: Stored, older: Stored | undefined): JSX.Element {
  const first = !older || older.kind === "r" || older.from !== entry.from || entry.ts - older.ts > TOGETHER;
  const [mark, detail] = entry.from === model.me.id ? markOf(model, open, entry.seq) : [undefined, ""];
  const author = nameOf(model, entry.from);
  return <Message entry={entry} author={author} first={first} grouped={isGroup(open)} mark={mark} detail={detail} />;
}

function markOf(model: Model, key: ConvKey, seq: number): [Mark | undefined, string] {
  const id = Number(key.slice(1));
  if (id === model.me.id && !isGroup(key)) return ["stored", ""];
  const { delivered, read } = model.marks.count(key, seq);
  if (!isGroup(key)) return [read ? "read" : delivered ? "delivered" : "stored", ""];
  const others = Math.max(1, (model.groups.get(id)?.count ?? 2) - 1);
  if (read) return [read >= others ? "read" : "delivered", read >= others ? "by all" : `; read by ${read} of ${others}`];
  return [delivered >= others ? "delivered" : "stored", delivered ? `; delivered to ${delivered} of ${others}` : ""];
}

function Divider(props: { entry: Stored; older: Stored | undefined; unreadFrom: number; me: number }): JSX.Element {
  const { entry, older, unreadFrom, me } = props;
  const unread = entry.seq > unreadFrom && (older?.seq ?? 0) <= unreadFrom && entry.from !== me;
  return (
    <>
      {(!older || !sameDay(older.ts * 1000, entry.ts * 1000)) && (
        <li class="divider">
          <span>{dayName(entry.ts * 1000)}</span>
        </li>
      )}
      {unread && (
        <li class="divider unread">
          <span>New</span>
        </li>
      )}
    </>
  );
}

function Beginning({ conv, retry }: { conv: Conversation; retry: () => void }): JSX.Element | null {
  const { timeline } = conv;
  if (conv.failed) {
    return (
      <p class="beginning">
        {conv.failed}{" "}
        <button type="button" class="link" onClick={retry}>
          Try again
        </button>
      </p>
    );
  }
  if (!timeline.complete) return <p class="beginning">Loading…</p>;
  return timeline.items.length ? null : <p class="beginning">Nothing here yet. Say hello.</p>;
}
