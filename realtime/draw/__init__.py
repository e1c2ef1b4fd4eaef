"""Images of the result: the mesh over the video, the side view, the skeleton and the line of figures."""
