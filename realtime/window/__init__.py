"""The Open3D window: a controller in the pipeline's process, a process of its own, shared memory between them."""
