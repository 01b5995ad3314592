"""The half of a GDB session that needs no GDB, and is tested without: its saved state (debugstate)
and what of it may be used (trust, sessions), what GDB prints and signals (gdbtext, mi, prompt,
laststop, hardware), how a saved program is started for it (launch), and when `ckpt auto` saves
(trail, autosave). Its other half is session/.
"""
