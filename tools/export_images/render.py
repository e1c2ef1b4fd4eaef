"""Run by a Python that has Blender as the module ``bpy``: an image of imported .glb or .bvh files.

render.py JOB.json renders what the job says: ``files`` (several .bvh or one .glb), ``seconds`` since the motion began at which
everybody is shown, ``starts`` when each file begins in seconds, ``size`` of the image in pixels and ``out``, a PNG. The camera
is the file's own if ``eye`` is null, and the ground is transparent; else it is at ``eye`` and looks at ``target``, metres in
Blender's axes, with a lens of ``lens_mm``, and there is a floor.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

_SAMPLES = 32
_THREADS = 2
_BONE_WIDTH = 0.16
"""Half the diagonal of a bone over its length."""
_WIDEST = 0.05
"""The same at most, metres."""
_BONES = ((0.03, 0.22, 0.55), (0.75, 0.20, 0.05))
"""Linear colours of skeletons, one a file."""


def main(path: str) -> None:
    """Render the job in the file ``path``."""
    with open(path, encoding="utf-8") as text:
        job = json.load(text)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    for number, (file, start) in enumerate(zip(job["files"], job["starts"], strict=True)):
        known = set(scene.objects)
        if file.endswith(".bvh"):
            bpy.ops.import_anim.bvh(filepath=file, axis_forward="-Z", axis_up="Y", update_scene_fps=True, frame_start=1)
        else:
            bpy.ops.import_scene.gltf(filepath=file)
        rate, first = scene.render.fps / scene.render.fps_base, 1 if file.endswith(".bvh") else 0
        imported = [thing for thing in scene.objects if thing not in known]
        for seconds in job["seconds"]:
            frame = first + (seconds - start) * rate
            if frame >= first:
                scene.frame_set(int(frame), subframe=frame - int(frame))
                _freeze(imported, _BONES[number % len(_BONES)] if file.endswith(".bvh") else None)
        for thing in imported:
            if thing.type != "CAMERA":
                thing.hide_render = True
    _light(scene)
    if job["eye"] is None:
        scene.camera = next(thing for thing in scene.objects if thing.type == "CAMERA")
        scene.render.film_transparent = True
    else:
        _floor()
        _place_camera(scene, Vector(job["eye"]), Vector(job["target"]), job["lens_mm"])
    _render(scene, job["size"], job["out"])


def _freeze(imported: list[Any], bones: tuple[float, float, float] | None) -> None:
    """Leave a copy of what is imported as it is now: its meshes, or its ``bones`` in that colour."""
    for thing in imported:
        if bones is not None and thing.type == "ARMATURE":
            _draw_bones(thing, bones)
        elif thing.type == "MESH" and thing.find_armature() and not _is_hidden(thing):
            posed = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
            still = bpy.data.objects.new("still", bpy.data.meshes.new_from_object(posed))
            still.matrix_world = thing.matrix_world.copy()
            bpy.context.collection.objects.link(still)


def _is_hidden(thing: Any) -> bool:
    """A file hides people who are not seen by scaling them to nothing."""
    return any(abs(one.matrix_world.determinant()) < 1e-6 for one in (thing, thing.find_armature()))


def _draw_bones(armature: Any, colour: tuple[float, float, float]) -> None:
    """A double pyramid from each joint to the next, as Blender's window draws bones."""
    corners: list[Any] = []
    faces: list[tuple[int, ...]] = []
    place = armature.matrix_world
    ends = [(bone.parent.head, bone.head) for bone in armature.pose.bones if bone.parent]
    ends += [(bone.head, bone.tail) for bone in armature.pose.bones if not bone.children]
    for head, tail in ((np.array(place @ first), np.array(place @ last)) for first, last in ends):
        along = tail - head
        length = float(np.linalg.norm(along))
        side = np.cross(along, (0.3, 0.5, 0.8))
        side *= min(_BONE_WIDTH * length, _WIDEST) / np.linalg.norm(side)
        other = np.cross(along, side) / length
        base = len(corners)
        corners += [head, *(head + 0.15 * along + part for part in (side, other, -side, -other)), tail]
        for edge in range(4):
            first, second = base + 1 + edge, base + 1 + (edge + 1) % 4
            faces += [(base, second, first), (base + 5, first, second)]
    mesh = bpy.data.meshes.new("bones")
    mesh.from_pydata(np.array(corners).tolist(), [], faces)
    mesh.materials.append(_material(colour, 0.5))
    bpy.context.collection.objects.link(bpy.data.objects.new("bones", mesh))


def _material(colour: tuple[float, float, float], roughness: float) -> Any:
    material = bpy.data.materials.new("plain")
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = roughness
    return material


def _light(scene: Any) -> None:
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.80, 0.86, 0.95, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.75
    scene.world = world
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle = 2.6, 0.05
    sun.rotation_euler = (0.7, 0.25, 0.5)
    scene.collection.objects.link(sun)


def _floor() -> None:
    """A plane with squares of half a metre."""
    bpy.ops.mesh.primitive_plane_add(size=60)
    material = _material((0.30, 0.31, 0.33), 0.9)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    squares, place = nodes.new("ShaderNodeTexChecker"), nodes.new("ShaderNodeTexCoord")
    squares.inputs["Scale"].default_value = 1.0
    squares.inputs["Color1"].default_value = (0.30, 0.31, 0.33, 1)
    squares.inputs["Color2"].default_value = (0.24, 0.25, 0.27, 1)
    links.new(place.outputs["Object"], squares.inputs["Vector"])
    links.new(squares.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    bpy.context.object.data.materials.append(material)


def _place_camera(scene: Any, eye: Any, target: Any, lens_mm: float) -> None:
    camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    camera.data.lens = lens_mm
    camera.matrix_world = Matrix.Translation(eye) @ (target - eye).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    scene.collection.objects.link(camera)
    scene.camera = camera


def _render(scene: Any, size: list[int], out: str) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.seed = _SAMPLES, True, 0
    scene.render.threads_mode, scene.render.threads = "FIXED", _THREADS
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = out
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
