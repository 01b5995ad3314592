# Completion of ckpt for tcsh: source it from ~/.tcshrc.
complete ckpt 'p@*@`ckpt --complete-tcsh`@'
