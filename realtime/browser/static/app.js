// Ties the page together: what arrives is shown, what is pressed is sent.

import { Charts } from "./charts.js";
import { Connection } from "./connection.js";
import { $, hint, toast } from "./elements.js";
import { People } from "./people.js";
import { decodeBody, POSE } from "./protocol.js";
import { View } from "./scene.js";
import { Status } from "./status.js";
import { VideoPane } from "./video.js";

const LOOKS = ["solid", "wire", "skeleton"];
const LOOK_NAMES = { solid: "Solid", wire: "Wire", skeleton: "Skeleton" };
const LOST_MS = 60_000; // older than this is no latency but another clock
const SLOW_FRAME_MS = 55;
const LEAST_SHARP = 0.5;

let dirty = true;
let lastDraw = performance.now();
let quitting = false;

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
const charts = new Charts();
const people = view && new People(view, () => charts.resetAngles());
const status = new Status();

// What arrives

const connection = view && new Connection({
  hello: takeHello,
  state: (state) => status.take(state),
  remark: ({ text }) => toast(text),
  message: (message) => (message.kind === POSE ? takePose(message) : video.take(message, changed)),
  up: showConnection,
});

async function takeHello(hello) {
  const first = status.hello?.body !== hello.body || status.hello?.source !== hello.source;
  status.hello = hello;
  $("source").textContent = hello.source;
  document.title = `${hello.source} · motionmesh`;
  $("videosize").textContent = hello.size.join("×");
  $("video").width = 640;
  $("video").height = Math.round((640 * hello.size[1]) / hello.size[0]);
  video.edges = hello.edges;
  view.setSize(...hello.size);
  for (const name of ["back", "on"]) $(name).hidden = hello.live;
  resize();
  if (!first) return;
  setLook(hello.look);
  const answer = await fetch(connection.address("/body.bin"));
  if (!answer.ok) return toast(await answer.text());
  view.setBody(decodeBody(await answer.arrayBuffer()), hello.parts);
  if (view.pose) people.take(view.pose.people); // their buttons get their colours, also while paused
}

function takePose(pose) {
  view.setPose(pose);
  changed(); // also before there is a body: the server hears what was drawn, and only then sends more
  people.take(pose.people);
  charts.take(pose, people.person);
  status.people = pose.people.length;
  status.explain();
}

function showConnection(up) {
  status.isUp = up;
  document.body.classList.toggle("down", !up);
  for (const name of ["pause", "record", "snapshot", "back", "on", "quit"]) $(name).disabled = !up;
  if (!up && quitting) hint("The program has been stopped. This page goes on when it is started again.");
  else if (!up) refusedBecause().then((reason) => !status.isUp && hint(reason || "Connecting again …"));
  if (up) quitting = false;
  status.show();
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

// What is pressed

const send = (command) => () => connection?.send({ command });

function setLook(look) {
  view.setLook(look);
  video.dirty = true;
  $("look").querySelector("span").textContent = LOOK_NAMES[look];
}

function cycleLook() {
  setLook(LOOKS[(LOOKS.indexOf(view.look) + 1) % LOOKS.length]);
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
  connection.send({ command: "q" });
  $("sure").close();
}

const ACTIONS = {
  pause: send("space"), record: send("r"), snapshot: send("s"), back: send("left"), on: send("right"),
  help: toggleHelp, closekeys: toggleHelp, quit: () => $("sure").showModal(), stop: quit, stay: () => $("sure").close(), look: cycleLook,
  follow: () => people.toggleFollow(), eye: () => view.lookFromCamera(), reset: () => people.frameEverybody(), showvideo: toggleVideo,
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
  if (/^[1-9]$/.test(event.key)) return people.followPerson(people.numbered()[event.key - 1]);
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
    if (!status.state?.paused && age >= 0 && age < LOST_MS) charts.drawn(shownPose.capturedMs, age);
    charts.draw();
  }
  if (glides) dirty = true;
}

if (view) {
  new ResizeObserver(resize).observe($("stage"));
  new ResizeObserver(() => {
    video.dirty = true;
    changed();
  }).observe($("video"));
  setInterval(() => status.show(), 500);
  requestAnimationFrame(draw);
}

/** For tests and the curious: what is on the screen right now. */
window.motionmesh = {
  get view() { return view; },
  get drawn() { return frames; },
  get sequence() { return view?.pose?.sequence ?? -1; },
  get videoSequence() { return video?.shown ?? -1; },
  get state() { return status.state; },
  get connected() { return status.isUp; },
  get bytes() { return connection?.bytes ?? 0; },
  get people() {
    return [...(view?.figures.values() ?? [])].map(({ person: id, poser }) => ({ person: id, joints: [...poser.joints] }));
  },
};
