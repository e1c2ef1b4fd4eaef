// The WebSocket: connects again by itself, and knows how the server's clock stands to this one.

import { decode, VERSION } from "./protocol.js";

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 5000;
const PING_EVERY_MS = 2000;
const UNANSWERED = 4; // pings without any message since: the connection is dead

export class Connection {
  /** `handlers`: hello, state, remark, message (binary), up (whether it is connected, and why not). */
  constructor(handlers) {
    this.handlers = handlers;
    this.token = decodeURIComponent(location.hash.slice(1));
    this.wait = FIRST_WAIT_MS;
    /** Add to performance.now() for the server's clock, ms; null until it is known. */
    this.offset = null;
    this.bestTrip = Infinity;
    this.bytes = 0;
    this.undrawn = 0;
    this.unanswered = 0;
    this.wants = { video: true };
    addEventListener("hashchange", () => location.reload());
    setInterval(() => this.ping(), PING_EVERY_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.socket) this.retryNow();
    });
    this.open();
  }

  address(path) {
    return path + (this.token ? `?token=${encodeURIComponent(this.token)}` : "");
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.address("/live")}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.handlers.up(false);
      this.timer = setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 1.6);
    };
  }

  retryNow() {
    this.wait = FIRST_WAIT_MS;
    this.open();
  }

  receive(data) {
    this.unanswered = 0;
    if (typeof data !== "string") {
      this.bytes += data.byteLength;
      this.undrawn++;
      const message = decode(data);
      if (message) this.handlers.message(message);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "hello") {
      if (message.version !== VERSION) {
        // Another version of the program serves now: take its page, once.
        if (sessionStorage.getItem("reloaded") !== String(message.version)) {
          sessionStorage.setItem("reloaded", String(message.version));
          location.reload();
        }
        return;
      }
      this.wait = FIRST_WAIT_MS;
      this.offset = null;
      this.bestTrip = Infinity;
      this.undrawn = 0;
      this.send({ video: this.wants.video });
      this.ping();
      this.handlers.hello(message);
      this.handlers.up(true);
    } else if (message.type === "pong") {
      const now = performance.now();
      const trip = now - message.ping;
      this.bestTrip *= 1.05; // clocks drift: an old measurement counts less and less
      if (trip <= this.bestTrip) {
        this.bestTrip = trip;
        this.offset = message.server_ms + trip / 2 - now;
      }
    } else if (this.handlers[message.type]) {
      this.handlers[message.type](message);
    }
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Asks for the server's time; notices a connection that has died without a word. */
  ping() {
    if (this.socket && this.unanswered >= UNANSWERED) {
      this.unanswered = 0;
      this.socket.close();
      return;
    }
    this.unanswered++;
    this.send({ ping: performance.now() });
  }

  /** Tells that all that has come is on the screen: more may come. */
  drawn() {
    if (this.undrawn) this.send({ drawn: this.undrawn });
    this.undrawn = 0;
  }

  want(message) {
    Object.assign(this.wants, message);
    this.send(message);
  }

  /** How old something is that the server's clock dates `ms`; NaN until the clocks are known. */
  age(ms) {
    return this.offset === null ? NaN : performance.now() + this.offset - ms;
  }
}
