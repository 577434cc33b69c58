"""All five systems of the paper's Table 1 under one protocol: python -m gland.table1 --data DIR

jobs.py    which networks are trained, each with its options
runner.py  trains and tests them one after the other, and goes on where it was stopped
table.py   CSV, Markdown, picture
"""
