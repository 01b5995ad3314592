"""Snapshots without GDB: opened as data (snapshot, with saved, memory, symbols, buildids, linkmap
and opening), written as a core file or a bundle (export, bundle), and saved from outside (saver).
Only for stacks a GDB is started, which runs session/stacks.py.
"""
