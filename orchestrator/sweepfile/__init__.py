"""From a file to a sweep, or to the list of everything that is wrong with it.

yaml_file   text -> plain values, with the line of every key
document    a value and its place in the file; reading from it notes problems and never raises
schema      what the configuration classes allow, in words
sections    plain values -> a draft: each section read on its own (`chains` reads the section compression)
lookup      what is known about the task without importing it (`source` reads a user's Python)
checks      the rules that span several sections
load        all of these, one after the other
"""
