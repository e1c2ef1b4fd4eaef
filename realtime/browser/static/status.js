// The state of the run: the lamp and its line, the figures, and the times of the stages.

import { $, hint, press } from "./elements.js";

const DROPPED_MS = 1000; // how long dropped frames are shown
const STAGES = ["capture", "keypoints", "flow", "regressor", "view"]; // in this order, others after them
const HIDDEN_STAGES = ["hint"];
const OF_SOURCE = { connecting: "Waiting", stalled: "Signal stalled", lost: "Signal lost" };

export class Status {
  constructor() {
    this.hello = null; // the server's first message
    this.state = null; // its newest state
    this.isUp = false; // whether the page is connected
    this.people = null; // how many the newest pose has; null before the first
    this.recordingSince = 0;
    this.droppedAt = -Infinity;
    this.droppedLately = 0;
  }

  /** Takes a state that has arrived. */
  take(state) {
    if (this.state && state.dropped > this.state.dropped) {
      const now = performance.now();
      this.droppedLately = state.dropped - this.state.dropped + (now - this.droppedAt < DROPPED_MS ? this.droppedLately : 0);
      this.droppedAt = now;
    }
    this.state = state;
    if (state.recording && !this.recordingSince) this.recordingSince = performance.now();
    if (!state.recording) this.recordingSince = 0;
    press("pause", state.paused, state.paused ? "Resume" : "Pause");
    press("record", state.recording, state.recording ? this.recorded() : "Record");
    for (const name of ["back", "on"]) $(name).disabled = state.source === "ended";
    $("rate").textContent = state.mesh_rate === null ? "–" : state.mesh_rate.toFixed(1);
    $("frames").textContent = `${state.frames} frames, ${state.dropped} dropped, ${state.viewers} watching`;
    showStages(state.stages);
    this.show();
  }

  /** Brings the lamp and its line up to date. */
  show() {
    const { state } = this;
    let name = "connecting", text = this.hello ? "Reconnecting" : "Connecting";
    if (this.isUp && state) {
      if (state.source === "ended") [name, text] = ["paused", "Ended"];
      else if (state.source !== "live") [name, text] = [state.source === "lost" ? "lost" : "connecting", OF_SOURCE[state.source] ?? state.source];
      else if (state.paused) [name, text] = ["paused", "Paused"];
      else [name, text] = ["live", this.hello.live ? "Live" : "Playing"];
      if (state.recording) [name, text] = ["recording", `REC ${this.recorded()}${name === "live" ? "" : ` · ${text}`}`];
      if (performance.now() - this.droppedAt < DROPPED_MS) text += ` · ${this.droppedLately} dropped`;
    }
    $("status").dataset.state = name;
    $("status").lastElementChild.textContent = text;
    this.explain();
  }

  /** Says in the middle of the view why nothing moves there. */
  explain() {
    if (!this.isUp) return; // the connection's own hint stays
    const source = this.state?.source;
    document.body.classList.toggle("still", source === "stalled" || source === "lost");
    if (source === "connecting") hint("Waiting for the source");
    else if (source === "lost") hint("The signal is lost: trying again");
    else hint(source === "live" && this.people === 0 ? "Looking for a person" : "");
  }

  /** For how long a recording has been running, as minutes:seconds. */
  recorded() {
    const seconds = Math.floor((performance.now() - this.recordingSince) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}

function showStages(stages) {
  const list = $("stages");
  const names = [...STAGES.filter((name) => name in stages), ...Object.keys(stages).filter((name) => ![...STAGES, ...HIDDEN_STAGES].includes(name))];
  const most = Math.max(10, ...Object.values(stages));
  names.forEach((name, index) => {
    let row = list.children[index];
    if (!row) {
      row = document.createElement("li");
      row.append(document.createElement("span"), document.createElement("meter"), document.createElement("b"));
      list.append(row);
    }
    row.children[0].textContent = name;
    row.children[1].max = most;
    row.children[1].value = stages[name];
    row.children[2].textContent = `${stages[name].toFixed(1)} ms`;
  });
  while (list.children.length > names.length) list.lastChild.remove();
}
