"""Run by a Python that has Blender as the module ``bpy``: where Blender puts an imported .bvh or .glb at given times.

in_blender.py FILE TIMES.npy OUT.npz: ``TIMES`` (T,) seconds since the file begins. ``OUT`` has for each skeleton NAME its
bones ``NAME/bones`` (J,), ``NAME/joints`` (T, J, 3) metres and ``NAME/turns`` (T, J, 3, 3) from the rest pose, and for each
mesh ``NAME/vertices`` (T, V, 3); in Blender's axes, z up.
"""

from __future__ import annotations

import sys
from typing import Any

import bpy
import numpy as np

BLENDER_FPS = 120
"""Frames a second of the scene: any; keys lie at fractions of frames."""


def main(path: str, times: str, out: str) -> None:
    """Import ``path``, go to each of ``times`` and write ``out``."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = BLENDER_FPS
    if path.endswith(".bvh"):
        # Blender's axes for a file with y up; frames of the file are frames of the scene, the first one is number 1.
        bpy.ops.import_anim.bvh(filepath=path, axis_forward="-Z", axis_up="Y", update_scene_fps=True, frame_start=1)
    else:
        bpy.ops.import_scene.gltf(filepath=path)
    rate = scene.render.fps / scene.render.fps_base
    found: dict[str, list[Any]] = {}
    for seconds in np.load(times).tolist():
        frame = 1 + round(seconds * rate) if path.endswith(".bvh") else seconds * rate
        scene.frame_set(int(frame), subframe=float(frame - int(frame)))
        for thing in scene.objects:
            if thing.type == "ARMATURE":
                bones = thing.pose.bones
                world = np.array(thing.matrix_world)
                posed = np.array([np.array(bone.matrix) for bone in bones])
                rest = np.array([np.array(bone.bone.matrix_local) for bone in bones])
                turns = posed[:, :3, :3] @ rest[:, :3, :3].transpose(0, 2, 1)
                size = np.cbrt(np.linalg.det(world[:3, :3]))
                turn = world[:3, :3] / size
                found.setdefault(f"{thing.name}/joints", []).append((world @ posed)[:, :3, 3])
                found.setdefault(f"{thing.name}/turns", []).append(turn @ turns @ turn.T)
                found[f"{thing.name}/bones"] = [bone.name for bone in bones]
            elif thing.type == "MESH" and thing.find_armature():
                posed_mesh = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
                places = np.array([vertex.co for vertex in posed_mesh.data.vertices])
                world = np.array(thing.matrix_world)
                found.setdefault(f"{thing.name}/vertices", []).append(places @ world[:3, :3].T + world[:3, 3])
    arrays: dict[str, Any] = {name: np.array(values) for name, values in found.items()}
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
