"""What differs between two snapshots: found (compare), and told by mappings and bytes (difference)
or by the names of variables (changes), which session/differing.py has GDB look up.
"""
