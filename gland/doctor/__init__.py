"""What this machine can do: python -m gland.doctor

__main__.py  this machine, its GPU, what a run would need, what to install
memory.py    how much memory a run needs on a GPU, known without one
"""
