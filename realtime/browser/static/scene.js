// The 3D view: people on a floor, seen from anywhere, and the same people over the video, seen from the camera.

import {
  BufferAttribute, BufferGeometry, Color, DirectionalLight, Fog, HemisphereLight, LineBasicMaterial,
  LineSegments, Matrix4, Mesh, PCFSoftShadowMap, PerspectiveCamera, PlaneGeometry, Scene, ShadowMaterial, SRGBColorSpace,
  Vector3, WebGLRenderer,
} from "./three.module.min.js";
import { Figure, Wardrobe } from "./figure.js";
import { Grid } from "./grid.js";
import { Orbit } from "./orbit.js";

const BACKGROUND = 0x12161d;
const Y_UP = new Matrix4().makeScale(1, -1, -1); // the camera's frame until the vertical is known: as the camera is held
const ONLY_WORLD = 1; // layer of what is not drawn over the video
const FOLLOW = 0.12; // of the way in 1/30 s
const SOLE_M = 0.08; // from an ankle or toe joint down to the floor, roughly
const BELOW_M = 0.4; // the floor is not where a person is farther below it, as in realtime/draw/floor.py

export class View {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, powerPreference: "high-performance" });
    this.renderer.outputColorSpace = SRGBColorSpace;
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFSoftShadowMap;
    this.scene = new Scene();
    this.scene.fog = new Fog(BACKGROUND, 9, 26);
    this.camera = new PerspectiveCamera(42, 1, 0.05, 80);
    this.camera.layers.enable(ONLY_WORLD);
    this.sourceCamera = new PerspectiveCamera(); // with the intrinsics of the video, for `overlay`
    this.sourceCamera.matrixAutoUpdate = false;
    this.orbit = new Orbit(this.camera, canvas, changed);
    this.figures = new Map();
    this.wardrobe = null;
    this.pose = null;
    this.follow = true;
    this.followed = null; // the person who is followed; null: everybody
    this.look = "solid";
    this.world = Y_UP.clone();
    this.hasWorld = null;
    this.needsLook = true;
    this.floorY = null;
    this.framedAt = -Infinity;
    this.centre = new Vector3();
    this.addLights();
    this.addFloor();
  }

  addLights() {
    this.scene.add(new HemisphereLight(0xdfe9f5, 0x5a5148, 1.7));
    const key = new DirectionalLight(0xfff2e2, 2.2);
    key.castShadow = true;
    key.shadow.mapSize.set(1024, 1024);
    key.shadow.camera.near = 1;
    key.shadow.camera.far = 16;
    for (const [side, value] of [["left", -3.2], ["right", 3.2], ["top", 3.2], ["bottom", -3.2]]) key.shadow.camera[side] = value;
    key.shadow.radius = 6;
    key.shadow.bias = -0.001;
    const rim = new DirectionalLight(0x9fc4ff, 0.9);
    rim.position.set(-2.5, 2.5, -4);
    this.key = key;
    this.scene.add(key, key.target, rim);
  }

  addFloor() {
    this.floor = new Mesh(new PlaneGeometry(60, 60), new ShadowMaterial({ opacity: 0.42 }));
    this.floor.rotation.x = -Math.PI / 2;
    this.floor.receiveShadow = true;
    this.floor.material.depthWrite = false;
    this.grid = new Grid(0x8fa6c2);
    this.frustum = new LineSegments(new BufferGeometry(), new LineBasicMaterial({ color: 0x6f8199, transparent: true, opacity: 0.7 }));
    this.frustum.matrixAutoUpdate = false;
    this.frustum.frustumCulled = false;
    for (const part of [this.floor, this.grid, this.frustum]) {
      part.layers.set(ONLY_WORLD);
      this.scene.add(part);
    }
  }

  /** Takes the body and the parts' colours of everybody's suit; people from another body disappear. */
  setBody(body, parts) {
    this.clear();
    this.wardrobe = new Wardrobe(body, parts);
    if (this.pose) this.setPose(this.pose);
  }

  /** The frames' size in pixels, for the drawn camera. */
  setSize(width, height) {
    this.size = { width, height };
  }

  clear() {
    for (const figure of this.figures.values()) this.remove(figure);
  }

  remove(figure) {
    this.scene.remove(figure.group);
    figure.dispose();
    this.figures.delete(figure.person);
  }

  setLook(look) {
    this.look = look;
    for (const figure of this.figures.values()) figure.show(look);
    if (this.pose) this.setPose(this.pose);
    this.changed();
  }

  /** Shows a pose message. */
  setPose(pose) {
    this.pose = pose;
    if (!this.wardrobe) return;
    const w = pose.world;
    if (pose.hasWorld) {
      this.world.set(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], 0, 0, 0, 1);
    } else {
      this.world.copy(Y_UP);
    }
    if (pose.hasWorld !== this.hasWorld) {
      this.hasWorld = pose.hasWorld;
      this.floorY = null;
      this.needsLook = true;
    }
    this.place(pose.people);
    this.drawCamera(pose.camera);
    if (pose.people.length) this.frame();
    this.changed();
  }

  /** Makes the figures those of `people`, posed, and gone where nobody is. */
  place(people) {
    const present = new Set(people.map((estimate) => estimate.person));
    for (const figure of this.figures.values()) if (!present.has(figure.person)) this.remove(figure);
    for (const estimate of people) {
      let figure = this.figures.get(estimate.person);
      if (!figure) {
        figure = new Figure(this.wardrobe, estimate.person);
        figure.show(this.look);
        this.figures.set(estimate.person, figure);
        this.scene.add(figure.group);
      }
      figure.pose(estimate);
      figure.moveTo(this.world);
    }
  }

  /** Follows people, and keeps the floor under them where the world's is not known or nobody is on it. */
  frame() {
    const now = performance.now();
    const follow = 1 - (1 - FOLLOW) ** Math.min(30, (now - this.framedAt) * 0.03); // as fast where few poses come
    this.framedAt = now;
    const centre = new Vector3(), joint = new Vector3();
    let lowest = Infinity; // of everybody's soles
    const one = this.figures.has(this.followed);
    const box = { low: new Vector3(1e9, 1e9, 1e9), high: new Vector3(-1e9, -1e9, -1e9) };
    for (const { person, poser } of this.figures.values()) {
      let sole = Infinity;
      for (let index = 0; index < 24; index++) {
        joint.fromArray(poser.joints, 3 * index).applyMatrix4(this.world);
        sole = Math.min(sole, joint.y - SOLE_M);
        if (one && person !== this.followed) continue;
        box.low.min(joint);
        box.high.max(joint);
      }
      lowest = Math.min(lowest, sole);
    }
    centre.addVectors(box.low, box.high).multiplyScalar(0.5);
    // The world's floor, unless somebody is clearly below it, who cannot be: then the one of whoever stands lowest.
    const floor = !this.hasWorld || lowest <= -BELOW_M ? lowest : 0;
    if (this.floorY === null) this.floorY = floor;
    else if (this.hasWorld) this.floorY += 0.3 * (floor - this.floorY);
    else this.floorY = Math.min(floor, this.floorY + 0.02 * (floor - this.floorY));
    this.floor.position.y = this.grid.position.y = this.floorY;
    this.grid.centreOn(centre.x, centre.z);
    this.extent = box.high.distanceTo(box.low);
    this.centre.copy(centre);
    this.key.position.set(centre.x + 2.2, this.floorY + 5.5, centre.z + 3.2);
    this.key.target.position.set(centre.x, this.floorY + 0.8, centre.z);
    if (this.needsLook) {
      this.reset();
    } else if (this.follow && !this.orbit.moved) {
      this.orbit.wantedTarget.lerp(centre, follow);
      const wanted = this.distance();
      const off = this.orbit.wanted.radius / wanted;
      if (!this.orbit.zoomed && (off < 0.8 || off > 1.5)) this.orbit.wanted.radius += follow * (wanted - this.orbit.wanted.radius);
    }
  }

  /** Turns to one person and goes along. */
  followPerson(person) {
    if (!this.figures.has(person)) return;
    this.followed = person;
    this.follow = true;
    this.orbit.moved = this.orbit.zoomed = false;
    this.frame();
    this.orbit.wantedTarget.copy(this.centre); // also while paused, when no frames come
    this.orbit.wanted.radius = this.distance();
    this.changed();
  }

  /** Looks at everybody from a little to the side of the camera. */
  frameEverybody() {
    this.followed = null;
    if (this.figures.size) this.frame();
    this.reset();
  }

  reset() {
    this.needsLook = !this.figures.size;
    const from = new Vector3().setFromMatrixPosition(this.world).sub(this.centre);
    const angle = Math.atan2(from.x, from.z) + 0.5;
    this.orbit.look(this.centre, this.distance(), angle, 1.32);
  }

  /** From where everybody is in view, metres. */
  distance() {
    const free = this.free ?? 1;
    const aspect = Math.min(1, this.camera.aspect / free);
    const half = Math.max(0.8, 0.56 * (this.extent || 2));
    return half / Math.tan((this.camera.fov * Math.PI) / 360) / free / aspect ** 0.6 + 0.4;
  }

  /** Looks from where the camera stands. */
  lookFromCamera() {
    const eye = new Vector3().setFromMatrixPosition(this.world);
    const away = eye.clone().sub(this.centre);
    this.orbit.look(this.centre, away.length(), Math.atan2(away.x, away.z), Math.acos(away.y / Math.max(1e-6, away.length())));
  }

  drawCamera([fx, fy, cx, cy]) {
    if (!this.size) return;
    const depth = 0.35, { width, height } = this.size;
    const corners = [[0, 0], [width, 0], [width, height], [0, height]].map(([x, y]) => [
      ((x - cx) / fx) * depth, ((y - cy) / fy) * depth, depth,
    ]);
    const points = [];
    corners.forEach((corner, index) => points.push(0, 0, 0, ...corner, ...corner, ...corners[(index + 1) % 4]));
    this.frustum.geometry.setAttribute("position", new BufferAttribute(new Float32Array(points), 3));
    this.frustum.matrix.copy(this.world);
    this.frustum.matrixWorldNeedsUpdate = true;
  }

  /** Makes the view `width` x `height` CSS pixels large, of which `top` and `bottom` are covered: what is looked at stands in
   * the middle of what is free. */
  resize(width, height, ratio, top = 0, bottom = 0) {
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.free = Math.max(0.4, 1 - (top + bottom) / height);
    this.camera.setViewOffset(width, height, 0, (bottom - top) / 2, width, height); // also updates the projection
    this.width = width;
    this.height = height;
    this.changed();
  }

  /** Draws; returns whether the view still glides. */
  render(seconds) {
    const glides = this.orbit.update(seconds);
    const { renderer } = this;
    renderer.setScissorTest(false);
    renderer.setViewport(0, 0, this.width, this.height);
    renderer.setClearColor(BACKGROUND, 1);
    renderer.render(this.scene, this.camera);
    return glides;
  }

  /** Draws the people of `pose`, as the camera sees them, over a 2D canvas of `width` x `height` pixels that shows the whole
   * frame. What the 3D view showed is drawn over: render it afterwards. */
  overlay(pose, context, width, height, alpha) {
    if (!this.wardrobe || !pose.people.length || !this.size || !this.width) return;
    const { renderer, sourceCamera } = this;
    const ratio = renderer.getPixelRatio();
    const w = Math.min(width / ratio, this.width), h = Math.min(height / ratio, this.height);
    if (pose !== this.pose) this.place(pose.people);
    for (const figure of this.figures.values()) figure.moveTo(Y_UP);
    const [fx, fy, cx, cy] = pose.camera;
    const near = 0.05, far = 60, W = this.size.width, H = this.size.height;
    sourceCamera.projectionMatrix.set(
      (2 * fx) / W, 0, 1 - (2 * (cx + 0.5)) / W, 0,
      0, (2 * fy) / H, (2 * (cy + 0.5)) / H - 1, 0,
      0, 0, -(far + near) / (far - near), (-2 * far * near) / (far - near),
      0, 0, -1, 0,
    );
    sourceCamera.projectionMatrixInverse.copy(sourceCamera.projectionMatrix).invert();
    renderer.setViewport(0, 0, w, h);
    renderer.setScissor(0, 0, w, h);
    renderer.setScissorTest(true);
    renderer.setClearColor(0, 0);
    renderer.shadowMap.autoUpdate = false;
    renderer.render(this.scene, sourceCamera);
    renderer.shadowMap.autoUpdate = true;
    const pixelsW = Math.floor(w * ratio), pixelsH = Math.floor(h * ratio);
    context.globalAlpha = alpha;
    context.drawImage(this.canvas, 0, this.canvas.height - pixelsH, pixelsW, pixelsH, 0, 0, width, height);
    context.globalAlpha = 1;
    if (pose !== this.pose) this.place(this.pose.people);
    for (const figure of this.figures.values()) figure.moveTo(this.world);
  }
}
