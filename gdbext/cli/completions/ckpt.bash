# Completion of ckpt for bash: source it, or put it where bash-completion looks
# (/usr/share/bash-completion/completions/ckpt).
_ckpt() {
  local IFS=$'\n'
  # Without candidates, the default (files) applies.
  COMPREPLY=($("${COMP_WORDS[0]}" --complete "$COMP_CWORD" "${COMP_WORDS[@]:1}" 2>/dev/null))
}
complete -o bashdefault -o default -F _ckpt ckpt
