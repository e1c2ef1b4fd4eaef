// Ties the page together: what arrives is shown, what is pressed is said.

import { anglesOf, CHOICES } from "./angles.js";
import { Connection } from "./connection.js";
import { Plot } from "./plots.js";
import { decodeBody, POSE } from "./protocol.js";
import { View } from "./scene.js";
import { VideoPane } from "./video.js";

const $ = (id) => document.getElementById(id);
const SIDE_COLOURS = { right: "#5ac8ff", left: "#ffc85a", middle: "#e8edf2" };
const LOOKS = ["solid", "wire", "skeleton"];
const LOOK_NAMES = { solid: "Solid", wire: "Wire", skeleton: "Skeleton" };
const TOAST_MS = 6000;
const LOST_MS = 60_000; // older than this is no latency but another clock
const DROPPED_MS = 1000; // how long dropped frames are told
const SLOW_FRAME_MS = 55;
const LEAST_SHARP = 0.5;
const STAGES = ["capture", "keypoints", "flow", "regressor", "view"]; // in this order, others after them
const HIDDEN_STAGES = ["hint"];

let dirty = true;
let lastDraw = performance.now();
let state = null;
let hello = null;
let person = null;
let recordingSince = 0;
let droppedAt = -Infinity, droppedLately = 0;
let quitting = false;
let screenMs = NaN, meshMs = NaN;

function changed() {
  dirty = true;
}

let view = null;
try {
  view = new View($("view"), changed);
} catch {
  hint("This browser shows no WebGL: switch on hardware acceleration, or take another one.");
}
const video = view && new VideoPane($("video"), view);
const angles = new Plot($("angles"), { unit: "°", least: 30 });
const delays = new Plot($("delays"), { unit: " ms", least: 60, floor: 0 });

// What arrives

const connection = view && new Connection({
  hello: takeHello,
  state: takeState,
  remark: ({ text }) => toast(text),
  message: (message) => (message.kind === POSE ? takePose(message) : video.take(message, changed)),
  up: showConnection,
});

async function takeHello(said) {
  const first = hello?.body !== said.body || hello?.source !== said.source;
  hello = said;
  $("source").textContent = said.source;
  document.title = `${said.source} · motionmesh`;
  $("videosize").textContent = said.size.join(" × ");
  $("video").width = 640;
  $("video").height = Math.round((640 * said.size[1]) / said.size[0]);
  video.edges = said.edges;
  view.setSize(...said.size);
  for (const name of ["back", "on"]) $(name).hidden = said.live;
  resize();
  if (!first) return;
  setLook(said.look);
  const answer = await fetch(connection.address("/body.bin"));
  if (!answer.ok) return toast(await answer.text());
  view.setBody(decodeBody(await answer.arrayBuffer()), said.parts);
}

function takePose(pose) {
  view.setPose(pose);
  changed(); // also before there is a body: what is drawn is told, and only then more comes
  meshMs = pose.finishedMs - pose.capturedMs;
  // In seconds of the server's clock: films that begin again would go back in time.
  const now = pose.capturedMs / 1000;
  delays.add("mesh", now, meshMs);
  listPeople(pose.people);
  for (const estimate of pose.people) {
    if (estimate.person !== person) continue;
    const all = anglesOf(estimate.rotations);
    for (const [side, [name]] of Object.entries(CHOICES[$("angle").value].angles)) angles.add(side, now, all[name]);
  }
  hint(pose.people.length || !state || state.source !== "live" ? "" : "Looking for a person");
}

