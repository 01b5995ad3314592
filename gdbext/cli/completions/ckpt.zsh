#compdef ckpt
# Completion of ckpt for zsh: put it as _ckpt into a directory of $fpath.
_ckpt() {
  local -a found
  found=("${(@f)$("${words[1]}" --complete $((CURRENT - 1)) "${(@)words[2,-1]}" 2>/dev/null)}")
  if [[ -n "${found[*]}" ]]; then
    compadd -a found
  else
    _files
  fi
}
if [[ "$funcstack[1]" == _ckpt ]]; then
  _ckpt "$@"
else
  compdef _ckpt ckpt
fi
