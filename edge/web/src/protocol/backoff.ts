// How long to wait before the next attempt to connect: doubling from half a second to half a minute, with jitter, so
// that the clients of a node that died do not all come at once.

export interface BackoffOptions {
  /** Milliseconds before the first attempt again. */
  first: number;
  /** The longest wait, in milliseconds. */
  most: number;
}

export class Backoff {
  private failures = 0;

  constructor(
    private readonly random: () => number,
    private readonly options: BackoffOptions = { first: 500, most: 30_000 },
  ) {}

  /** The next wait in milliseconds: between half of the step and all of it. */
  next(): number {
    const step = Math.min(this.options.most, this.options.first * 2 ** Math.min(this.failures, 16));
    this.failures += 1;
    return Math.round(step * (0.5 + this.random() / 2));
  }

  reset(): void {
    this.failures = 0;
  }
}