function takeState(said) {
  if (state && said.dropped > state.dropped) {
    const now = performance.now();
    droppedLately = said.dropped - state.dropped + (now - droppedAt < DROPPED_MS ? droppedLately : 0);
    droppedAt = now;
  }
  state = said;
  if (said.recording && !recordingSince) recordingSince = performance.now();
  if (!said.recording) recordingSince = 0;
  press("pause", said.paused, said.paused ? "Resume" : "Pause");
  press("record", said.recording, said.recording ? clock() : "Record");
  for (const name of ["back", "on"]) $(name).disabled = said.source === "ended";
  $("rate").textContent = said.mesh_rate === null ? "–" : said.mesh_rate.toFixed(1);
  $("frames").textContent = `${said.frames} frames, ${said.dropped} dropped, ${said.viewers} watching`;
  showStages(said.stages);
  showStatus();
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

// What is told

let isUp = false;

function showConnection(up) {
  isUp = up;
  document.body.classList.toggle("down", !up);
  for (const name of ["pause", "record", "snapshot", "back", "on", "quit"]) $(name).disabled = !up;
  if (!up && quitting) hint("The program has been stopped. This page goes on when it is started again.");
  else if (!up) refusedBecause().then((reason) => !isUp && hint(reason || "Connecting again …"));
  else hint("");
  if (up) quitting = false;
  showStatus();
}

/** Why the server refuses, where it answers at all. */
async function refusedBecause() {
  try {
    const answer = await fetch(connection.address("/body.bin"), { method: "GET", cache: "no-store" });
    await answer.body?.cancel();
    return answer.status === 403 ? "This link lacks its token: open the whole link that the program printed." : "";
  } catch {
    return "";
  }
}

function showStatus() {
  const lamp = $("status");
  let name = "connecting", text = hello ? "Reconnecting" : "Connecting";
  if (isUp && state) {
    if (state.source === "ended") [name, text] = ["paused", "Ended"];
    else if (state.source !== "live") [name, text] = [state.source === "lost" ? "lost" : "connecting", { connecting: "Waiting for the source", stalled: "Signal stalled", lost: "Signal lost" }[state.source] ?? state.source];
    else if (state.paused) [name, text] = ["paused", "Paused"];
    else [name, text] = ["live", hello.live ? "Live" : "Playing"];
    if (state.recording) [name, text] = ["recording", `REC ${clock()}${name === "live" ? "" : ` · ${text}`}`];
    if (performance.now() - droppedAt < DROPPED_MS) text += ` · ${droppedLately} dropped`;
  }
  lamp.dataset.state = name;
  lamp.lastElementChild.textContent = text;
}

function clock() {
  const seconds = Math.floor((performance.now() - recordingSince) / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function hint(text) {
  $("hint").hidden = !text;
  if (text) $("hint").textContent = text;
}

function toast(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("toasts").append(line);
  while ($("toasts").children.length > 4) $("toasts").firstChild.remove();
  setTimeout(() => line.remove(), TOAST_MS);
}

function press(id, pressed, label) {
  const button = $(id);
  button.setAttribute("aria-pressed", String(pressed));
  if (label) button.querySelector("span").textContent = label;
}

function listPeople(people) {
  $("people").textContent = people.length;
  $("people").nextElementSibling.textContent = people.length === 1 ? "person" : "people";
  const ids = people.map((estimate) => estimate.person);
  if (!ids.includes(person)) choosePerson(ids[0] ?? person);
  const shown = ids.join();
  if ($("persons").dataset.ids === shown) return;
  $("persons").dataset.ids = shown;
  $("persons").replaceChildren(...(ids.length < 2 ? [] : ids).sort((a, b) => a - b).map((id, place) => {
    const button = document.createElement("button");
    button.type = "button";
    const dot = document.createElement("i");
    dot.style.background = view.wardrobe?.css(id) ?? "";
    button.append(dot, String(place + 1));
    button.setAttribute("aria-pressed", String(id === person));
    button.title = `Follow person ${place + 1} (${place + 1})`;
    button.onclick = () => followPerson(id);
    button.dataset.person = id;
    return button;
  }));
}

/** The people there are, in the order of the keys 1 to 9. */
function numbered() {
  return [...view.figures.keys()].sort((a, b) => a - b);
}

function followPerson(id) {
  if (!view.figures.has(id)) return;
  view.followPerson(id);
  choosePerson(id);
  press("follow", true, `Follow ${numbered().indexOf(id) + 1}`);
}

function frameEverybody() {
  view.frameEverybody();
  press("follow", view.follow, "Follow");
}

function choosePerson(id) {
  person = id;
  resetAngles();
  for (const button of $("persons").children) button.setAttribute("aria-pressed", String(button.dataset.person === String(id)));
}

// Plots

CHOICES.forEach(({ name }, index) => $("angle").append(new Option(name, index)));
$("angle").onchange = resetAngles;

function legend(list, plot, names) {
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

function resetAngles() {
  const sides = Object.keys(CHOICES[$("angle").value].angles);
  angles.reset(sides.map((side) => [side, SIDE_COLOURS[side]]));
  legend($("anglelegend"), angles, sides.map((side) => [side, SIDE_COLOURS[side], { right: "Right", left: "Left", middle: "Trunk" }[side]]));
}

const DELAYS = [["mesh", "#5cc8b4", "Capture to mesh"], ["screen", "#c9a4ff", "Capture to screen"]];
delays.reset(DELAYS.map(([name, colour]) => [name, colour]));
legend($("delaylegend"), delays, DELAYS);
resetAngles();

function drawPlots() {
  angles.draw();
  delays.draw();
  for (const [list, plot] of [["anglelegend", angles], ["delaylegend", delays]]) {
    for (const value of $(list).querySelectorAll("b")) value.textContent = plot.text(value.dataset.name);
  }
  const show = (ms) => (Number.isFinite(ms) ? String(Math.round(ms)) : "–");
  $("latency").textContent = show(meshMs);
  $("screen").textContent = show(screenMs);
}

// What is pressed

const say = (command) => () => connection?.say({ command });

function setLook(look) {
  view.setLook(look);
  video.dirty = true;
  $("look").querySelector("span").textContent = LOOK_NAMES[look];
}

function cycleLook() {
  setLook(LOOKS[(LOOKS.indexOf(view.look) + 1) % LOOKS.length]);
}

function toggleFollow() {
  view.follow = !view.follow || view.orbit.moved;
  view.orbit.moved = false;
  press("follow", view.follow);
}

function toggleVideo() {
  const on = $("showvideo").getAttribute("aria-pressed") !== "true";
  $("showvideo").setAttribute("aria-pressed", String(on));
  $("showvideo").textContent = on ? "On" : "Off";
  $("videocard").classList.toggle("off", !on);
  for (const name of ["mesh", "keypoints", "flow"]) $(`show${name}`).hidden = !on;
  connection.want({ video: on });
}

function toggleLayer(name) {
  const on = !video.shows[name];
  video.show(name, on);
  $(`show${name}`).setAttribute("aria-pressed", String(on));
  changed();
}

function toggleHelp() {
  if ($("keys").open) $("keys").close();
  else $("keys").showModal();
}

function quit() {
  quitting = true;
  connection.say({ command: "q" });
  $("sure").close();
}

const ACTIONS = {
  pause: say("space"), record: say("r"), snapshot: say("s"), back: say("left"), on: say("right"),
  help: toggleHelp, closekeys: toggleHelp, quit: () => $("sure").showModal(), stop: quit, stay: () => $("sure").close(), look: cycleLook, follow: toggleFollow,
  eye: () => view.lookFromCamera(), reset: frameEverybody, showvideo: toggleVideo,
  showmesh: () => toggleLayer("mesh"), showkeypoints: () => toggleLayer("keypoints"), showflow: () => toggleLayer("flow"),
};
const KEYS = {
  " ": "pause", r: "record", s: "snapshot", m: "look", f: "follow", c: "eye", 0: "reset", v: "showvideo", k: "showkeypoints", o: "showflow",
  arrowleft: "back", arrowright: "on", h: "help", q: "quit",
};
for (const [id, action] of Object.entries(ACTIONS)) $(id).onclick = () => view && action();
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("select, input")) return;
  if (!view || $("sure").open || ($("keys").open && event.key.toLowerCase() !== "h")) return;
  if (/^[1-9]$/.test(event.key)) return followPerson(numbered()[event.key - 1]);
  const id = KEYS[event.key.toLowerCase()];
  if (!id) return;
  event.preventDefault();
  if (!$(id).disabled && !$(id).hidden) ACTIONS[id]();
});

// Drawing: only when there is something new

let shownPose = null;
let frames = 0;
let slowness = 0; // how many of the last frames took too long, more or less
let sharpness = 1;

/** Draws fewer pixels where the graphics card cannot keep up. */
function adapt(ms) {
  if (ms > 400) return; // nothing was to be drawn meanwhile
  slowness = 0.9 * slowness + (ms > SLOW_FRAME_MS ? 0.1 : 0);
  if (slowness < 0.7 || sharpness <= LEAST_SHARP) return;
  sharpness *= 0.75;
  slowness = 0;
  view.key.castShadow = sharpness > 0.6;
  resize();
}

function resize() {
  const { clientWidth: width, clientHeight: height } = $("stage");
  if (!width || !height) return;
  // People stand between what lies over the view: the bar, on a phone also the figures, and the dock.
  const edge = (id, side) => $(id).getBoundingClientRect()[side] - $("stage").getBoundingClientRect().top;
  const top = edge(width < 700 ? "figures" : "bar", "bottom");
  view.resize(width, height, sharpness * Math.min(devicePixelRatio || 1, 2), top, height - edge("dock", "top"));
  video.dirty = true;
}

function draw(now) {
  requestAnimationFrame(draw);
  if (!dirty) return;
  dirty = false;
  adapt(now - lastDraw);
  video.draw();
  const glides = view.render((now - lastDraw) / 1000);
  lastDraw = now;
  frames++;
  connection.drawn();
  if (view.pose && view.pose !== shownPose) {
    shownPose = view.pose;
    const age = connection.age(shownPose.capturedMs);
    if (!state?.paused && age >= 0 && age < LOST_MS) {
      screenMs = age;
      delays.add("screen", shownPose.capturedMs / 1000, age);
    }
    drawPlots();
  }
  if (glides) dirty = true;
}

if (view) {
  new ResizeObserver(resize).observe($("stage"));
  new ResizeObserver(() => {
    video.dirty = true;
    changed();
  }).observe($("video"));
  setInterval(showStatus, 500);
  requestAnimationFrame(draw);
}

/** For tests and the curious: what is on the screen right now. */
window.motionmesh = {
  get view() { return view; },
  get drawn() { return frames; },
  get sequence() { return view?.pose?.sequence ?? -1; },
  get videoSequence() { return video?.shown ?? -1; },
  get state() { return state; },
  get connected() { return isUp; },
  get bytes() { return connection?.bytes ?? 0; },
  get people() {
    return [...(view?.figures.values() ?? [])].map(({ person: id, poser }) => ({ person: id, joints: [...poser.joints] }));
  },
};
