// Decodes what realtime/browser/protocol.py encodes. All numbers are little-endian.

export const VERSION = 1;
export const POSE = 1;
export const VIDEO = 2;

const POSE_HEAD_BYTES = 112;
const PERSON_BYTES = 500;
const VIDEO_HEAD_BYTES = 28;
const FLOW_CELLS = 16;
const FLOW_BYTES = 20 + 2 * FLOW_CELLS * FLOW_CELLS;

/** A binary message as an object with its `kind`; null for a kind that is not known. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const kind = view.getUint32(0, true);
  if (kind === POSE) return decodePose(buffer, view);
  if (kind === VIDEO) return decodeVideo(buffer, view);
  return null;
}

function decodePose(buffer, view) {
  const count = view.getUint32(8, true);
  const people = [];
  for (let index = 0; index < count; index++) {
    const at = POSE_HEAD_BYTES + index * PERSON_BYTES;
    people.push({
      person: view.getInt32(at, true),
      transl: new Float32Array(buffer, at + 4, 3),
      rotations: new Float32Array(buffer, at + 16, 72),
      betas: new Float32Array(buffer, at + 304, 10),
      keypoints: new Float32Array(buffer, at + 344, 34),
      confidence: new Uint8Array(buffer, at + 480, 17),
    });
  }
  return {
    kind: POSE,
    sequence: view.getUint32(4, true),
    hasWorld: view.getInt32(12, true) !== 0,
    capturedMs: view.getFloat64(16, true),
    finishedMs: view.getFloat64(24, true),
    sentMs: view.getFloat64(32, true),
    camera: new Float32Array(buffer, 40, 4), // fx, fy, cx, cy
    world: new Float32Array(buffer, 56, 12), // rows of world_from_camera
    timeS: view.getFloat32(104, true),
    people,
  };
}

function decodeVideo(buffer, view) {
  const count = view.getUint32(8, true);
  const flows = [];
  for (let index = 0; index < count; index++) {
    const at = VIDEO_HEAD_BYTES + index * FLOW_BYTES;
    flows.push({
      person: view.getInt32(at, true),
      x: view.getFloat32(at + 4, true),
      y: view.getFloat32(at + 8, true),
      size: view.getFloat32(at + 12, true),
      step: view.getFloat32(at + 16, true),
      cells: FLOW_CELLS,
      field: new Int8Array(buffer, at + 20, 2 * FLOW_CELLS * FLOW_CELLS), // row by row: right, down
    });
  }
  const poseAt = VIDEO_HEAD_BYTES + count * FLOW_BYTES;
  const jpegAt = poseAt + view.getUint32(12, true);
  const pose = buffer.slice(poseAt, jpegAt);
  return {
    kind: VIDEO,
    sequence: view.getUint32(4, true),
    width: view.getUint16(20, true),
    height: view.getUint16(22, true),
    scale: view.getFloat32(24, true),
    flows,
    pose: decodePose(pose, new DataView(pose)),
    jpeg: new Uint8Array(buffer, jpegAt, view.getUint32(16, true)),
  };
}

const ARRAYS = {
  float32: Float32Array,
  int16: Int16Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
};

/** The body: its constants and named arrays in one object. */
export function decodeBody(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const body = { ...about };
  for (const { name, dtype, shape, offset } of about.arrays) {
    const size = shape.reduce((product, side) => product * side, 1);
    body[name] = new ARRAYS[dtype](buffer, 4 + length + offset, size);
  }
  return body;
}
