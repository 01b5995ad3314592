"""The store on disk: where snapshots lie (store), what they are called (naming, labels), how they
lead from one to the next (history, finding), what a collection removes (sweeping), who has saved
their sessions (marks), and the directories in which a program's paths lead to kept files (overlay).
"""
