// The video pane: the newest frame, and over it the bodies, keypoints and flow that belong to that very frame.

const AMBER = "#ffc85a", BLUE = "#5ac8ff", WHITE = "#ebebeb";
const SURE = 0.3 * 255;
const ARROW = 2.5; // an arrow is so many times as long as the motion from frame to frame
const STILL_PX = 0.25;

export class VideoPane {
  /** Draws on `canvas`; `view` draws bodies. */
  constructor(canvas, view) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = view;
    this.edges = [];
    this.shows = { mesh: true, keypoints: false, flow: false };
    this.bitmap = null;
    this.dirty = false;
    this.shown = -1;
  }

  /** Takes a video message; the frame is drawn by the next `draw`. */
  async take(message, changed) {
    const bitmap = await createImageBitmap(new Blob([message.jpeg], { type: "image/jpeg" }));
    if (this.message && message.sequence < this.message.sequence && message.sequence > this.message.sequence - 60) {
      bitmap.close(); // decoded later than the one after it
      return;
    }
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.message = message;
    this.dirty = true;
    changed();
  }

  show(name, on) {
    this.shows[name] = on;
    this.dirty = true;
  }

  /** Draws where there is something new. The 3D view's canvas is used for it: render that afterwards. */
  draw() {
    if (!this.dirty || !this.bitmap) return;
    this.dirty = false;
    const { canvas, context, bitmap, message, shows } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round((width * bitmap.height) / bitmap.width));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    const scale = (message.scale * width) / bitmap.width;
    const { pose } = message;
    if (shows.flow) this.drawFlow(message.flows, scale);
    if (shows.mesh) {
      this.view.overlay(pose, context, width, height, 0.9);
    }
    if (shows.keypoints) for (const estimate of pose.people) this.drawKeypoints(estimate, scale);
    this.shown = message.sequence;
  }

  drawKeypoints({ keypoints, confidence }, scale) {
    const { context, canvas } = this;
    const unit = canvas.width / 360;
    const at = (index) => [(keypoints[2 * index] + 0.5) * scale, (keypoints[2 * index + 1] + 0.5) * scale];
    const side = (index) => (index === 0 ? WHITE : index % 2 ? AMBER : BLUE);
    context.lineWidth = 1.6 * unit;
    context.lineCap = "round";
    for (const [one, other] of this.edges) {
      if (confidence[one] < SURE || confidence[other] < SURE) continue;
      context.strokeStyle = side(one) === side(other) ? side(one) : WHITE;
      context.beginPath();
      context.moveTo(...at(one));
      context.lineTo(...at(other));
      context.stroke();
    }
    for (let index = 0; index < confidence.length; index++) {
      if (confidence[index] < SURE) continue;
      context.fillStyle = side(index);
      context.beginPath();
      context.arc(...at(index), 2.4 * unit, 0, 2 * Math.PI);
      context.fill();
    }
  }

  /** Arrows, coloured by their direction. */
  drawFlow(flows, scale) {
    const { context, canvas } = this;
    const unit = canvas.width / 360;
    context.lineWidth = 1.3 * unit;
    context.lineCap = "round";
    for (const { x, y, size, step, cells, field } of flows) {
      const cell = size / cells;
      for (let row = 0; row < cells; row++) {
        for (let column = 0; column < cells; column++) {
          const at = 2 * (row * cells + column);
          const dx = field[at] * step, dy = field[at + 1] * step;
          const length = Math.hypot(dx, dy);
          if (length < STILL_PX) continue;
          const px = (x - size / 2 + (column + 0.5) * cell) * scale, py = (y - size / 2 + (row + 0.5) * cell) * scale;
          const ex = px + dx * ARROW * scale, ey = py + dy * ARROW * scale;
          const hue = (Math.atan2(dy, dx) * 180) / Math.PI;
          context.strokeStyle = `hsl(${hue} 90% 62% / ${Math.min(1, 0.35 + length / 4)})`;
          const back = Math.min(4 * unit, 0.5 * length * ARROW * scale);
          const ux = dx / length, uy = dy / length;
          context.beginPath();
          context.moveTo(px, py);
          context.lineTo(ex, ey);
          context.moveTo(ex - back * (ux + 0.6 * uy), ey - back * (uy - 0.6 * ux));
          context.lineTo(ex, ey);
          context.lineTo(ex - back * (ux - 0.6 * uy), ey - back * (uy + 0.6 * ux));
          context.stroke();
        }
      }
    }
  }
}
