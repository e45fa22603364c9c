// Moments as people say them, in their own language's way.

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

const DAY = 86_400_000;

const midnight = (ms: number): number => new Date(ms).setHours(0, 0, 0, 0);

/** How many midnights ago; rounded, as days with a change of the clock are not of 24 hours. */
const daysAgo = (ms: number): number => Math.round((midnight(Date.now()) - midnight(ms)) / DAY);

export const sameDay = (a: number, b: number): boolean => midnight(a) === midnight(b);

export const clock = (ms: number): string => time.format(ms);

/** Short, for a list. */
export function brief(ms: number): string {
  const ago = daysAgo(ms);
  if (ago <= 0) return time.format(ms);
  return ago < 7 ? weekday.format(ms) : day.format(ms);
}

/** For the line between two days. */
export function dayName(ms: number): string {
  const ago = daysAgo(ms);
  if (ago === 0) return "Today";
  return ago === 1 ? "Yesterday" : date.format(ms);
}
