// Where one is logged in, and logging out there.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../protocol/api.ts";
import { type Device, devices } from "../state/load.ts";
import { explain, useClient } from "./context.ts";
import { brief } from "./times.ts";

export function Devices(): JSX.Element {
  const client = useClient();
  const [list, setList] = useState<Device[]>([]);
  const [error, setError] = useState("");
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work();
      setList(await devices());
      setError("");
    } catch (failure) {
      setError(failure instanceof ApiError ? explain(failure.code, failure.message) : String(failure));
    }
  };
  useEffect(() => void attempt(async () => undefined), []);
  const end = ({ name }: Device) =>
    attempt(async () => {
      await client.endDevice(name);
      client.toast(`${name} is logged out.`);
    });
  return (
    <>
      <ul class="members" aria-label="Your devices">
        {list.map((device) => (
          <li key={device.name}>
            <span class="name">{device.name}</span>
            <span class="tag">{state(device)}</span>
            {!device.own && !device.ended && (
              <button type="button" aria-label={`Log out ${device.name}`} onClick={() => void end(device)}>
                Log out
              </button>
            )}
          </li>
        ))}
      </ul>
      <p class="error" role="alert">
        {error}
      </p>
      <p class="note">
        The tabs of a browser are one device. A device has its own place in every conversation, and is forgotten when it was
        not seen for 30 days.
      </p>
    </>
  );
}

function state(device: Device): string {
  if (device.own) return "this browser";
  if (device.ended) return "logged out";
  return device.online ? "connected" : `last seen ${brief(device.seen)}`;
}
