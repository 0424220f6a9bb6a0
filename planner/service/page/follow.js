// Asks while the hand moves: one request at a time, never aborted, the newest question next.

export class Follower {
  // `work` answers one question; `rest` ms pass between two starts.
  constructor(work, rest = 0) {
    this.work = work;
    this.rest = rest;
    this.busy = false;
    this.next = null;
  }

  ask(question) {
    this.next = { question };
    if (!this.busy) this.run();
  }

  // Whether a newer question waits: an answer may then be shown in passing.
  get behind() {
    return this.next !== null;
  }

  async run() {
    this.busy = true;
    while (this.next !== null) {
      const { question } = this.next;
      this.next = null;
      const pause = new Promise((resolve) => { setTimeout(resolve, this.rest); });
      await this.work(question);
      if (this.rest) await pause;
    }
    this.busy = false;
  }
}
