// Looking around a point: one finger or the left button turns, two fingers or the right button move, wheel and pinch go
// nearer. Everything glides to where it is wanted.

import { Spherical, Vector3 } from "./three.module.min.js";

const NEAREST_M = 0.6;
const FARTHEST_M = 40;
const GLIDE = 0.82; // of the way is left after 1/60 s

export class Orbit {
  /** Turns `camera` by what happens on `element`; calls `changed` when there is something to draw. */
  constructor(camera, element, changed) {
    this.camera = camera;
    this.element = element;
    this.changed = changed;
    this.target = new Vector3(0, 1, 0);
    this.wantedTarget = this.target.clone();
    this.place = new Spherical(4, 1.35, 0.5);
    this.wanted = this.place.clone();
    /** Whether the user has moved the target away. */
    this.moved = false;
    /** Whether the user has chosen how near to look. */
    this.zoomed = false;
    this.fingers = new Map();
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, (event) => this.up(event));
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Looks at `target` from `distance` metres, `angle` about the vertical and `tilt` from it, radians; at once. */
  look(target, distance, angle, tilt) {
    this.wantedTarget.copy(target);
    this.target.copy(target);
    this.wanted.set(distance, tilt, angle);
    this.place.copy(this.wanted);
    this.moved = this.zoomed = false;
    this.changed();
  }

  down(event) {
    this.element.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  up(event) {
    this.fingers.delete(event.pointerId);
  }

  move(event) {
    const last = this.fingers.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.x, dy = event.clientY - last.y;
    const before = this.spread();
    last.x = event.clientX;
    last.y = event.clientY;
    if (this.fingers.size >= 2) {
      if (before > 0) this.zoom(before / Math.max(1, this.spread()));
      this.pan(dx / 2, dy / 2);
    } else if (event.buttons & 6 || event.shiftKey) {
      this.pan(dx, dy);
    } else {
      const turn = Math.PI / this.element.clientHeight;
      this.wanted.theta -= dx * turn;
      this.wanted.phi = Math.min(Math.PI * 0.55, Math.max(0.05, this.wanted.phi - dy * turn));
    }
    this.changed();
  }

  spread() {
    if (this.fingers.size < 2) return 0;
    const [one, other] = this.fingers.values();
    return Math.hypot(one.x - other.x, one.y - other.y);
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.002));
    this.changed();
  }

  zoom(factor) {
    this.zoomed = true;
    this.wanted.radius = Math.min(FARTHEST_M, Math.max(NEAREST_M, this.wanted.radius * factor));
  }

  pan(dx, dy) {
    const { camera, element } = this;
    const metres = (2 * this.wanted.radius * Math.tan((camera.fov * Math.PI) / 360)) / element.clientHeight;
    const right = new Vector3().setFromMatrixColumn(camera.matrix, 0).multiplyScalar(-dx * metres);
    const up = new Vector3().setFromMatrixColumn(camera.matrix, 1).multiplyScalar(dy * metres);
    this.wantedTarget.add(right).add(up);
    this.moved = true;
  }

  /** Glides on for `seconds`; returns whether it has not arrived yet. */
  update(seconds) {
    const left = Math.pow(GLIDE, Math.min(0.25, seconds) * 60);
    const { place, wanted, target, wantedTarget, camera } = this;
    for (const name of ["radius", "phi", "theta"]) place[name] = wanted[name] + (place[name] - wanted[name]) * left;
    target.lerpVectors(wantedTarget, target, left);
    camera.position.setFromSpherical(place).add(target);
    camera.lookAt(target);
    camera.updateMatrix();
    const far = Math.abs(place.radius - wanted.radius) + Math.abs(place.phi - wanted.phi)
      + Math.abs(place.theta - wanted.theta) + target.distanceTo(wantedTarget);
    return far > 1e-3;
  }
}
