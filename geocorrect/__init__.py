"""geocorrect puts crowd-sourced street photos back where they were really taken.

The rooms of the house, in the order of the method:
harvest → retrieve → match → lift → localize → catalog → export.
"""

__version__ = "0.1.0"
