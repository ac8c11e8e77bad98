"""From a file to a sweep, or to the list of all its problems.

yaml_file            text -> plain values, with the line of every key
sections             plain values -> a partial sweep: each section is read separately
compression_section  the section `compression`, in its short notation
partial_sweep        the sections that could be read, with their places in the file
rules                the rules that span several sections; also auto_rules and metric_rules
load                 all of these, one after the other

The values and their places come from `orchestrator.diagnostics.node`, the facts about a task, which are found without
importing it, from `orchestrator.task_facts.lookup`.
"""
