"""A value, its place in a file, and what is wrong with it. Problems are collected and never raised one by one."""
