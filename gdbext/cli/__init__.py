"""The program `ckpt`: its commands (program), what a shell asks for to complete a command line
(completing), and the scripts for the shells (completions/).
"""
