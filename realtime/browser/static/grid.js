// The floor's lines: every half metre, stronger every metre, fading away from the people.

import { Color, Mesh, PlaneGeometry, ShaderMaterial, Vector2 } from "./three.module.min.js";

const VERTEX = `
varying vec2 place;
void main() {
  vec4 world = modelMatrix * vec4(position, 1.0);
  place = world.xz;
  gl_Position = projectionMatrix * viewMatrix * world;
}`;

const FRAGMENT = `
varying vec2 place;
uniform vec2 centre;
uniform vec3 colour;
float lines(float metres) {
  vec2 cell = place / metres;
  vec2 away = abs(fract(cell - 0.5) - 0.5) / fwidth(cell);
  return 1.0 - min(min(away.x, away.y) / 1.2, 1.0);
}
void main() {
  float fade = 1.0 - smoothstep(1.5, 9.0, distance(place, centre));
  float strength = max(0.22 * lines(0.5), 0.5 * lines(1.0));
  gl_FragColor = vec4(colour, strength * fade * fade);
  #include <colorspace_fragment>
}`;

/** A floor of 60 x 60 m; `centreOn(x, z)` says where it is seen best. */
export class Grid extends Mesh {
  constructor(colour) {
    const uniforms = { centre: { value: new Vector2() }, colour: { value: new Color(colour) } };
    super(
      new PlaneGeometry(60, 60),
      new ShaderMaterial({ uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, transparent: true, depthWrite: false }),
    );
    this.rotation.x = -Math.PI / 2;
    this.renderOrder = -1;
  }

  centreOn(x, z) {
    this.material.uniforms.centre.value.set(x, z);
  }
}
