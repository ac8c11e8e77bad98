"""A value, its place in a file, and its problems. Problems are collected, and never raised one by one."""
