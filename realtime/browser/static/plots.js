// Curves of the last seconds.

const SECONDS = 8;
const MOST = 1200;
const GAP_S = 1.5; // lost for longer: the curve is broken
const SHRINK = 0.08;

export class Plot {
  /** Draws on `canvas`. `least`: the smallest range of values that fills its height; `floor`: values begin here. */
  constructor(canvas, { unit, least, floor = null, digits = 0 }) {
    Object.assign(this, { canvas, unit, least, floor, digits });
    this.context = canvas.getContext("2d");
    this.curves = new Map(); // name: { colour, times, values }
    this.range = null;
  }

  /** Begins anew with `curves`: names and their colours. */
  reset(curves) {
    this.curves = new Map(curves.map(([name, colour]) => [name, { colour, times: [], values: [] }]));
    this.range = null;
  }

  add(name, timeS, value) {
    const curve = this.curves.get(name);
    if (!curve || !Number.isFinite(value)) return;
    const last = curve.times[curve.times.length - 1];
    if (last > timeS) { // the video began again
      curve.times.length = curve.values.length = 0;
    }
    curve.times.push(timeS);
    curve.values.push(value);
    if (curve.times.length > MOST) {
      curve.times.splice(0, MOST / 2);
      curve.values.splice(0, MOST / 2);
    }
  }

  /** The last value of a curve as text. */
  text(name) {
    const values = this.curves.get(name)?.values;
    return values?.length ? `${values[values.length - 1].toFixed(this.digits)}${this.unit}` : "–";
  }

  draw() {
    const { canvas, context } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.clearRect(0, 0, width, height);
    const newest = Math.max(...[...this.curves.values()].map(({ times }) => times[times.length - 1] ?? -Infinity));
    if (!Number.isFinite(newest)) return;
    let low = Infinity, high = -Infinity;
    for (const { times, values } of this.curves.values()) {
      for (let index = times.length - 1; index >= 0 && times[index] > newest - SECONDS; index--) {
        low = Math.min(low, values[index]);
        high = Math.max(high, values[index]);
      }
    }
    if (this.floor !== null) low = this.floor;
    const spare = Math.max(0, this.least - (high - low)) / 2 + 0.08 * (high - low);
    low = this.floor !== null ? this.floor : low - spare;
    high += this.floor !== null ? 2 * spare : spare;
    // Grows at once and shrinks slowly, so that the scale does not jump with every value.
    const [oldLow, oldHigh] = this.range ?? [low, high];
    this.range = [Math.min(low, oldLow + SHRINK * (low - oldLow)), Math.max(high, oldHigh + SHRINK * (high - oldHigh))];
    const [bottom, top] = this.range;
    const left = 34 * ratio;
    const x = (time) => left + (1 - (newest - time) / SECONDS) * (width - left - 3 * ratio);
    const y = (value) => height - 5 * ratio - ((value - bottom) / (top - bottom)) * (height - 10 * ratio);
    this.drawGrid(bottom, top, y, left, width, ratio);
    context.lineWidth = 1.8 * ratio;
    context.lineJoin = "round";
    for (const { colour, times, values } of this.curves.values()) {
      context.strokeStyle = colour;
      context.beginPath();
      let last = null;
      for (let index = 0; index < times.length; index++) {
        if (times[index] < newest - SECONDS) continue;
        const gap = last === null || times[index] - last > GAP_S;
        context[gap ? "moveTo" : "lineTo"](x(times[index]), y(values[index]));
        last = times[index];
      }
      context.stroke();
    }
  }

  drawGrid(bottom, top, y, left, width, ratio) {
    const { context } = this;
    const rough = (top - bottom) / 3;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
    context.font = `${10.5 * ratio}px system-ui, sans-serif`;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.lineWidth = ratio;
    for (let value = Math.ceil(bottom / step) * step; value <= top; value += step) {
      context.strokeStyle = "rgb(255 255 255 / 0.07)";
      context.beginPath();
      context.moveTo(left, y(value));
      context.lineTo(width, y(value));
      context.stroke();
      context.fillStyle = "#8190a5";
      context.fillText(value >= 5000 ? `${value / 1000}k` : String(Math.round(value)), left - 6 * ratio, Math.min(context.canvas.height - 6 * ratio, Math.max(6 * ratio, y(value))));
    }
  }
}
