"""What a user may do to the program, or meet, by the hundred: kills, races, damage, hostile files, full disks.

A trial is a function of a number of cases, a seed and a folder; it returns what it counted and fails by `assert`.
`pytest -m trial` runs each once, `python -m tests.trials --minutes 60` one after the other with ever new seeds.
"""
