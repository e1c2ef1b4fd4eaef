// One person in the scene: skinned by the graphics card from the matrices that Poser computes.

import {
  Bone, BufferAttribute, BufferGeometry, Color, DetachedBindMode, Group, LineBasicMaterial, LineSegments, Matrix4,
  Mesh, MeshStandardMaterial, Skeleton, SkinnedMesh, SphereGeometry, InstancedMesh, SRGBColorSpace,
} from "./three.module.min.js";
import { Poser } from "./skinning.js";

const JOINTS = 24;
const NORMALS_AGAIN = 0.05; // betas must change by so much before the normals of the rest body are computed anew

/** A skeleton whose matrices come from elsewhere. */
class GivenSkeleton extends Skeleton {
  constructor() {
    super(Array.from({ length: JOINTS }, () => new Bone()));
  }

  update() {
    if (this.boneTexture === null) this.computeBoneTexture();
  }

  set(matrices) {
    this.update();
    this.boneMatrices.set(matrices);
    this.boneTexture.needsUpdate = true;
  }
}

/** Lines cover each other where a body is small: opaque ones would look like a surface. */
const WIRE_OPACITY = 0.3;

/** What all figures of one body share. */
export class Wardrobe {
  constructor(body, parts) {
    this.body = body;
    this.parts = parts;
    this.index = new BufferAttribute(body.faces, 1);
    this.bones = new BufferAttribute(body.bones, 4);
    this.weights = new BufferAttribute(body.weights, 4);
    this.colours = new Map();
    this.linear = Float32Array.from({ length: 256 }, (_, value) => new Color().setRGB(value / 255, 0, 0, SRGBColorSpace).r);
  }

  /** The colours of a person's suit for every vertex. */
  suit(person) {
    const number = ((person % this.parts.length) + this.parts.length) % this.parts.length;
    let colours = this.colours.get(number);
    if (!colours) {
      const { suit } = this.body;
      const parts = this.parts[number];
      const values = new Float32Array((suit.length / 4) * 3);
      for (let vertex = 0; 4 * vertex < suit.length; vertex++) {
        for (let channel = 0; channel < 3; channel++) {
          let sum = 0;
          for (let part = 0; part < 4; part++) sum += suit[4 * vertex + part] * parts[part][channel];
          values[3 * vertex + channel] = this.linear[Math.min(255, Math.round(sum / 255))];
        }
      }
      colours = new BufferAttribute(values, 3);
      this.colours.set(number, colours);
    }
    return colours;
  }

  /** A person's own colour as a CSS colour: the shirt's. */
  css(person) {
    const number = ((person % this.parts.length) + this.parts.length) % this.parts.length;
    return `rgb(${this.parts[number][1].join(" ")})`;
  }
}

export class Figure {
  constructor(wardrobe, person) {
    this.person = person;
    this.poser = new Poser(wardrobe.body);
    const geometry = new BufferGeometry();
    geometry.setIndex(wardrobe.index);
    geometry.setAttribute("position", new BufferAttribute(this.poser.positions, 3));
    geometry.setAttribute("skinIndex", wardrobe.bones);
    geometry.setAttribute("skinWeight", wardrobe.weights);
    geometry.setAttribute("color", wardrobe.suit(person));
    this.material = new MeshStandardMaterial({ vertexColors: true, roughness: 0.78, metalness: 0, fog: false });
    this.mesh = new SkinnedMesh(geometry, this.material);
    this.mesh.bindMode = DetachedBindMode;
    this.skeleton = new GivenSkeleton();
    this.mesh.bind(this.skeleton, new Matrix4());
    this.mesh.castShadow = true;
    this.mesh.frustumCulled = false;

    const bones = [];
    wardrobe.body.parents.forEach((parent, joint) => parent >= 0 && bones.push(parent, joint));
    this.pairs = bones;
    const lines = new BufferGeometry();
    lines.setAttribute("position", new BufferAttribute(new Float32Array(3 * bones.length), 3));
    this.lines = new LineSegments(lines, new LineBasicMaterial({ color: 0xe8edf2, fog: false }));
    this.lines.frustumCulled = false;
    const colour = new Color(wardrobe.css(person).replaceAll(" ", ","));
    this.dots = new InstancedMesh(new SphereGeometry(0.026, 16, 12), new MeshStandardMaterial({ color: colour, fog: false }), JOINTS);
    this.dots.frustumCulled = false;
    this.dots.castShadow = true;

    /** The camera's frame; its matrix takes it to the world. */
    this.group = new Group();
    this.group.matrixAutoUpdate = false;
    this.group.add(this.mesh, this.lines, this.dots);
    this.shapedFor = null;
    this.show("solid");
  }

  /** "solid", "wire" or "skeleton". */
  show(look) {
    this.look = look;
    this.mesh.visible = look !== "skeleton";
    const wire = look === "wire";
    this.material.wireframe = this.material.transparent = wire;
    this.material.opacity = wire ? WIRE_OPACITY : 1;
    this.material.needsUpdate = true;
    this.lines.visible = this.dots.visible = look === "skeleton";
  }

  /** Poses as `estimate` of a pose message says. */
  pose(estimate) {
    const { poser } = this;
    poser.setShape(estimate.betas);
    poser.pose(estimate.rotations, estimate.transl);
    this.skeleton.set(poser.matrices);
    const { geometry } = this.mesh;
    geometry.attributes.position.needsUpdate = true;
    const old = this.shapedFor;
    if (!old || estimate.betas.some((value, index) => Math.abs(value - old[index]) > NORMALS_AGAIN)) {
      this.shapedFor = Float32Array.from(estimate.betas);
      geometry.computeVertexNormals();
    }
    if (this.look === "skeleton") this.drawSkeleton();
  }

  /** Takes the camera's frame to where `matrix` says. */
  moveTo(matrix) {
    this.group.matrix.copy(matrix);
    this.group.matrixWorldNeedsUpdate = true;
  }

  drawSkeleton() {
    const { joints } = this.poser;
    const ends = this.lines.geometry.attributes.position;
    this.pairs.forEach((joint, index) => ends.setXYZ(index, joints[3 * joint], joints[3 * joint + 1], joints[3 * joint + 2]));
    ends.needsUpdate = true;
    const place = new Matrix4();
    for (let joint = 0; joint < JOINTS; joint++) {
      this.dots.setMatrixAt(joint, place.makeTranslation(joints[3 * joint], joints[3 * joint + 1], joints[3 * joint + 2]));
    }
    this.dots.instanceMatrix.needsUpdate = true;
  }

  dispose() {
    this.mesh.geometry.dispose();
    this.material.dispose();
    this.skeleton.dispose();
    this.lines.geometry.dispose();
    this.lines.material.dispose();
    this.dots.geometry.dispose();
    this.dots.material.dispose();
    this.dots.dispose();
  }
}
