// Poses one person's body as body/lbs.py does: shape, pose correctives, forward kinematics. The last step, moving every
// vertex by its joints' matrices, is left to the graphics card; `skin` does it here, for tests.

const JOINTS = 24;

/** Writes the 3 x 3 rotation matrix (rows) of an axis-angle vector, radians, into `out` from `at` on. */
export function rotationMatrix(x, y, z, out, at) {
  const angle = Math.hypot(x, y, z);
  const first = angle > 1e-8 ? Math.sin(angle) / angle : 1;
  const half = angle > 1e-8 ? Math.sin(angle / 2) / angle : 0.5;
  const second = 2 * half * half;
  const xx = second * x * x, yy = second * y * y, zz = second * z * z;
  const xy = second * x * y, xz = second * x * z, yz = second * y * z;
  out[at] = 1 - yy - zz;
  out[at + 1] = xy - first * z;
  out[at + 2] = xz + first * y;
  out[at + 3] = xy + first * z;
  out[at + 4] = 1 - xx - zz;
  out[at + 5] = yz - first * x;
  out[at + 6] = xz - first * y;
  out[at + 7] = yz + first * x;
  out[at + 8] = 1 - xx - yy;
}

export class Poser {
  /** `body` as decodeBody gives it. */
  constructor(body) {
    this.body = body;
    this.count = body.vertices.length / 3;
    /** Rest vertices of the present shape, metres. */
    this.shaped = new Float32Array(body.vertices);
    /** The same with the pose's correctives. */
    this.positions = new Float32Array(body.vertices);
    /** Joints of the present shape at rest. */
    this.rest = new Float32Array(3 * JOINTS);
    /** Posed joints, camera frame. */
    this.joints = new Float32Array(3 * JOINTS);
    /** From a rest point to the camera frame, by joint: 4 x 4, columns first. */
    this.matrices = new Float32Array(16 * JOINTS);
    this.local = new Float32Array(9 * JOINTS);
    this.global = new Float32Array(9 * JOINTS);
    this.feature = new Float32Array(9 * (JOINTS - 1));
    this.betas = null;
  }

  /** Takes on a shape; returns whether it is another one than before. */
  setShape(betas) {
    if (this.betas && this.betas.every((value, index) => value === betas[index])) return false;
    this.betas = Float32Array.from(betas);
    const { vertices, shape, joints, shape_step: step, beta_limit: limit } = this.body;
    const scaled = Array.from(betas, (value) => Math.max(-limit, Math.min(limit, value)));
    for (let index = 0; index < this.shaped.length; index++) {
      let sum = 0;
      for (let beta = 0; beta < 10; beta++) sum += scaled[beta] * shape[10 * index + beta];
      this.shaped[index] = vertices[index] + step * sum;
    }
    for (let index = 0; index < 3 * JOINTS; index++) {
      let sum = joints[11 * index];
      for (let beta = 0; beta < 10; beta++) sum += scaled[beta] * joints[11 * index + 1 + beta];
      this.rest[index] = sum;
    }
    return true;
  }

  /** Poses the present shape: `rotations` 24 x 3 axis-angle, `transl` the pelvis, camera frame, metres. */
  pose(rotations, transl) {
    const { local, global, rest, joints } = this;
    const parents = this.body.parents;
    for (let joint = 0; joint < JOINTS; joint++) {
      const at = 3 * joint;
      rotationMatrix(rotations[at], rotations[at + 1], rotations[at + 2], local, 9 * joint);
      const parent = parents[joint];
      if (parent < 0) {
        for (let index = 0; index < 9; index++) global[index] = local[index];
        for (let row = 0; row < 3; row++) joints[row] = transl[row];
        continue;
      }
      const turn = 9 * parent;
      const dx = rest[at] - rest[3 * parent];
      const dy = rest[at + 1] - rest[3 * parent + 1];
      const dz = rest[at + 2] - rest[3 * parent + 2];
      for (let row = 0; row < 3; row++) {
        const a = global[turn + 3 * row], b = global[turn + 3 * row + 1], c = global[turn + 3 * row + 2];
        joints[at + row] = joints[3 * parent + row] + a * dx + b * dy + c * dz;
        for (let column = 0; column < 3; column++) {
          const own = 9 * joint + column;
          global[9 * joint + 3 * row + column] = a * local[own] + b * local[own + 3] + c * local[own + 6];
        }
      }
    }
    this.writeMatrices();
    this.correct();
  }

  writeMatrices() {
    const { global, rest, joints, matrices } = this;
    for (let joint = 0; joint < JOINTS; joint++) {
      const turn = 9 * joint, at = 3 * joint, out = 16 * joint;
      for (let row = 0; row < 3; row++) {
        const a = global[turn + 3 * row], b = global[turn + 3 * row + 1], c = global[turn + 3 * row + 2];
        matrices[out + row] = a;
        matrices[out + 4 + row] = b;
        matrices[out + 8 + row] = c;
        matrices[out + 12 + row] = joints[at + row] - a * rest[at] - b * rest[at + 1] - c * rest[at + 2];
      }
      matrices[out + 15] = 1;
    }
  }

  /** Adds what muscles and skin do when joints bend. */
  correct() {
    const { shaped, positions, feature, local, count } = this;
    const { corrective_starts: starts, corrective_features: features, corrective_steps: steps } = this.body;
    const step = this.body.corrective_step;
    for (let index = 0; index < feature.length; index++) {
      feature[index] = step * (local[9 + index] - (index % 9 % 4 === 0 ? 1 : 0));
    }
    for (let vertex = 0; vertex < count; vertex++) {
      let x = shaped[3 * vertex], y = shaped[3 * vertex + 1], z = shaped[3 * vertex + 2];
      for (let entry = starts[vertex]; entry < starts[vertex + 1]; entry++) {
        const amount = feature[features[entry]];
        x += amount * steps[3 * entry];
        y += amount * steps[3 * entry + 1];
        z += amount * steps[3 * entry + 2];
      }
      positions[3 * vertex] = x;
      positions[3 * vertex + 1] = y;
      positions[3 * vertex + 2] = z;
    }
  }

  /** The posed vertices, as the graphics card computes them: camera frame, metres. */
  skin() {
    const { positions, matrices, count } = this;
    const { bones, weights } = this.body;
    const out = new Float32Array(3 * count);
    for (let vertex = 0; vertex < count; vertex++) {
      for (let slot = 4 * vertex; slot < 4 * vertex + 4; slot++) {
        for (let row = 0; row < 3; row++) {
          const at = 16 * bones[slot] + row;
          out[3 * vertex + row] += weights[slot] * (
            matrices[at] * positions[3 * vertex] + matrices[at + 4] * positions[3 * vertex + 1]
            + matrices[at + 8] * positions[3 * vertex + 2] + matrices[at + 12]
          );
        }
      }
    }
    return out;
  }
}
