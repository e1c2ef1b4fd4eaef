// Joint angles in degrees with OpenSim's names and signs: the same numbers as formats/joint_angles.py writes.

import { rotationMatrix } from "./skinning.js";

const SIDES = ["right", "left"];

/** What can be plotted: a name for people, and one angle a side (or one for the trunk). */
export const CHOICES = [
  { name: "Knee flexion", angles: { right: ["knee_angle_r"], left: ["knee_angle_l"] } },
  { name: "Hip flexion", angles: { right: ["hip_flexion_r"], left: ["hip_flexion_l"] } },
  { name: "Ankle", angles: { right: ["ankle_angle_r"], left: ["ankle_angle_l"] } },
  { name: "Elbow flexion", angles: { right: ["elbow_flex_r"], left: ["elbow_flex_l"] } },
  { name: "Arm flexion", angles: { right: ["arm_flex_r"], left: ["arm_flex_l"] } },
  { name: "Trunk bending", angles: { middle: ["lumbar_extension"] } },
];

const JOINT = {
  spine1: 3, spine2: 6, spine3: 9,
  left_hip: 1, right_hip: 2, left_knee: 4, right_knee: 5, left_ankle: 7, right_ankle: 8,
  left_collar: 13, right_collar: 14, left_shoulder: 16, right_shoulder: 17, left_elbow: 18, right_elbow: 19,
};

function multiply(a, b) {
  const out = new Float64Array(9);
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) {
      out[3 * row + column] = a[3 * row] * b[column] + a[3 * row + 1] * b[3 + column] + a[3 * row + 2] * b[6 + column];
    }
  }
  return out;
}

function transpose(m) {
  return Float64Array.of(m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]);
}

function chain(rotations, names) {
  let out = Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  const own = new Float64Array(9);
  for (const name of names) {
    const at = 3 * JOINT[name];
    rotationMatrix(rotations[at], rotations[at + 1], rotations[at + 2], own, 0);
    out = multiply(out, own);
  }
  return out;
}

/** The flexion: the first of the angles about moving axes z (to the right), x (forward), y (up) of OpenSim's frame. */
function flexion(m) {
  // In OpenSim's axes: x is the body's z, y is y, z is -x. Of Rz Rx Ry the second column is -sin a cos b, cos a cos b, sin b.
  return (Math.atan2(-m[7], m[4]) * 180) / Math.PI;
}

/** From the T-pose's arm to one that hangs down. */
function hanging(left) {
  const s = left ? -1 : 1;
  return Float64Array.of(0, -s, 0, s, 0, 0, 0, 0, 1);
}

/** Every angle of `CHOICES` by its name, degrees. `rotations`: 24 x 3 axis-angle. */
export function anglesOf(rotations) {
  const out = { lumbar_extension: flexion(chain(rotations, ["spine1", "spine2", "spine3"])) };
  for (const side of SIDES) {
    const s = side[0];
    const hang = hanging(side === "left");
    out[`hip_flexion_${s}`] = flexion(chain(rotations, [`${side}_hip`]));
    out[`knee_angle_${s}`] = -flexion(chain(rotations, [`${side}_knee`]));
    out[`ankle_angle_${s}`] = flexion(chain(rotations, [`${side}_ankle`]));
    const arm = chain(rotations, [`${side}_collar`, `${side}_shoulder`]);
    out[`arm_flex_${s}`] = flexion(multiply(arm, transpose(hang)));
    const elbow = chain(rotations, [`${side}_elbow`]);
    out[`elbow_flex_${s}`] = flexion(multiply(multiply(hang, elbow), transpose(hang)));
  }
  return out;
}
