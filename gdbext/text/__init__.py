"""What users read and type: messages and tables (report, listing), the progress of long work
(progress), and how options, spans of time and sizes are read (options, spans, sizes).
"""
