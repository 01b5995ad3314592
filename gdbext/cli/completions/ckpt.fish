# Completion of ckpt for fish: put it into ~/.config/fish/completions/.
function __ckpt_complete
    set -l before (commandline -opc)
    $before[1] --complete (count $before) $before[2..-1] (commandline -ct) 2>/dev/null
end
complete -c ckpt -a '(__ckpt_complete)'
