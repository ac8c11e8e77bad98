"""What the results say. Reads results only; imports neither Ray, nor torch, nor MLflow.

table.py       the plan and the results of a sweep, as configurations (trials that differ only by seed)
statistics.py  means, differences paired by seed, and what cannot be told
goals.py       does a configuration stay within the goals
pareto.py      which of several points nobody beats
fronts.py      which configurations nobody beats
recommend.py   the one to take, why, and what comes second
"""
