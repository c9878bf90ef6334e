"""Thin over operations: each shapes input and output and calls one."""
