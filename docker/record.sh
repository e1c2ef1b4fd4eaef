#!/bin/sh
# Records headless, one pair of files (video and motion) a run, named by the time. Started again and again by systemd or
# Docker, it goes on after reboots, lost cameras and every MOTIONMESH_MINUTES; SIGTERM finishes the files.
#
#   MOTIONMESH_SOURCE       what --source takes: a camera, csi:0, gst:PIPELINE, rtsp://...      /dev/video0
#   MOTIONMESH_RECORDINGS   the folder of the recordings                                       ./recordings
#   MOTIONMESH_MINUTES      how long one recording is                                          60
#   MOTIONMESH_OPTIONS      more options of run_camera.py, separated by spaces
#   MOTIONMESH_PROGRAM      what records                                                       motionmesh
set -eu

folder=${MOTIONMESH_RECORDINGS:-recordings}
mkdir -p "$folder"
# UTC, and after a second reboot within a second still another name.
name=$folder/$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$name.mp4" ] || [ -e "$name.npz" ]; do
    name=$name-again
done

# exec: the signal that ends the service reaches the program itself, and its exit code is the service's.
# shellcheck disable=SC2086  # options are several words
exec "${MOTIONMESH_PROGRAM:-motionmesh}" --view none --source "${MOTIONMESH_SOURCE:-/dev/video0}" \
    --record "$name.mp4" --save "$name.npz" --duration "$((${MOTIONMESH_MINUTES:-60} * 60))" \
    ${MOTIONMESH_OPTIONS:-} "$@"
