// A request from a button: the button rests until the answer is there, and a refusal is told.

import { useState } from "preact/hooks";
import type { Answer, ConvKey } from "../protocol/frames.ts";
import { explain, useClient } from "./context.ts";

export type Ask = (t: string, args: Record<string, unknown>, conv: ConvKey | null) => Promise<Answer>;

export function useAsk(): [ask: Ask, busy: boolean] {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const ask: Ask = async (t, args, conv) => {
    setBusy(true);
    const answer = await client.ask(t, args, conv);
    setBusy(false);
    if (!answer.ok) client.toast(explain(answer.code, answer.reason), true);
    return answer;
  };
  return [ask, busy];
}
