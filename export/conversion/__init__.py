"""Graphs in, graphs out: tracing, checks, fp16, int8, operators."""
