// The two plots: joint angles of the person who is chosen, and how old what is shown is.

import { anglesOf, CHOICES } from "./angles.js";
import { $ } from "./elements.js";
import { Plot } from "./plots.js";

const SIDES = { right: ["#5ac8ff", "Right"], left: ["#ffc85a", "Left"], middle: ["#e8edf2", "Trunk"] };
const DELAYS = [["mesh", "#5cc8b4", "Capture to mesh"], ["screen", "#c9a4ff", "Capture to screen"]];

export class Charts {
  constructor() {
    this.angles = new Plot($("angles"), { unit: "°", least: 30 });
    this.delays = new Plot($("delays"), { unit: " ms", least: 60, floor: 0 });
    this.meshMs = NaN;
    this.screenMs = NaN;
    CHOICES.forEach(({ name }, index) => $("angle").append(new Option(name, index)));
    $("angle").onchange = () => this.resetAngles();
    this.delays.reset(DELAYS.map(([name, colour]) => [name, colour]));
    legend($("delaylegend"), DELAYS);
    this.resetAngles();
  }

  /** The angles that are chosen now, of each side. */
  get chosen() {
    return CHOICES[$("angle").value].angles;
  }

  /** Takes a pose that has arrived, and of `person` the angles. */
  take(pose, person) {
    this.meshMs = pose.finishedMs - pose.capturedMs;
    // In seconds of the server's clock: videos that begin again would go back in time.
    const now = pose.capturedMs / 1000;
    this.delays.add("mesh", now, this.meshMs);
    for (const estimate of pose.people) {
      if (estimate.person !== person) continue;
      const all = anglesOf(estimate.rotations);
      for (const [side, [name]] of Object.entries(this.chosen)) this.angles.add(side, now, all[name]);
    }
  }

  /** A pose of `capturedMs`, the server's clock, is on the screen; it is `age` ms old. */
  drawn(capturedMs, age) {
    this.screenMs = age;
    this.delays.add("screen", capturedMs / 1000, age);
  }

  resetAngles() {
    const sides = Object.keys(this.chosen);
    this.angles.reset(sides.map((side) => [side, SIDES[side][0]]));
    legend($("anglelegend"), sides.map((side) => [side, ...SIDES[side]]));
  }

  draw() {
    this.angles.draw();
    this.delays.draw();
    for (const [list, plot] of [["anglelegend", this.angles], ["delaylegend", this.delays]]) {
      for (const value of $(list).querySelectorAll("b")) value.textContent = plot.text(value.dataset.name);
    }
    const show = (ms) => (Number.isFinite(ms) ? String(Math.round(ms)) : "–");
    $("latency").textContent = show(this.meshMs);
    $("screen").textContent = show(this.screenMs);
  }
}

function legend(list, names) {
  list.replaceChildren(...names.map(([name, colour, label]) => {
    const item = document.createElement("li");
    const dash = document.createElement("i");
    dash.style.background = colour;
    const value = document.createElement("b");
    value.dataset.name = name;
    item.append(dash, label, value);
    return item;
  }));
}
