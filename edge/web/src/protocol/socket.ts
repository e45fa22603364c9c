// The session's wire over the browser's WebSocket, and its clock.

import type { Clock, Wire, WireEvents } from "./session.ts";

/** Opens `/ws` of the server that this page came from; the cookie says who it is. */
export function openSocket(events: WireEvents): Wire {
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url, "simple-im.json");
  socket.onopen = () => events.opened();
  socket.onmessage = ({ data }) => events.received(typeof data === "string" ? data : "");
  socket.onclose = ({ code }) => events.closed(code);
  return {
    send(data) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
    },
    close() {
      socket.close();
    },
  };
}

export const browserClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
